//! What all lessons need: how a forked child starts, how it ends, and how its parent learns how it
//! ended.

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
    sys::signal::{SigHandler, Signal, signal},
    unistd::{ForkResult, Pid, fork},
};

use crate::output;

/// Forks a child that runs `body` and then ends. Returns the child's id to the parent.
///
/// If `body` fails, the child prints the error: see [`exit_code_of`]. In any case it then flushes
/// stdout, and ends by `_exit`: see [`end_with`].
///
/// # Errors
/// The system refuses another process: this user, or the whole system, has too many, or there is
/// not enough memory.
pub fn start(body: impl FnOnce() -> anyhow::Result<u8>) -> io::Result<Pid> {
    // The fork copies the buffer of stdout. Both processes would write the bytes that are in it.
    io::stdout().flush()?;
    start_without_stdout(|| {
        let code = exit_code_of(body);
        // `_exit`, by which the child ends, flushes nothing.
        let _ = io::stdout().flush();
        // This is `Ok` after an error too, which is already printed.
        Ok(code)
    })
}

/// As [`start`], but does not flush stdout, neither before the fork nor in the child. So nothing
/// may be in its buffer at the fork, and the child must not use it.
pub fn start_without_stdout(body: impl FnOnce() -> anyhow::Result<u8>) -> io::Result<Pid> {
    // SAFETY: the child has copies of all locks and of all half-done work, but not of the other
    // threads that would release the locks and finish the work. Here no other thread exists. (Three
    // lessons start one. `copy` and `locked` do not call this function while it exists, and `exec`
    // starts it in a child that never calls this function.)
    match unsafe { fork() }? {
        ForkResult::Child => end_with(body),
        ForkResult::Parent { child } => Ok(child),
    }
}

/// Runs `body` in a forked child, and ends the child with the exit code of [`exit_code_of`].
///
/// It never returns (`-> !`). If it did, the child would run the rest of the parent's code a second
/// time. It would also run the destructors of the parent's variables, which flush buffers and
/// delete files. `_exit` ends the child at once: it flushes no buffer, and nothing of this program
/// runs any more. (The variables of `body` itself have ended before, with their destructors.)
pub fn end_with(body: impl FnOnce() -> anyhow::Result<u8>) -> ! {
    let code = exit_code_of(body);
    // SAFETY: `_exit` takes any code and has no precondition.
    unsafe { libc::_exit(code.into()) }
}

/// Runs `body`, and returns the exit code that it returns. An error or a panic becomes an exit code
/// too. An error is printed on stderr, and the code is 1. (It is 0, and nothing is printed, if the
/// error is that nobody reads stdout any more: see [`output::exit_code`].) After a panic it is 101.
fn exit_code_of(body: impl FnOnce() -> anyhow::Result<u8>) -> u8 {
    // Like Python's `try` and `except`: a panic in `body` ends at this call, and is its result.
    match panic::catch_unwind(AssertUnwindSafe(body)) {
        Ok(result) => output::exit_code(result),
        Err(_panic) => 101,
    }
}

/// Waits until `child` ends, and returns how it ended.
pub fn wait(child: Pid) -> anyhow::Result<ExitStatus> {
    let ended = wait_for(child);
    let (_, status) = ended.with_context(|| format!("cannot wait for child {child}"))?;
    Ok(status)
}

/// Waits until any child ends, and returns which one it was, and how it ended.
pub fn wait_for_any() -> io::Result<(Pid, ExitStatus)> {
    wait_for(ANY)
}

fn wait_for(child: Pid) -> io::Result<(Pid, ExitStatus)> {
    let ended = reap(child, 0)?;
    Ok(ended.expect("a wait without WNOHANG returns only when a child has ended"))
}

/// Any child, for [`reap`].
pub const ANY: Pid = Pid::from_raw(-1);

/// Removes a child that has ended from the process table (reaps it), and returns which one it was
/// and how it ended. `None` if the `options` contain `WNOHANG` and no such child has ended yet.
///
/// # Errors
/// `ECHILD` if there is no such child to wait for.
pub fn reap(child: Pid, options: libc::c_int) -> Result<Option<(Pid, ExitStatus)>, Errno> {
    let mut status = 0;
    loop {
        // (This is C's call. nix's own fails if a real-time signal has killed the child, and the
        // child's status is lost.)
        // SAFETY: `status` is ours, and valid for as long as the call takes.
        let result = unsafe { libc::waitpid(child.as_raw(), &mut status, options) };
        match Errno::result(result) {
            // A signal arrived while this process waited; the wait goes on.
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(error),
            Ok(0) => return Ok(None),
            Ok(pid) => return Ok(Some((Pid::from_raw(pid), ExitStatus::from_raw(status)))),
        }
    }
}

/// Makes the system keep each child that has ended until this process has waited for it.
///
/// That is the default. But a program inherits an ignored SIGCHLD from its parent (`trap '' CHLD`
/// in a shell). The system then removes a child as soon as it ends, and a wait finds no child.
pub fn keep_until_waited_for() -> anyhow::Result<()> {
    // SAFETY: the default handler is none of our code.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }.context("cannot reset SIGCHLD")?;
    Ok(())
}
