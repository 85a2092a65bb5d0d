//! The folder in which a server's socket lies until a child has connected to it.
//!
//! Its name is `ipc-demo-` and the parent's process id, so each run has its own: the *run's
//! folder*. It lies in the folder for temporary files. A parent makes it each time it starts a
//! child. It is removed in whatever way the processes end:
//!
//! - When the child has connected, the parent and the child each try to remove the folder. One of
//!   them does, even if the other has been killed.
//! - On Ctrl-C, the terminal sends SIGINT to all processes of its foreground process group: to the
//!   parent and to all children. If that ended them at once, nobody would remove the folder. So
//!   SIGINT, SIGQUIT (Ctrl-\), SIGTERM and SIGHUP are blocked while the folder is there. A blocked
//!   signal is not lost: it is pending, and is delivered when it is unblocked. Until then Ctrl-C
//!   seems to do nothing.
//! - SIGKILL cannot be blocked. If it kills both processes, or the parent before there is a child,
//!   neither removes the folder. The next run does: it removes each such folder if no process has
//!   the id in its name, or if that process is itself. (If another process has that id by then, the
//!   folder stays.)
//!
//! A folder of such a name may be the user's own. So only what a run makes is ever removed: a
//! socket, and a folder that is empty then.
//!
//! Containers that share a folder for temporary files, but not their process ids, disturb each
//! other: to each, the other's processes seem to have ended.
//!
//! (Windows has no such sockets. On macOS ipc-channel uses none, but the lesson fds does.)

#[cfg(unix)]
pub use unix::{Folder, leave, prepare};

#[cfg(unix)]
mod unix {
    use std::{
        env,
        ffi::OsStr,
        fs,
        os::unix::{
            fs::{FileTypeExt, MetadataExt},
            net::SocketAddr,
        },
        path::{Path, PathBuf},
        process,
    };

    use anyhow::Context;
    use nix::{
        errno::Errno,
        sys::signal::{SigSet, SigmaskHow, Signal, kill},
        unistd::{Pid, geteuid, getpid},
    };

    const PREFIX: &str = "ipc-demo-";

    /// While this value exists, the folder is there, and the signals of [`signals`] are blocked.
    pub struct Folder {
        /// The signals that were blocked before.
        blocked_before: SigSet,
    }

    impl Folder {
        pub fn new() -> anyhow::Result<Self> {
            // This blocks them for the calling thread only. Any thread that does not block a signal
            // may get it. But there is no such thread: those that the parent started before have
            // ended, and the threads and children that it starts from now on inherit the mask.
            let blocked_before = signals()
                .thread_swap_mask(SigmaskHow::SIG_BLOCK)
                .context("cannot block signals")?;
            let folder = Self { blocked_before };
            let path = folder.path();
            // The system limits the length of a socket's path. ipc-channel would cut off the rest.
            SocketAddr::from_pathname(path.join(".tmpXXXXXX/socket"))
                .with_context(|| format!("cannot make a socket in {}", path.display()))?;
            fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
            Ok(folder)
        }

        pub fn path(&self) -> PathBuf {
            own()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            remove(&self.path());
            // A pending signal is delivered now. (This fails only for a wrong argument.)
            let _ = self.blocked_before.thread_set_mask();
        }
    }

    /// In a child that has connected to `socket`, or has failed to: removes the socket and its
    /// folder, and unblocks the signals. (The child has inherited the parent's mask.)
    pub fn leave(socket: &str) {
        let is_of_run = |folder: &&Path| parent_of(folder.file_name()).is_some();
        if let Some(folder) = Path::new(socket).ancestors().find(is_of_run) {
            remove(folder);
        }
        let _ = signals().thread_unblock();
    }

    /// The signals that ask a process to end: SIGINT comes from Ctrl-C, SIGQUIT from Ctrl-\,
    /// SIGTERM from `kill`, SIGHUP from a terminal that is closed.
    fn signals() -> SigSet {
        [
            Signal::SIGINT,
            Signal::SIGQUIT,
            Signal::SIGTERM,
            Signal::SIGHUP,
        ]
        .into_iter()
        .collect()
    }

    /// In a parent, before it makes its folder: removes the folders of runs that were killed, and
    /// tells ipc-channel to put its sockets into this run's folder.
    pub fn prepare() {
        for entry in entries(&env::temp_dir()) {
            let Some(parent) = parent_of(Some(&entry.file_name())).map(Pid::from_raw) else {
                continue;
            };
            // This run has no folder yet: one with its id is that of an earlier process.
            // `kill` without a signal only asks about a process. ESRCH: there is no such process.
            let ended = parent == getpid() || kill(parent, None) == Err(Errno::ESRCH);
            // Another user's folder stays, and what is no folder, such as a symbolic link to one.
            let is_own = |file: fs::Metadata| file.is_dir() && file.uid() == geteuid().as_raw();
            if ended && entry.metadata().is_ok_and(is_own) {
                remove(&entry.path());
            }
        }
        // This fails only if it was called before.
        let _ = tempfile::env::override_temp_dir(&own());
    }

    /// Removes a run's folder with what is in it: the socket, or ipc-channel's folder with the
    /// socket. Whatever else is in it stays, and so does the folder then.
    fn remove(folder: &Path) {
        for entry in entries(folder) {
            // Only the names that ipc-channel gives.
            if entry.file_name().to_string_lossy().starts_with(".tmp") {
                remove_with_socket(&entry.path());
            }
        }
        remove_with_socket(folder);
    }

    /// Removes the socket in a folder, and the folder if it is empty then. (These fail if another
    /// process has removed them already.)
    fn remove_with_socket(folder: &Path) {
        let socket = folder.join("socket");
        if fs::symlink_metadata(&socket).is_ok_and(|file| file.file_type().is_socket()) {
            let _ = fs::remove_file(socket);
        }
        let _ = fs::remove_dir(folder);
    }

    /// What is in a folder. (`flatten` leaves out what cannot be read.)
    fn entries(folder: &Path) -> impl Iterator<Item = fs::DirEntry> {
        fs::read_dir(folder).into_iter().flatten().flatten()
    }

    /// The process id in the name of a run's folder. For any other name, one of the `?` returns
    /// `None`.
    fn parent_of(name: Option<&OsStr>) -> Option<i32> {
        name?.to_str()?.strip_prefix(PREFIX)?.parse().ok()
    }

    /// The path of this run's folder.
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
