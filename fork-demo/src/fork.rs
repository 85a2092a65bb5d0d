//! One call, two returns.
//!
//! `fork` copies the calling process. From then on two processes run the same code from the same
//! place. They differ in what `fork` returned: 0 in the child, the child's id in the parent. (`nix`
//! turns this number into `ForkResult::Child` or `ForkResult::Parent`.)
//!
//! Mirrors Python's `os.fork()`. Run it with `cargo run -p fork-demo`.
//!
//! What to notice: the first line comes first, and once. The other two come in either order:
//! nothing decides which of the two processes runs first.

use std::io::{self, Write};

use anyhow::{Context, ensure};
use nix::unistd::{ForkResult, fork, getpid, getppid};

use crate::{child, output::say};

pub fn run() -> anyhow::Result<u8> {
    say!("Process ({}) start...", getpid())?;
    // Rust's stdout writes at the end of each line, even into a pipe, so the line above is written
    // already. A text without a line end would still be in the buffer. The fork would copy it, and
    // both processes would write it.
    io::stdout().flush()?;

    // SAFETY: no other thread exists. (If one held a lock now, the child would have a locked copy
    // of it, and no thread to release it.)
    let forked = unsafe { fork() };
    match forked.map_err(io::Error::from).context("cannot fork")? {
        ForkResult::Child => child::end_with(|| {
            say!(
                "I am child process ({}) and my parent is {}.",
                getpid(),
                getppid()
            )?;
            // The child ends by `_exit`, which flushes no buffer.
            io::stdout().flush()?;
            Ok(0)
        }),
        ForkResult::Parent { child } => {
            let said = say!("I ({}) just created a child process ({child}).", getpid());
            // The parent waits even if its line could not be printed: otherwise the child would
            // stay a zombie.
            let status = child::wait(child)?;
            said?;
            ensure!(status.success(), "child {child} failed: {status}");
            Ok(0)
        }
    }
}
