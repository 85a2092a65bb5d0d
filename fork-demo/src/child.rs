//! What every lesson needs of a forked child: how it starts, how it ends itself, and how its parent
//! learns of it.

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

/// Forks a child that runs `body` and ends, and returns the child's id to the parent.
///
/// # Errors
/// When the system refuses another process: too many of this user, or of all, or no memory left.
pub fn start(body: impl FnOnce() -> anyhow::Result<u8>) -> io::Result<Pid> {
    // Bytes that still wait in a buffer would be copied with it, and be written by both.
    io::stdout().flush()?;
    start_without_stdout(|| {
        let result = panic::catch_unwind(AssertUnwindSafe(body));
        // `_exit` flushes no buffer; after a panic, too, something may be in it.
        let _ = io::stdout().flush();
        result.unwrap_or_else(|panic| panic::resume_unwind(panic))
    })
}

/// As [`start`], but parent and child must leave stdout's buffer alone.
pub fn start_without_stdout(body: impl FnOnce() -> anyhow::Result<u8>) -> io::Result<Pid> {
    // SAFETY: this process has no other thread whose half-done work (a held lock, say) the child
    // would inherit. The lessons that start one, `copy` and `locked`, do not come here while it is
    // there.
    match unsafe { fork() }? {
        ForkResult::Child => end_with(body),
        ForkResult::Parent { child } => Ok(child),
    }
}

/// Runs `body` in a forked child, then ends the child with the exit code that `body` returns, or 1
/// for an error (which goes to stderr), or 101 for a panic.
///
/// It never returns: a child that went on from here would run the rest of the parent's code, and
/// its destructors, a second time. That is also why a panic is caught, and why the child ends by
/// `_exit`, which runs nothing more of ours.
pub fn end_with(body: impl FnOnce() -> anyhow::Result<u8>) -> ! {
    let result = panic::catch_unwind(AssertUnwindSafe(body));
    let code = result.map_or(101, output::exit_code);
    // SAFETY: `_exit` takes any code and has no precondition.
    unsafe { libc::_exit(code.into()) }
}

/// Waits until `child` ends, and says how it ended.
pub fn wait(child: Pid) -> anyhow::Result<ExitStatus> {
    let ended = wait_for(child);
    let (_, status) = ended.with_context(|| format!("cannot wait for child {child}"))?;
    Ok(status)
}

/// Waits until any child ends, and says which one, and how.
pub fn wait_for_any() -> io::Result<(Pid, ExitStatus)> {
    wait_for(ANY)
}

fn wait_for(child: Pid) -> io::Result<(Pid, ExitStatus)> {
    let ended = reap(child, 0)?;
    Ok(ended.expect("a wait without WNOHANG returns when there is an end to report"))
}

/// Any child, for [`reap`].
pub const ANY: Pid = Pid::from_raw(-1);

/// Removes a child that has ended from the process table (reaps it), and says which one it was and
/// how it ended. `None` if none has ended yet, and the `options` contain `WNOHANG`.
///
/// # Errors
/// `ECHILD` if there is no such child to wait for.
pub fn reap(child: Pid, options: libc::c_int) -> Result<Option<(Pid, ExitStatus)>, Errno> {
    let mut status = 0;
    loop {
        // (nix's own call loses the child if a real-time signal killed it.)
        // SAFETY: `status` is ours, and valid for as long as the call takes.
        let result = unsafe { libc::waitpid(child.as_raw(), &mut status, options) };
        match Errno::result(result) {
            // A signal arrived while we waited; the child is still there.
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(error),
            Ok(0) => return Ok(None),
            Ok(pid) => return Ok(Some((Pid::from_raw(pid), ExitStatus::from_raw(status)))),
        }
    }
}

/// Has the system keep every child that ended until we have waited for it.
///
/// That is the default, but whoever started us may have set it otherwise (`trap '' CHLD` in a
/// shell): then a wait would find no child, and nobody would know how it ended.
pub fn keep_until_waited_for() -> anyhow::Result<()> {
    // SAFETY: the default handler is none of our code.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }.context("cannot reset SIGCHLD")?;
    Ok(())
}
