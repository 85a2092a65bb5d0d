//! The two ends of a forked child, which every lesson needs: how it ends itself, and how its parent
//! learns of it.

use std::{
    io::{self, Write},
    panic::{self, AssertUnwindSafe},
};

use anyhow::Context;
use nix::{
    errno::Errno,
    libc,
    sys::wait::{WaitStatus, waitpid},
    unistd::Pid,
};

use crate::output;

/// Runs `body` in a forked child, then ends the child with the exit code that `body` returns, or 1
/// for an error (which goes to stderr), or 101 for a panic.
///
/// It never returns: a child that went on from here would run the rest of the parent's code, and
/// its destructors, a second time. That is also why a panic is caught, and why the child ends by
/// `_exit`, which runs nothing more of ours.
pub fn end_with(body: impl FnOnce() -> anyhow::Result<u8>) -> ! {
    let result = panic::catch_unwind(AssertUnwindSafe(body));
    // `_exit` flushes no buffer.
    let _ = io::stdout().flush();
    let code = result.map_or(101, output::exit_code);
    // SAFETY: `_exit` takes any code and has no precondition.
    unsafe { libc::_exit(code.into()) }
}

/// Waits until `child` ends, and says how it ended.
pub fn wait(child: Pid) -> anyhow::Result<WaitStatus> {
    loop {
        match waitpid(child, None) {
            // A signal arrived while we waited; the child is still there.
            Err(Errno::EINTR) => continue,
            result => return result.with_context(|| format!("cannot wait for child {child}")),
        }
    }
}
