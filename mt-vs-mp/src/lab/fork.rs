//! A forked child that runs a function and ends.

#[cfg(unix)]
pub use unix::{Child, child};

#[cfg(unix)]
mod unix {
    use std::panic::{self, AssertUnwindSafe};

    use anyhow::{Context, ensure};
    use nix::{
        errno::Errno,
        libc,
        sys::wait::{WaitStatus, waitpid},
        unistd::{ForkResult, Pid, fork},
    };

    /// A child that was forked.
    pub struct Child(Pid);

    /// Forks a child that runs `body` and ends, by exit code 1 if that fails or panics.
    ///
    /// # Safety
    /// No other thread may exist in this process: what it has half done, a held lock perhaps, would
    /// stay half done in the child for ever. A trial has one thread until it starts another.
    pub unsafe fn child(body: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Child> {
        // SAFETY: as for this function.
        match unsafe { fork() }.context("cannot fork")? {
            ForkResult::Parent { child } => Ok(Child(child)),
            ForkResult::Child => {
                let result = panic::catch_unwind(AssertUnwindSafe(body));
                let code = i32::from(!matches!(result, Ok(Ok(()))));
                // SAFETY: `_exit` has no precondition. It runs none of our destructors and flushes
                // none of our buffers: those are the parent's.
                unsafe { libc::_exit(code) }
            }
        }
    }

    impl Child {
        pub fn id(&self) -> u32 {
            self.0.as_raw() as u32
        }

        /// Waits for its end.
        ///
        /// # Errors
        /// When it failed.
        pub fn join(self) -> anyhow::Result<()> {
            let status = loop {
                match waitpid(self.0, None) {
                    // A signal arrived while we waited; the child is still there.
                    Err(Errno::EINTR) => {}
                    status => {
                        break status
                            .with_context(|| format!("cannot wait for child {}", self.0))?;
                    }
                }
            };
            ensure!(
                status == WaitStatus::Exited(self.0, 0),
                "child {} failed: {status:?}",
                self.0
            );
            Ok(())
        }
    }
}

/// Where there is no fork, it is refused.
#[cfg(not(unix))]
pub enum Child {}

/// # Safety
/// None: it does nothing.
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
