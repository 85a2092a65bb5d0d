//! One call, two returns.
//!
//! `fork` copies the calling process. From then on two processes run the same code from the same
//! place, and all that tells them apart is what `fork` returned: 0 in the child, the child's id in
//! the parent. (`nix` makes an enum of it.)
//!
//! Mirrors Python's `os.fork()`. Run it with `cargo run -p fork-demo`.
//!
//! What to notice: the first line comes first, and once. The other two come in either order, for
//! nobody decides which of the two processes runs first.

use std::io::{self, Write};

use anyhow::{Context, ensure};
use nix::unistd::{ForkResult, fork, getpid, getppid};

use crate::{child, output::say};

pub fn run() -> anyhow::Result<u8> {
    say!("Process ({}) start...", getpid())?;
    // Bytes that still wait in a buffer would be copied with it, and be written by both.
    io::stdout().flush()?;

    // SAFETY: no other thread exists whose half-done work (a held lock, say) the child would
    // inherit.
    let forked = unsafe { fork() };
    match forked.map_err(io::Error::from).context("cannot fork")? {
        ForkResult::Child => child::end_with(|| {
            say!(
                "I am child process ({}) and my parent is {}.",
                getpid(),
                getppid()
            )?;
            // The child's end flushes no buffer.
            io::stdout().flush()?;
            Ok(0)
        }),
        ForkResult::Parent { child } => {
            let said = say!("I ({}) just created a child process ({child}).", getpid());
            // Whatever became of our line: a parent that does not wait leaves a zombie.
            let status = child::wait(child)?;
            said?;
            ensure!(status.success(), "child {child} failed: {status}");
            Ok(0)
        }
    }
}
