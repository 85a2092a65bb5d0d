//! The classic hang: wait for the child first, read its output then.
//!
//! Mirrors Python's `p = Popen(..., stdout=PIPE)`, `p.wait()`, `p.stdout.read()`, against which
//! Python's documentation warns. Run it with `cargo run -p subprocess-demo -- deadlock`.
//!
//! What to notice: with a few lines of output, it works. A pipe holds a certain amount, which is
//! asked from the system; with one byte more the child waits for its parent to read, and the parent
//! waits for its child to end. Both are as patient as processes are. So the careless parent is
//! itself a child here, under the eyes of a watchdog. Then the same with two lines exchanged.

use std::{
    io::{self, Write},
    process::{self, Child},
    time::Duration,
};

use anyhow::{Context, ensure};
use os_pipe::PipeReader;

use crate::{
    capacity::capacity,
    ending,
    family::Family,
    output::say,
    role::{self, Role},
};

/// The children of this lesson.
pub const ROLES: [(&str, Role); 3] = [
    ("wait-then-read", wait_then_read),
    ("read-then-wait", read_then_wait),
    ("fill-the-pipe", fill_the_pipe),
];

/// Who has not ended after this is stuck. The work takes some milliseconds.
const PATIENCE: Duration = Duration::from_secs(1);

/// For the version that works. Reached only if it does not.
const LIMIT: Duration = Duration::from_secs(30);

pub fn run() -> anyhow::Result<u8> {
    say!("First wait, then read:")?;
    let ended = ends_within(PATIENCE, "wait-then-read")?;
    ensure!(
        !ended,
        "no deadlock: this pipe holds more than the system says"
    );
    say!("First read, then wait:")?;
    let ended = ends_within(LIMIT, "read-then-wait")?;
    ensure!(ended, "still not done after {LIMIT:?}");
    Ok(0)
}

/// The watchdog: whether a parent in this role ends in time. If not, it says why, and ends it.
fn ends_within(limit: Duration, role: &str) -> anyhow::Result<bool> {
    let family = Family::start(role::command(role)?)?;
    let id = family.id();
    let relayed = family.relay(limit);
    // Whatever came of it: nobody stays, and the parent is reaped.
    let status = family.end()?;
    let ended = relayed?;
    if !ended {
        say!("Watchdog: not done after {limit:?}, and never will be:")?;
        say!("  the child waits until its parent reads;")?;
        say!("  the parent does not read until its child has ended.")?;
    }
    say!("Parent {id}: {}", ending::words(status))?;
    ensure!(!ended || status.success(), "the parent failed");
    Ok(ended)
}

/// A parent whose child has a full pipe and one byte more.
fn wait_then_read() -> anyhow::Result<u8> {
    role::end_with_stdin()?;
    say!(
        "parent {}: I start a child, wait for its end, and read then",
        process::id()
    )?;
    let (mut child, mut pipe) = start_child()?;
    let status = child.wait()?; // It never returns.
    let bytes = io::copy(&mut pipe, &mut io::sink())?;
    say!("parent: {bytes} bytes read; {}", ending::words(status))?;
    Ok(0)
}

/// The same parent. All that differs is the order of two lines.
fn read_then_wait() -> anyhow::Result<u8> {
    role::end_with_stdin()?;
    say!(
        "parent {}: I start a child, read to the end of the pipe, and wait then",
        process::id()
    )?;
    let (mut child, mut pipe) = start_child()?;
    let bytes = io::copy(&mut pipe, &mut io::sink())?;
    let status = child.wait()?; // It returns at once: the pipe ended because the child did.
    say!("parent: {bytes} bytes read; {}", ending::words(status))?;
    Ok(0)
}

/// Starts a child that writes into a pipe, and returns the other end of the pipe.
fn start_child() -> anyhow::Result<(Child, PipeReader)> {
    let (reader, writer) = os_pipe::pipe().context("cannot make a pipe")?;
    let mut command = role::command("fill-the-pipe")?;
    let child = command.stdout(writer).spawn();
    // The command ends with this function, and our writing end with it: or else reading until the
    // pipe ends would be the next thing to hang.
    Ok((child.context("cannot start the child")?, reader))
}

/// The child: it fills the pipe that is its stdout, and then writes one byte more.
fn fill_the_pipe() -> anyhow::Result<u8> {
    // Without the buffer that Rust's own stdout has.
    let mut pipe = os_pipe::dup_stdout().context("cannot clone stdout")?;
    let capacity = capacity(&pipe).context("cannot ask for the pipe's capacity")?;
    let full = pipe.write_all(&vec![b'.'; capacity]);
    full.context("cannot fill the pipe")?;
    writeln!(io::stderr(), "child: {capacity} bytes written, one to go")?;
    // A write that finds no room waits until somebody reads, or until there is nobody who could.
    let more = pipe.write_all(b".");
    more.context("cannot write the last byte")?;
    writeln!(io::stderr(), "child: the last byte is in the pipe")?;
    Ok(0)
}
