//! What `join` does: a parent without `join`, with it, and with a timeout.
//!
//! Mirrors Python's `p.join()`, `p.join(timeout)`, `p.is_alive()` and `p.exitcode`. Run it with
//! `cargo run -p process-demo -- join`.
//!
//! What to notice: without a join, nothing decides which process writes first. Run the lesson
//! again: the counts of the orders of the children A, B, C are different. A join with a timeout
//! returns as soon as the child has ended. It also returns when the time is up; then the child goes
//! on.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};

use crate::{
    output::say,
    process::{NO_ARGS, Process},
    target,
};

/// The timeout of the join with a child that works for longer.
const TIMEOUT: Duration = Duration::from_millis(200);

/// The timeout of the join with a child that ends sooner.
const LONG_TIMEOUT: Duration = Duration::from_secs(30);

/// How often three children are started, to count the orders in which they run.
const ROUNDS: u32 = 20;

pub fn run() -> anyhow::Result<u8> {
    without_join()?;
    with_join()?;
    count_the_orders()?;
    with_a_timeout()?;
    with_a_timeout_that_is_not_needed()?;
    what_is_refused()?;
    Ok(0)
}

fn without_join() -> anyhow::Result<()> {
    say!("Without join, these two lines come in either order:")?;
    let mut child = Process::new("run_child", ["test"]);
    child.start()?;
    say!("Parent process goes on.")
    // Here `child` is dropped, which waits for the child: the next heading comes after both lines.
}

fn with_join() -> anyhow::Result<()> {
    say!("With join, in this order:")?;
    let mut child = Process::new("run_child", ["test"]);
    child.start()?;
    child.join()?;
    say!("Parent process goes on.")
}

/// Counts the orders in which three children run that are started in the order A, B, C.
fn count_the_orders() -> anyhow::Result<()> {
    // A dict whose keys are sorted.
    let mut orders = BTreeMap::new();
    for _ in 0..ROUNDS {
        // In Python: orders[order] = orders.get(order, 0) + 1
        *orders.entry(order_of_three()?).or_insert(0) += 1;
    }
    say!(
        "{ROUNDS} times, children A, B, C were started in this order, and joined later. They ran:"
    )?;
    for (order, times) in orders {
        say!("  {order} {times}×")?;
    }
    Ok(())
}

/// Starts three children that write their names into one pipe, and returns what they wrote.
fn order_of_three() -> anyhow::Result<String> {
    let (mut reader, writer) = io::pipe().context("cannot make a pipe")?;
    let mut children = Vec::new();
    for name in ["A", "B", "C"] {
        let writer = writer.try_clone().context("cannot copy a pipe's end")?;
        let mut child = Process::new("write_name", [name]).stderr(writer);
        child.start()?;
        // A join here would decide the order.
        children.push(child);
    }
    // The reader finds the end of file only when all writing ends are closed. This is one of them.
    drop(writer);
    let mut order = String::new();
    let read = reader.read_to_string(&mut order);
    read.context("cannot read what the children wrote")?;
    for child in children {
        let status = child.join()?;
        ensure!(status.success(), "a child did not write its name: {status}");
    }
    Ok(order)
}

fn with_a_timeout() -> anyhow::Result<()> {
    say!("With a timeout of {TIMEOUT:?}, for a child that works for longer:")?;
    let mut child = Process::new("work_while_needed", NO_ARGS);
    show("new", &child)?;
    child.start()?;
    show("started", &child)?;
    child.join_timeout(TIMEOUT)?;
    show("after the timeout", &child)?;
    child.terminate()?;
    child.join()?;
    show("terminated and joined", &child)
}

fn with_a_timeout_that_is_not_needed() -> anyhow::Result<()> {
    say!("With a timeout of {LONG_TIMEOUT:?}, for a child that ends sooner:")?;
    let mut child = Process::new("do_nothing", NO_ARGS);
    let start = Instant::now();
    child.start()?;
    let code = match child.join_timeout(LONG_TIMEOUT)? {
        Some(_) => or_none(child.exit_code()?),
        None => bail!("a child that does nothing took longer than {LONG_TIMEOUT:?}"),
    };
    let time = start.elapsed().as_millis();
    say!("joined after {time} ms: exit_code {code}")
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
    let mut child = Process::new("do_nothing", NO_ARGS);
    refused("join before start", child.join())?;
    child.start()?;
    refused("start after start", child.start())?;
    let mut child = Process::new("do_noting", NO_ARGS);
    refused("start of what does not exist", child.start())
}

fn refused<T>(what: &str, result: anyhow::Result<T>) -> anyhow::Result<()> {
    match result {
        Ok(_) => bail!("{what}: this should be an error"),
        Err(error) => say!("{what}: {error}"),
    }
}

/// A child that writes its name.
pub fn write_name(args: &[String]) -> anyhow::Result<u8> {
    io::stderr().write_all(args.join(" ").as_bytes())?;
    Ok(0)
}

/// A child that would work without end. It ends when its parent drops it, or ends.
pub fn work_while_needed(_: &[String]) -> anyhow::Result<u8> {
    target::wait_for_end_of_stdin()?;
    Ok(0)
}
