//! The folder of this run, in which ipc-channel puts the socket of a server until a child has
//! connected to it.
//!
//! A parent that is killed (SIGKILL) at that moment can remove nothing. So the folder is named after
//! the parent's process id, and the next run removes those whose process has ended. (Only Unix has
//! such sockets, and macOS none of these.)

#[cfg(unix)]
pub use unix::{Folder, prepare};

#[cfg(unix)]
mod unix {
    use std::{env, fs, path::PathBuf, process};

    use anyhow::Context;
    use nix::{errno::Errno, sys::signal::kill, unistd::Pid};

    const PREFIX: &str = "ipc-demo-";

    /// While this lives, the folder is there.
    pub struct Folder(());

    impl Folder {
        pub fn new() -> anyhow::Result<Self> {
            let path = own();
            fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
            Ok(Self(()))
        }

        pub fn path(&self) -> PathBuf {
            own()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            // It fails if a child was faster.
            let _ = fs::remove_dir_all(own());
        }
    }

    /// In a parent, before it makes anything: removes what is left of runs that were killed, and
    /// tells the library where to put its files.
    pub fn prepare() {
        for entry in fs::read_dir(env::temp_dir())
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = entry.file_name();
            let id = name
                .to_str()
                .and_then(|name| name.strip_prefix(PREFIX)?.parse().ok());
            if id.is_some_and(|id| kill(Pid::from_raw(id), None) == Err(Errno::ESRCH)) {
                // Another user's folder stays.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        // Nobody has told it before.
        let _ = tempfile::env::override_temp_dir(&own());
    }

    fn own() -> PathBuf {
        env::temp_dir().join(format!("{PREFIX}{}", process::id()))
    }
}

#[cfg(not(unix))]
pub struct Folder;

#[cfg(not(unix))]
impl Folder {
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self)
    }
}

#[cfg(not(unix))]
pub fn prepare() {}
