//! The type [`Process`], which has the shape of Python's `multiprocessing.Process`.
//!
//! The child is this same program, started again (see [`target`]). Python calls this start method
//! "spawn". It works on every system.
//!
//! The child's stdin is a pipe, into which the parent never writes. Only the parent has the writing
//! end: the standard library makes it close-on-exec, so that the other children that are started
//! like this do not inherit it. The writing end is closed when the parent drops the [`Process`],
//! and also when the parent ends in any way. Then a child that reads its stdin finds the end of
//! file, and so learns that it should end.

use std::{
    io::PipeWriter,
    mem,
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use shared_child::SharedChild;

use crate::target;

/// The arguments of a function that needs none.
pub const NO_ARGS: [&str; 0] = [];

/// A function that runs in a process of its own, after [`start`](Self::start).
///
/// A `Process` is dropped at the end of its block. If the child still runs then, the drop closes
/// the pipe to the child's stdin, and waits for the child: no child is interrupted in its work, and
/// none remains as a zombie. A [`daemon`](Self::daemon) is sent SIGTERM before that. (Python waits
/// for its children, too, but only at the end of the parent process.)
pub struct Process {
    target: String,
    args: Vec<String>,
    stderr: Option<PipeWriter>,
    daemon: bool,
    /// `None` before the start. (The type is from the library `shared_child`: the standard
    /// library's `Child` cannot wait with a timeout, and sends no signal but SIGKILL.)
    child: Option<SharedChild>,
}

impl Process {
    /// Prepares to run the function named `target`; nothing runs before [`start`](Self::start).
    pub fn new<A: Into<String>>(target: &str, args: impl IntoIterator<Item = A>) -> Self {
        Self {
            target: target.to_owned(),
            args: args.into_iter().map(Into::into).collect(),
            stderr: None,
            daemon: false,
            child: None,
        }
    }

    /// Connects the child's stderr to a pipe. (In Python one passes the pipe as an argument. Here
    /// the arguments are words on a command line.)
    pub fn stderr(mut self, pipe: PipeWriter) -> Self {
        self.stderr = Some(pipe);
        self
    }

    /// Makes the child a daemon: it is terminated when this `Process` is dropped. (Python
    /// terminates a child with `daemon=True` at the end of the parent process.)
    pub fn daemon(mut self) -> Self {
        self.daemon = true;
        self
    }

    /// Gives up this `Process` without dropping it: this parent neither terminates the child nor
    /// waits for it. The pipe to the child's stdin stays open until the parent ends.
    pub fn detach(self) {
        // `forget` frees nothing, and so closes nothing: our `drop` below does not run.
        mem::forget(self);
    }

    /// Starts the child process.
    ///
    /// # Errors
    /// When it was started before, when there is no such function, and when the system refuses a
    /// new process.
    pub fn start(&mut self) -> anyhow::Result<()> {
        if self.child.is_some() {
            bail!("a process can be started only once");
        }
        let mut command = target::command(&self.target, &self.args)?;
        command.stdin(Stdio::piped());
        if let Some(pipe) = self.stderr.take() {
            // The pipe's writing end moves into `command`, and is closed with it when `start`
            // returns. Then only the child has it. The reader finds the end of file only when no
            // process has a writing end open.
            command.stderr(pipe);
        }
        let child = SharedChild::spawn(&mut command)
            .with_context(|| format!("cannot start a process for {:?}", self.target))?;
        self.child = Some(child);
        Ok(())
    }

    /// Waits until the child has ended, and returns how it ended. A second call returns the same at
    /// once.
    ///
    /// # Errors
    /// When it was never started, and when the system does not know the child.
    pub fn join(&self) -> anyhow::Result<ExitStatus> {
        let child = self.started("joined")?;
        child.wait().with_context(|| cannot_wait_for(child))
    }

    /// Waits until the child has ended, but no longer than `timeout`. Returns `None` when the time
    /// is up and the child still runs: nothing happens to the child.
    ///
    /// # Errors
    /// When it was never started, and when the system does not know the child.
    pub fn join_timeout(&self, timeout: Duration) -> anyhow::Result<Option<ExitStatus>> {
        let child = self.started("joined")?;
        // On Unix, `waitpid` has no timeout. So the library sets a handler for SIGCHLD, the signal
        // that tells a parent that a child has ended. The handler writes into a pipe. The library
        // waits for this pipe by `poll`, which has a timeout. After each SIGCHLD, the library
        // checks whether this child has ended. If not, it waits again, until the time is up. (On
        // Windows, the system call that waits for a process has a timeout.)
        match Instant::now().checked_add(timeout) {
            Some(deadline) => child.wait_deadline(deadline),
            // A clock cannot count that far: the wait has no limit.
            None => child.wait().map(Some),
        }
        .with_context(|| cannot_wait_for(child))
    }

    /// Whether the child was started and has not ended yet.
    ///
    /// # Errors
    /// When the system does not know the child.
    pub fn is_alive(&self) -> anyhow::Result<bool> {
        Ok(self.child.is_some() && self.exit_code()?.is_none())
    }

    /// The child's process id; `None` before the start.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(SharedChild::id)
    }

    /// How the child ended, in one number like Python's `exitcode`: its exit code N, or -N when
    /// signal N ended it. `None` before the start, and while the child runs.
    ///
    /// Windows has no signals: there a child that was terminated has the exit code 1. (In Python
    /// its exit code is 0x10000 there, which `exitcode` shows as -15.)
    ///
    /// # Errors
    /// When the system does not know the child.
    pub fn exit_code(&self) -> anyhow::Result<Option<i64>> {
        match &self.child {
            None => Ok(None),
            Some(child) => {
                let status = child.try_wait().with_context(|| cannot_wait_for(child))?;
                Ok(status.map(exit_code))
            }
        }
    }

    /// Asks the child to end, by the signal SIGTERM. Nothing happens when it has ended already.
    ///
    /// Windows has no such signal: there, as in Python, this is the same as [`kill`](Self::kill).
    ///
    /// # Errors
    /// When it was never started, and when the system refuses.
    pub fn terminate(&self) -> anyhow::Result<()> {
        let child = self.started("terminated")?;
        #[cfg(unix)]
        let sent = {
            use shared_child::unix::SharedChildExt;
            child.send_signal(nix::libc::SIGTERM)
        };
        #[cfg(not(unix))]
        let sent = child.kill();
        sent.with_context(|| format!("cannot terminate process {}", child.id()))
    }

    /// Ends the child at once, by the signal SIGKILL, which it can neither catch nor ignore.
    /// Nothing happens when it has ended already.
    ///
    /// # Errors
    /// When it was never started, and when the system refuses.
    pub fn kill(&self) -> anyhow::Result<()> {
        let child = self.started("killed")?;
        child
            .kill()
            .with_context(|| format!("cannot kill process {}", child.id()))
    }

    fn started(&self, what: &str) -> anyhow::Result<&SharedChild> {
        self.child
            .as_ref()
            .with_context(|| format!("a process must be started before it can be {what}"))
    }
}

/// What happens when a `Process` is dropped. A drop cannot return an error, so `let _ =` ignores
/// those of the calls.
impl Drop for Process {
    fn drop(&mut self) {
        // If the child was never started, nothing happens.
        if let Some(child) = &self.child {
            if self.daemon {
                let _ = self.terminate();
            }
            // This closes the pipe, and comes before the wait. In the other order, a child that
            // waits for the end of its stdin would never end, and our wait would never return.
            drop(child.take_stdin());
            // If the child was joined before, this returns at once.
            let _ = child.wait();
        }
    }
}

fn cannot_wait_for(child: &SharedChild) -> String {
    format!("cannot wait for process {}", child.id())
}

/// An exit code N, or -N for signal N. (A code is unsigned: 8 bits on Unix, 32 on Windows.)
pub fn exit_code(status: ExitStatus) -> i64 {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return -i64::from(signal);
    }
    let code = status.code().expect("no signal ended it");
    if cfg!(windows) {
        i64::from(code.cast_unsigned())
    } else {
        i64::from(code)
    }
}
