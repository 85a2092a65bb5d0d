//! The start method "fork": the child is a copy of its parent, and begins where that stands.

use std::{
    io::{self, Write},
    panic::{self, AssertUnwindSafe},
};

use anyhow::{Context, bail};
use nix::{
    errno::Errno,
    libc,
    sys::wait::{WaitStatus, waitpid},
    unistd::{ForkResult, Pid, fork},
};

use crate::output;

/// Forks a child that runs `body`, whose result becomes its exit code; returns the child's id.
///
/// # Errors
/// When the system refuses a new process.
///
/// # Safety
/// No other thread exists in this process.
pub unsafe fn start(body: impl FnOnce() -> anyhow::Result<u8>) -> anyhow::Result<Pid> {
    // Bytes that still wait in a buffer would be copied with it, and be written by both.
    io::stdout().flush()?;
    // SAFETY: with no other thread there is no half-done work (a held lock, say) that the child
    // would inherit.
    match unsafe { fork() }.context("cannot fork")? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => end_with(body),
    }
}

/// Runs `body` in a forked child, then ends the child with the exit code that `body` returns, or 1
/// for an error (which goes to stderr), or 101 for a panic.
///
/// It never returns: a child that went on from here would run the rest of the parent's code, and
/// its destructors, a second time.
fn end_with(body: impl FnOnce() -> anyhow::Result<u8>) -> ! {
    let result = panic::catch_unwind(AssertUnwindSafe(body));
    // `_exit` flushes no buffer.
    let _ = io::stdout().flush();
    let code = result.map_or(101, output::exit_code);
    // SAFETY: `_exit` takes any code and has no precondition.
    unsafe { libc::_exit(code.into()) }
}

/// Waits until `child` has ended, and returns its exit code N, or -N when signal N ended it.
pub fn wait(child: Pid) -> anyhow::Result<i64> {
    loop {
        match waitpid(child, None) {
            Ok(WaitStatus::Exited(_, code)) => return Ok(code.into()),
            Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(-(signal as i64)),
            Ok(status) => bail!("child {child} has not ended: {status:?}"),
            // A signal arrived while we waited; the child is still there.
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(error).context(format!("cannot wait for child {child}")),
        }
    }
}
