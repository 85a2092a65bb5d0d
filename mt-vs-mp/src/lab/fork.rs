//! A forked child that runs a function and ends.

#[cfg(unix)]
pub use unix::{Child, child, join_all};

#[cfg(unix)]
mod unix {
    use std::{
        io,
        os::unix::process::ExitStatusExt,
        panic::{self, AssertUnwindSafe},
        process::ExitStatus,
    };

    use anyhow::{Context, ensure};
    use nix::{
        errno::Errno,
        libc,
        sys::signal::{Signal, kill},
        unistd::{ForkResult, Pid, fork},
    };

    /// A child that was forked.
    pub struct Child {
        pid: Pid,
    }

    /// Forks a child that runs `body` and ends: with exit code 1 if `body` fails or panics.
    ///
    /// # Safety
    /// No other thread may exist in this process. The child has no copy of such a thread, so a lock
    /// that the thread holds would be held in the child for ever. (A trial has one thread until it
    /// starts another.)
    pub unsafe fn child(body: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Child> {
        // SAFETY: see this function's own precondition.
        match unsafe { fork() }.context("cannot fork")? {
            ForkResult::Parent { child } => Ok(Child { pid: child }),
            ForkResult::Child => {
                let result = panic::catch_unwind(AssertUnwindSafe(body));
                let code = i32::from(!matches!(result, Ok(Ok(()))));
                // SAFETY: `_exit` has no precondition. Unlike `exit`, it runs no destructor and
                // flushes no buffer: the child's are copies of the parent's.
                unsafe { libc::_exit(code) }
            }
        }
    }

    impl Child {
        pub fn id(&self) -> u32 {
            self.pid.as_raw() as u32
        }

        /// Waits for the child's end.
        ///
        /// # Errors
        /// When the child failed or was killed.
        pub fn join(self) -> anyhow::Result<()> {
            let (_, status) =
                wait(self.pid).with_context(|| format!("cannot wait for child {}", self.pid))?;
            self.check(status)
        }

        fn check(&self, status: ExitStatus) -> anyhow::Result<()> {
            ensure!(status.success(), "child {} failed: {status}", self.pid);
            Ok(())
        }
    }

    /// Waits for the end of all children. When one has failed, the others are killed: they may be
    /// waiting for it. (A process that is killed while it waits for a mutex may take with it the
    /// wake-up that another needs.)
    ///
    /// # Errors
    /// When a child failed or was killed: the first of them.
    pub fn join_all(mut children: Vec<Child>) -> anyhow::Result<()> {
        // -1 stands for any child.
        const ANY: Pid = Pid::from_raw(-1);
        let mut result = Ok(());
        while !children.is_empty() {
            let (ended, status) = wait(ANY).context("cannot wait for a child")?;
            let Some(place) = children.iter().position(|child| child.pid == ended) else {
                // It is not one of them.
                continue;
            };
            let checked = children.swap_remove(place).check(status);
            if result.is_ok() && checked.is_err() {
                result = checked;
                for other in &children {
                    // Nobody has reaped it, so the id is still its own. If it has already ended,
                    // some systems say so by an error.
                    let _ = kill(other.pid, Signal::SIGKILL);
                }
            }
        }
        result
    }

    /// Waits for the end of a child. Returns its id, and how it ended. (nix's own call fails if a
    /// real-time signal has killed the child.)
    fn wait(child: Pid) -> io::Result<(Pid, ExitStatus)> {
        let mut status = 0;
        loop {
            // SAFETY: `status` is a local variable, which lives longer than the call.
            let result = unsafe { libc::waitpid(child.as_raw(), &mut status, 0) };
            match Errno::result(result) {
                Ok(ended) => return Ok((Pid::from_raw(ended), ExitStatus::from_raw(status))),
                // A signal interrupted the call; the child is still running.
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// On systems without fork, there is no value of this type.
#[cfg(not(unix))]
pub enum Child {}

/// # Safety
/// It has no precondition.
#[cfg(not(unix))]
pub unsafe fn child(_: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Child> {
    anyhow::bail!("fork exists on Unix only")
}

#[cfg(not(unix))]
impl Child {
    pub fn join(self) -> anyhow::Result<()> {
        match self {}
    }
}
