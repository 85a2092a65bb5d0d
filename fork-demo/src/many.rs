//! Many children, and each is accounted for.
//!
//! A parent is told the id of a child once, by `fork`, and must note it then. How the child ended
//! is told once too, to the one who waits. So this program keeps a table: `fork` adds a line
//! to it, and `wait` removes one.
//!
//! Mirrors a loop of Python's `os.fork()` with `os.wait()`. Run it with `cargo run -p fork-demo --
//! many --children 5`.
//!
//! What to notice: the children do not end in the order in which they were forked. The parent waits
//! for *any* child, takes what comes, and stops when no line of its table is left.

use std::{collections::HashMap, io, process::ExitStatus, thread, time::Duration};

use anyhow::Context;
use nix::unistd::Pid;

use crate::{child, output::say};

/// How long the first child works; each one after it a little less, the last one not at all.
const LONGEST_WORK: Duration = Duration::from_millis(300);

/// The children that run, by their ids, with their numbers.
type Table = HashMap<Pid, u32>;

pub fn run(children: u32) -> anyhow::Result<u8> {
    let mut running = Table::new();
    let started = start(children, &mut running);
    // Whatever stopped us: those that were started are to be waited for.
    let reaped = reap(&mut running);
    started.and(reaped)?;
    Ok(0)
}

fn start(children: u32, running: &mut Table) -> anyhow::Result<()> {
    for number in 1..=children {
        let body = || {
            thread::sleep(LONGEST_WORK * (children - number) / children);
            Ok(code(number))
        };
        let child = child::start(body)
            .with_context(|| format!("cannot fork child {number} of {children}"))?;
        // Before anything that can fail: a child whose id is forgotten cannot be told from others.
        running.insert(child, number);
        say!("Child {number} is forked ({child}).")?;
    }
    Ok(())
}

/// The exit code that tells the child from its siblings: its own number, as far as one byte can say
/// it. Child 256 ends with 0 again.
fn code(number: u32) -> u8 {
    (number % 256) as u8
}

/// Waits until no child of the table is left, and says how each one ended.
fn reap(running: &mut Table) -> anyhow::Result<()> {
    let mut said = Ok(());
    // The table decides, and not ECHILD ("No child processes"). A shell that became this program
    // (by `exec`) may have had children: they are ours now, and may run for much longer.
    while !running.is_empty() {
        let (child, status) = match child::reap(child::ANY, 0) {
            Ok(Some(ended)) => ended,
            Ok(None) => continue,
            Err(error) => {
                return Err(io::Error::from(error))
                    .with_context(|| format!("cannot wait for children {running:?}"));
            }
        };
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
