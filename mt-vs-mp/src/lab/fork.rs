//! A forked child that runs a function and ends.

use std::panic::{self, AssertUnwindSafe};

use anyhow::{Context, ensure};
use nix::{
    errno::Errno,
    libc,
    sys::wait::{WaitStatus, waitpid},
    unistd::{ForkResult, Pid, fork},
};

/// Forks a child that runs `body` and ends, by exit code 1 if that fails or panics.
///
/// # Safety
/// No other thread may exist in this process: what it has half done, a held lock perhaps, would
/// stay half done in the child for ever. A trial has one thread until it starts another.
pub unsafe fn child(body: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Pid> {
    // SAFETY: as for this function.
    match unsafe { fork() }.context("cannot fork")? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            let result = panic::catch_unwind(AssertUnwindSafe(body));
            let code = i32::from(!matches!(result, Ok(Ok(()))));
            // SAFETY: `_exit` has no precondition. It runs none of our destructors and flushes none
            // of our buffers: those are the parent's.
            unsafe { libc::_exit(code) }
        }
    }
}

/// Waits for a child's end.
///
/// # Errors
/// When it failed.
pub fn join(child: Pid) -> anyhow::Result<()> {
    let status = loop {
        match waitpid(child, None) {
            // A signal arrived while we waited; the child is still there.
            Err(Errno::EINTR) => continue,
            status => break status.with_context(|| format!("cannot wait for child {child}"))?,
        }
    };
    ensure!(
        status == WaitStatus::Exited(child, 0),
        "child {child} failed: {status:?}"
    );
    Ok(())
}
