//! The folder in which a server's socket lies until a child has connected to it.
//!
//! It is removed however this program ends:
//!
//! - After the child has connected, both sides remove it. One of them may have been killed.
//! - Ctrl-C has to wait as long as the folder is there. A blocked signal is not lost: it is pending,
//!   and is delivered as soon as it is unblocked.
//! - If a parent and its child are both killed (SIGKILL), they can remove nothing. So the folder is
//!   named after the parent's process id, and the next run removes those whose process has ended.
//!
//! (Only Unix has such sockets, and ipc-channel uses none of them on macOS.)

#[cfg(unix)]
pub use unix::{Folder, leave, prepare};

#[cfg(unix)]
mod unix {
    use std::{
        env,
        ffi::OsStr,
        fs,
        path::{Path, PathBuf},
        process,
    };

    use anyhow::Context;
    use nix::{
        errno::Errno,
        sys::signal::{SigSet, SigmaskHow, Signal, kill},
        unistd::Pid,
    };

    const PREFIX: &str = "ipc-demo-";

    /// While this lives, the folder is there, and the signals of [`signals`] are blocked.
    pub struct Folder {
        blocked_before: SigSet,
    }

    impl Folder {
        pub fn new() -> anyhow::Result<Self> {
            let blocked_before = signals()
                .thread_swap_mask(SigmaskHow::SIG_BLOCK)
                .context("cannot block signals")?;
            let folder = Self { blocked_before };
            let path = folder.path();
            fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
            Ok(folder)
        }

        pub fn path(&self) -> PathBuf {
            own()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            // It fails if the child was faster.
            let _ = fs::remove_dir_all(self.path());
            // It fails for a wrong argument only.
            let _ = self.blocked_before.thread_set_mask();
        }
    }

    /// In a child that has connected to `socket`: removes it with the folder in which it lies, and
    /// unblocks the signals. (A child inherits the mask that its parent had when it was started.)
    pub fn leave(socket: &str) {
        let socket = Path::new(socket);
        let is_run = |folder: &&Path| parent_of(folder.file_name()).is_some();
        if let Some(folder_of_run) = socket.ancestors().find(is_run) {
            // These fail if the parent was faster.
            let _ = fs::remove_file(socket);
            let folders = socket.ancestors().skip(1);
            for folder in folders.take_while(|folder| folder.starts_with(folder_of_run)) {
                let _ = fs::remove_dir(folder);
            }
        }
        let _ = signals().thread_unblock();
    }

    /// The signals by which a user ends a process.
    fn signals() -> SigSet {
        [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]
            .into_iter()
            .collect()
    }

    /// In a parent, before it makes anything: removes what is left of runs that were killed, and
    /// tells the library where to put its files.
    pub fn prepare() {
        for entry in fs::read_dir(env::temp_dir())
            .into_iter()
            .flatten()
            .flatten()
        {
            let parent = parent_of(Some(&entry.file_name()));
            if parent.is_some_and(|id| kill(Pid::from_raw(id), None) == Err(Errno::ESRCH)) {
                // Another user's folder stays.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        // Nobody has told it before.
        let _ = tempfile::env::override_temp_dir(&own());
    }

    /// The process id in the name of a run's folder.
    fn parent_of(name: Option<&OsStr>) -> Option<i32> {
        name?.to_str()?.strip_prefix(PREFIX)?.parse().ok()
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
pub fn leave(_: &str) {}

#[cfg(not(unix))]
pub fn prepare() {}
