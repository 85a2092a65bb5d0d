//! Many children, and each is accounted for.
//!
//! `fork` tells the parent the child's id, and nothing tells it a second time. A wait tells how a
//! child ended, and that too only once. So this program keeps a table of its children: `fork` adds a
//! line to it, and a wait removes one.
//!
//! Mirrors a loop of Python's `os.fork()` with `os.wait()`. Run it with `cargo run -p fork-demo --
//! many --children 5`.
//!
//! What to notice: the children do not end in the order in which they were forked. The parent waits
//! for *any* child, takes what comes, and stops when no line of its table is left.

use std::{collections::HashMap, process::ExitStatus, thread, time::Duration};

use anyhow::Context;
use nix::unistd::Pid;

use crate::{child, output::say};

/// (Nearly) as long as the first child works.
const LONGEST_WORK: Duration = Duration::from_millis(300);

/// The children that run, by their ids, with their numbers.
type Table = HashMap<Pid, u32>;

pub fn run(children: u32) -> anyhow::Result<u8> {
    let mut running = Table::new();
    let started = start(children, &mut running);
    // If a fork failed, the children before it are still there, and must be waited for.
    let reaped = reap(&mut running);
    started.and(reaped)?;
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
        // First of all: if the line below cannot be printed, the id must not be lost.
        running.insert(child, number);
        say!("Child {number} is forked ({child}).")?;
    }
    Ok(())
}

/// How long a child works: the first one longest, the last one not at all.
fn work(number: u32, children: u32) -> Duration {
    LONGEST_WORK * (children - number) / children
}

/// The exit code that tells the child from its siblings: its own number, or as much of it as fits
/// into one byte. Child 256 ends with 0 again.
fn code(number: u32) -> u8 {
    number as u8
}

/// Waits until no child of the table is left, and says how each one ended.
fn reap(running: &mut Table) -> anyhow::Result<()> {
    let mut said = Ok(());
    // The table decides, and not ECHILD ("No child processes"). A shell that became this program
    // (by `exec`) may have had children: they are ours now, and may run for much longer.
    while !running.is_empty() {
        let (child, status) = child::wait_for_any()
            .with_context(|| format!("cannot wait for children {running:?}"))?;
        // One of those others has ended.
        let Some(number) = running.remove(&child) else {
            continue;
        };
        // A line that cannot be written is no reason to leave the other children unreaped.
        said = said.and_then(|()| report(number, child, status));
    }
    said?;
    say!("No child is left.")
}

fn report(number: u32, child: Pid, status: ExitStatus) -> anyhow::Result<()> {
    match status.code() {
        Some(code) => say!("Child {number} ({child}) ended with exit code {code}."),
        // "signal: 9 (SIGKILL)"
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
