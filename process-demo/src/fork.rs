//! The start method "fork": the child is a copy of its parent, and goes on where its parent is.

use std::{
    io::{self, Write},
    os::unix::process::ExitStatusExt,
    panic::{self, AssertUnwindSafe},
    process::ExitStatus,
};

use anyhow::Context;
use nix::{
    errno::Errno,
    libc,
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
    // The child gets a copy of the buffer too: bytes that are still in it would be written twice.
    io::stdout().flush()?;
    // SAFETY: no other thread exists, so none can hold a lock that the child would wait for.
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
    // `_exit` flushes no buffer; after a panic, too, something may be in it.
    let _ = io::stdout().flush();
    let code = result.map_or(101, output::exit_code);
    // SAFETY: `_exit` takes any code and has no precondition.
    unsafe { libc::_exit(code.into()) }
}

/// Waits until `child` has ended, and says how.
pub fn wait(child: Pid) -> anyhow::Result<ExitStatus> {
    reap(child).with_context(|| format!("cannot wait for child {child}"))
}

/// Waits until every child of this process has ended.
pub fn wait_for_all() {
    const ANY: Pid = Pid::from_raw(-1);
    while reap(ANY).is_ok() {}
}

/// Waits for the end of a child, and removes it from the process table.
fn reap(child: Pid) -> io::Result<ExitStatus> {
    let mut status = 0;
    loop {
        // nix's own `waitpid` reaps a child that a real-time signal killed, and then returns an
        // error instead of its status.
        // SAFETY: `status` is ours, and valid for as long as the call takes.
        let result = unsafe { libc::waitpid(child.as_raw(), &mut status, 0) };
        match Errno::result(result) {
            Ok(_) => return Ok(ExitStatus::from_raw(status)),
            // A signal arrived while we waited; the child is still there.
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        }
    }
}
