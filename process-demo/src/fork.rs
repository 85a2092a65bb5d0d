//! The start method "fork": the child is a copy of its parent, and goes on at the same place in the
//! program.

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
/// No other thread holds a lock for which the child will wait: that thread does not exist in the
/// child, so the copy of the lock would stay locked. (Without other threads, this is always so.)
pub unsafe fn start(body: impl FnOnce() -> anyhow::Result<u8>) -> anyhow::Result<Pid> {
    // The child gets a copy of stdout's buffer. Bytes that are still in it would be written twice.
    io::stdout().flush()?;
    // SAFETY: our caller ensures that the child waits for no lock of another thread.
    match unsafe { fork() }.context("cannot fork")? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => end_with(body),
    }
}

/// Runs `body` in a forked child, then ends the child with the exit code that `body` returns, or 1
/// for an error (which goes to stderr), or 101 for a panic.
///
/// It never returns, as `-> !` says. If it did, the child would go on with the rest of the parent's
/// code: it would do the parent's work a second time.
fn end_with(body: impl FnOnce() -> anyhow::Result<u8>) -> ! {
    // Like `try` and `except` in Python: a panic ends `body`, and is returned as an error.
    // (`AssertUnwindSafe`: after a panic, nothing uses the data that `body` was changing.)
    let result = panic::catch_unwind(AssertUnwindSafe(body));
    // `_exit` flushes no buffer. (After a panic, too, stdout's may not be empty.)
    let _ = io::stdout().flush();
    // 101 is also the exit code of a program that does not catch a panic.
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
    // -1 stands for any child.
    const ANY: Pid = Pid::from_raw(-1);
    // When there is no child left, `reap` returns an error.
    while reap(ANY).is_ok() {}
}

/// Waits for the end of a child, and removes it from the process table.
fn reap(child: Pid) -> io::Result<ExitStatus> {
    let mut status = 0;
    loop {
        // The library nix has a `waitpid`, too. But if a real-time signal has ended the child, nix
        // reaps the child and returns an error instead of the status.
        // SAFETY: `status` is ours, and valid for as long as the call takes.
        let result = unsafe { libc::waitpid(child.as_raw(), &mut status, 0) };
        match Errno::result(result) {
            Ok(_) => return Ok(ExitStatus::from_raw(status)),
            // A signal was handled while we waited: the child still runs, so we wait again.
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        }
    }
}
