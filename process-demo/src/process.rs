//! The type [`Process`], in the shape of Python's `multiprocessing.Process`.
//!
//! The child is this same program, started again ([`target`]): what Python calls the start method
//! "spawn". It works on every system.
//!
//! The child's stdin is a pipe into which its parent never writes. The child finds the end of file
//! there when the parent drops the [`Process`], and also when the parent ends in any way. So the
//! child learns that it is not needed any more.

use std::{
    io::PipeWriter,
    mem,
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use shared_child::SharedChild;

use crate::target;

/// A function that runs, or will run, in a process of its own.
///
/// Dropping it while the child runs closes the pipe to the child's stdin and waits for the child, as
/// Python joins all its children at its own end: no child is interrupted in its work, and none
/// remains as a zombie. A [`daemon`](Self::daemon) is terminated first.
pub struct Process {
    target: String,
    args: Vec<String>,
    stderr: Option<PipeWriter>,
    daemon: bool,
    /// std's `Child`, and what that lacks: a wait with a timeout, and signals.
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

    /// Has the child write its stderr into a pipe. (Python's would get the pipe among its
    /// arguments, but ours are words.)
    pub fn stderr(mut self, pipe: PipeWriter) -> Self {
        self.stderr = Some(pipe);
        self
    }

    /// Has the child terminated when this is dropped, as `daemon=True` does in Python.
    pub fn daemon(mut self) -> Self {
        self.daemon = true;
        self
    }

    /// Leaves the child to itself: nobody waits for it, and its stdin ends when this process does.
    pub fn detach(self) {
        mem::forget(self);
    }

    /// Starts the child process.
    ///
    /// # Errors
    /// When it was started before, when there is no such target, and when the system refuses a new
    /// process.
    pub fn start(&mut self) -> anyhow::Result<()> {
        if self.child.is_some() {
            bail!("a process can be started only once");
        }
        let mut command = target::command(&self.target, &self.args)?;
        command.stdin(Stdio::piped());
        if let Some(pipe) = self.stderr.take() {
            // When `command` is dropped, our copy is closed. The reader finds the end of file only
            // when no process has the writing end open.
            command.stderr(pipe);
        }
        let child = SharedChild::spawn(&mut command)
            .with_context(|| format!("cannot start a process for {:?}", self.target))?;
        self.child = Some(child);
        Ok(())
    }

    /// Waits until the child has ended, and says how. After that it returns the same at once.
    ///
    /// # Errors
    /// When it was never started.
    pub fn join(&self) -> anyhow::Result<ExitStatus> {
        let child = self.started("joined")?;
        child.wait().with_context(|| cannot_wait_for(child))
    }

    /// Waits until the child has ended, but no longer than `timeout`: `None` when it still runs
    /// then.
    ///
    /// # Errors
    /// When it was never started.
    pub fn join_timeout(&self, timeout: Duration) -> anyhow::Result<Option<ExitStatus>> {
        let child = self.started("joined")?;
        // No system call does this on every Unix. `shared_child` waits until SIGCHLD reports that
        // some child has ended, or until the time is up.
        match Instant::now().checked_add(timeout) {
            Some(deadline) => child.wait_deadline(deadline),
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

    /// How the child ended, in one number, as Python's `exitcode` has it: its exit code N, or -N
    /// when signal N ended it. `None` before the start, and while it runs.
    ///
    /// Windows has no signals: there a child that was terminated has the exit code 1. (Python's
    /// `terminate` has it end with 0x10000 there, and `exitcode` shows that as -15.)
    ///
    /// # Errors
    /// When the system does not know the child.
    pub fn exit_code(&self) -> anyhow::Result<Option<i64>> {
        let Some(child) = &self.child else {
            return Ok(None);
        };
        let status = child.try_wait().with_context(|| cannot_wait_for(child))?;
        Ok(status.map(exit_code))
    }

    /// Asks the child to end, by the signal SIGTERM. Nothing happens when it has ended already.
    ///
    /// Windows has no such signal: there, as in Python, it is the same as [`kill`](Self::kill).
    ///
    /// # Errors
    /// When it was never started.
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

    /// Ends the child at once, by the signal SIGKILL, which it cannot refuse. Nothing happens when
    /// it has ended already.
    ///
    /// # Errors
    /// When it was never started.
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

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = &self.child {
            if self.daemon {
                let _ = self.terminate();
            }
            // Before the wait: the child may be waiting for the end of its stdin.
            drop(child.take_stdin());
            let _ = child.wait();
        }
    }
}

fn cannot_wait_for(child: &SharedChild) -> String {
    format!("cannot wait for process {}", child.id())
}

/// An exit code N, or -N for signal N. (Windows' codes are unsigned, and have all 32 bits.)
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
