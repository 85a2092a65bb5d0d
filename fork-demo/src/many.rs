//! Many children: the parent keeps a table of them, and learns how each one ended.
//!
//! `fork` returns the child's id to the parent. No later call lists the children that a process
//! has. A wait for any child returns the id of a child that has ended, and how it ended; the system
//! then forgets this child. So this program keeps a table of its children. After each `fork` it
//! adds a line to the table, and when it has reaped this child, it removes the line.
//!
//! Mirrors a loop of Python's `os.fork()` with `os.wait()`. Run it with `cargo run -p fork-demo --
//! many --children 5`.
//!
//! What to notice: the children do not end in the order in which they were forked. The parent waits
//! for *any* child, and stops when no line of its table is left.

use std::{collections::HashMap, process::ExitStatus, thread, time::Duration};

use anyhow::Context;
use nix::unistd::Pid;

use crate::{child, output::say};

/// The first child works (nearly) as long as this.
const LONGEST_WORK: Duration = Duration::from_millis(300);

/// The children that run: the number of each, found by its id.
type Table = HashMap<Pid, u32>;

pub fn run(children: u32) -> anyhow::Result<u8> {
    let mut running = Table::new();
    let started = start(children, &mut running);
    // If a fork failed, the children before it still exist, and the parent must wait for them.
    let reaped = reap(&mut running);
    started?;
    reaped?;
    Ok(0)
}

fn start(children: u32, running: &mut Table) -> anyhow::Result<()> {
    for number in 1..=children {
        let body = || {
            thread::sleep(work(number, children));
            Ok(code(number))
        };
        let child = child::start(body)
            .with_context(|| format!("cannot fork child {number} of {children}"))?;
        // Before the line is printed: if that fails, the child is in the table all the same.
        running.insert(child, number);
        say!("Child {number} is forked ({child}).")?;
    }
    Ok(())
}

/// How long a child works: the first one longest, the last one not at all.
fn work(number: u32, children: u32) -> Duration {
    LONGEST_WORK * (children - number) / children
}

/// The exit code that tells the child from its siblings: its number. But an exit code is one byte,
/// and `as u8` keeps only the lowest byte of the number: 0 of 256, 44 of 300. (Python's
/// `bytes([300])` would fail instead.)
fn code(number: u32) -> u8 {
    number as u8
}

/// Waits until no child of the table is left, and prints how each one ended.
fn reap(running: &mut Table) -> anyhow::Result<()> {
    let mut said = Ok(());
    // The loop ends when the table is empty, and not when the system reports that there is no child
    // (ECHILD). A shell that became this program (by `exec`) may have had children. These are now
    // children of this process too, and may run for much longer.
    while !running.is_empty() {
        let (child, status) = child::wait_for_any()
            .with_context(|| format!("cannot wait for a child ({} left)", running.len()))?;
        // An id that is not in the table is that of such a child, and is skipped.
        let Some(number) = running.remove(&child) else {
            continue;
        };
        // After a line that cannot be printed, nothing more is printed, but all children are
        // reaped.
        said = said.and_then(|()| report(number, child, status));
    }
    said?;
    // (No child of the table: those of the shell may still run.)
    say!("No child is left.")
}

fn report(number: u32, child: Pid, status: ExitStatus) -> anyhow::Result<()> {
    match status.code() {
        Some(code) => say!("Child {number} ({child}) ended with exit code {code}."),
        // There is no exit code: a signal killed the child. `status` is then printed as
        // "signal: 9 (SIGKILL)".
        None => say!("Child {number} ({child}) was killed by {status}."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_child_works_less_than_the_one_before_and_the_last_one_not_at_all() {
        let works = [1, 2, 3].map(|number| work(number, 3).as_millis());
        assert_eq!(works, [200, 100, 0]);
    }
}
