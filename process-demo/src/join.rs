//! What `join` is worth: the same parent without it, with it, and with a timeout.
//!
//! Mirrors Python's `p.join()`, `p.join(timeout)`, `p.is_alive()` and `p.exitcode`. Run it with
//! `cargo run -p process-demo -- join`.
//!
//! What to notice: without the join, it is up to the system whose line comes first. And a join with
//! a timeout gives up the waiting and nothing else: the child goes on.

use std::time::Duration;

use anyhow::bail;

use crate::{output::say, process::Process, target};

/// How long the parent waits for a child that takes longer.
const TIMEOUT: Duration = Duration::from_millis(200);

pub fn run() -> anyhow::Result<u8> {
    without_join()?;
    with_join()?;
    with_a_timeout()?;
    what_is_refused()?;
    Ok(0)
}

fn without_join() -> anyhow::Result<()> {
    say!("Without join, the two lines come in either order:")?;
    let mut child = Process::new("run_child", ["test"]);
    child.start()?;
    say!("Parent process goes on.")
    // Here the child is dropped, which waits for it: what follows comes after both lines.
}

fn with_join() -> anyhow::Result<()> {
    say!("With join, in this order:")?;
    let mut child = Process::new("run_child", ["test"]);
    child.start()?;
    child.join()?;
    say!("Parent process goes on.")
}

fn with_a_timeout() -> anyhow::Result<()> {
    say!("With a timeout of {TIMEOUT:?}, for a child that works for longer:")?;
    let mut child = Process::new("work_while_needed", [""; 0]);
    show("new", &child)?;
    child.start()?;
    show("started", &child)?;
    child.join_timeout(TIMEOUT)?;
    show("after the timeout", &child)?;
    child.terminate()?;
    child.join()?;
    show("terminated and joined", &child)
}

fn show(when: &str, child: &Process) -> anyhow::Result<()> {
    let pid = or_none(child.pid());
    let (alive, code) = (child.is_alive()?, or_none(child.exit_code()?));
    say!("{when}: pid {pid}, is_alive {alive}, exit_code {code}")
}

fn or_none(value: Option<impl ToString>) -> String {
    value.map_or("None".to_owned(), |value| value.to_string())
}

fn what_is_refused() -> anyhow::Result<()> {
    say!("What is refused:")?;
    let mut child = Process::new("do_nothing", [""; 0]);
    refused("join before start", child.join())?;
    child.start()?;
    refused("start after start", child.start())?;
    let mut child = Process::new("do_noting", [""; 0]);
    refused("start of what does not exist", child.start())
}

fn refused<T>(what: &str, result: anyhow::Result<T>) -> anyhow::Result<()> {
    match result {
        Ok(_) => bail!("{what}: this should be an error"),
        Err(error) => say!("{what}: {error}"),
    }
}

/// A child whose work has no end of its own.
pub fn work_while_needed(_: &[String]) -> anyhow::Result<u8> {
    target::wait_for_the_parent_to_go()?;
    Ok(0)
}
