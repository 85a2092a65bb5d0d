//! The type [`Process`], in the shape of Python's `multiprocessing.Process`.
//!
//! The child is this same program, started again ([`target`]): what Python calls the start method
//! "spawn". It works on every system.
//!
//! The child's stdin is a pipe into which its parent never writes. It ends when the parent drops
//! its [`Process`], and when the parent dies, in whatever way: so a child can tell when nobody
//! needs it any more.

use std::{
    io::PipeWriter,
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use shared_child::SharedChild;

use crate::target;

/// A function that runs, or will run, in a process of its own.
///
/// Dropping it while the child runs ends the child's stdin and waits for the child, as Python joins
/// all its children at its own end: no child is cut off in the middle of its work, and none is left
/// behind as a zombie. Who does not want to wait calls [`kill`](Self::kill) first.
pub struct Process {
    target: String,
    args: Vec<String>,
    stderr: Option<PipeWriter>,
    /// std's `Child`, with what that lacks: a wait with a timeout, and signals.
    child: Option<SharedChild>,
}

impl Process {
    /// Prepares to run the function named `target`; nothing runs before [`start`](Self::start).
    pub fn new<A: Into<String>>(target: &str, args: impl IntoIterator<Item = A>) -> Self {
        Self {
            target: target.to_owned(),
            args: args.into_iter().map(Into::into).collect(),
            stderr: None,
            child: None,
        }
    }

    /// Has the child write its stderr into a pipe. (Python's would get the pipe among its
    /// arguments, but ours are words.)
    pub fn stderr(mut self, pipe: PipeWriter) -> Self {
        self.stderr = Some(pipe);
        self
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
            // It leaves with `command`: a copy kept here would hide from its reader that the child
            // has ended.
            command.stderr(pipe);
        }
        let child = SharedChild::spawn(&mut command)
            .with_context(|| format!("cannot start a process for {:?}", self.target))?;
        self.child = Some(child);
        Ok(())
    }

    /// Waits until the child has ended, and says how. Once it has, this can be asked again.
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
        // No system call does this on every Unix. `shared_child` sleeps until SIGCHLD says that
        // some child has ended, or until the time is up, and chains its handler with any other.
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
            // In this order: a child that waits for the end of its stdin would wait for ever.
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
