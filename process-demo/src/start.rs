//! A function and its argument in a child process: start it, join it.
//!
//! Mirrors Python's `p = Process(target=run_child, args=("test",))`, `p.start()`, `p.join()`. Run
//! it with `cargo run -p process-demo`.
//!
//! What to notice: the child's line always comes third. `start` returns while the child still
//! runs. `join` waits until the child has ended, so the parent's last line comes after the child's.

use std::process;

use anyhow::ensure;

use crate::{output::say, process::Process};

pub fn run() -> anyhow::Result<u8> {
    say!("Parent process {}.", process::id())?;
    let mut child = Process::new("run_child", ["test"]);
    // This line stands before `start`. After `start`, it could come after the child's line.
    say!("Child process will start.")?;
    child.start()?;
    let status = child.join()?;
    ensure!(status.success(), "the child process failed: {status}");
    say!("Child process end.")?;
    Ok(0)
}

/// What the child does.
pub fn run_child(args: &[String]) -> anyhow::Result<u8> {
    say!(
        "Run child process {} ({})...",
        args.join(" "),
        process::id()
    )?;
    Ok(0)
}
