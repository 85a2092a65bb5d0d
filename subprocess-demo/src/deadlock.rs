//! The classic hang: first wait for the child, then read its output.
//!
//! Mirrors Python's `p = Popen(..., stdout=PIPE)`, `p.wait()`, `p.stdout.read()`. Python's
//! documentation warns of this order. Run it with `cargo run -p subprocess-demo -- deadlock`.
//!
//! What to notice: while the child's output fits into the pipe, this order works. If the child
//! writes one byte more, it waits until its parent reads, and the parent waits until its child
//! ends. So both wait for ever. Three processes take part: this lesson starts the parent, and the
//! parent starts the child. The lesson is the watchdog: it sees that the other two wait, and kills
//! them. Then a second parent, in which two lines have changed places, does not hang.

use std::{
    io::{self, Write},
    process::{self, Child},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use os_pipe::PipeReader;

use crate::{
    capacity::capacity,
    ending,
    family::{Family, News},
    output::say,
    role::{self, Role},
};

/// The children of this lesson.
pub const ROLES: [(&str, Role); 3] = [
    ("wait-then-read", wait_then_read),
    ("read-then-wait", read_then_wait),
    ("fill-the-pipe", fill_the_pipe),
];

/// How long the watchdog waits after the pipe is full. A parent that reads would empty the pipe
/// within microseconds.
const PATIENCE: Duration = Duration::from_secs(1);

/// The time limit for all that should happen by itself. It is reached only if something is wrong.
const LIMIT: Duration = Duration::from_secs(30);

/// The end of the line that the child prints when the pipe is full.
const FULL: &str = "bytes written, one to go";

pub fn run() -> anyhow::Result<u8> {
    say!("First wait, then read:")?;
    observe("wait-then-read", see_that_it_hangs)?;
    say!("First read, then wait:")?;
    observe("read-then-wait", |family| {
        let ended = family.relay(LIMIT)?;
        ensure!(ended, "still not done after {LIMIT:?}");
        Ok(())
    })?;
    Ok(0)
}

/// Starts a parent in this role, and calls `watch`. After that, kills the parent and its child if
/// they are still there, also if `watch` failed.
fn observe(role: &str, watch: fn(&Family) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let family = Family::start(role::command(role)?)?;
    let id = family.id();
    let watched = watch(&family);
    let status = family.end()?;
    watched?;
    say!("Parent {id}: {}", ending::words(status))
}

/// The watchdog: it checks that the parent and its child wait for each other.
fn see_that_it_hangs(family: &Family) -> anyhow::Result<()> {
    // The time of the watchdog starts when the pipe is full, not when the parent starts: a parent
    // that starts slowly is no deadlock. The child tells us when the pipe is full: its stderr is
    // not that pipe but the family's, inherited from the parent.
    let line = match family.relay_until(LIMIT, |line| line.ends_with(FULL))? {
        News::Line(line) => line,
        News::AllGone | News::LimitReached => bail!("the child did not fill its pipe"),
    };
    // The first number in the line is the child's id.
    let child: u32 = line
        .split([' ', ':'])
        .find_map(|word| word.parse().ok())
        .context("the child did not name its id")?;
    let parent = family.id();

    let start = Instant::now();
    let both_are_asleep = loop {
        let ended = family.relay(PATIENCE)?;
        ensure!(!ended, "no deadlock: the parent and its child have ended");
        match (sleeps_in(child, "write"), sleeps_in(parent, "wait4")) {
            // Both sleep, each in the call in which it waits for the other.
            (Some(true), Some(true)) => break true,
            // The system does not say. We only know that at least one of the two has not ended.
            (None, _) | (_, None) => break false,
            // One of them does not sleep there (yet). So we wait and look again.
            _ => ensure!(
                start.elapsed() < LIMIT,
                "no deadlock: one of them is at work"
            ),
        }
    };
    say!("Watchdog: still not done after {PATIENCE:?}:")?;
    if both_are_asleep {
        say!("  child {child} sleeps in the system call write, parent {parent} in wait4;")?;
    }
    say!("  the child waits until its parent reads;")?;
    say!("  the parent does not read until its child has ended.")
}

/// Whether a process sleeps in this system call: `Some(true)` or `Some(false)`, or `None` if the
/// system does not say.
#[cfg(target_os = "linux")]
fn sleeps_in(id: u32, call: &str) -> Option<bool> {
    use nix::libc::{SYS_wait4, SYS_write};
    // The file holds the number of the call and its arguments, or "running". See
    // proc_pid_syscall(5). If it cannot be read, `.ok()?` returns `None`.
    let text = std::fs::read_to_string(format!("/proc/{id}/syscall")).ok()?;
    let number = if call == "write" {
        SYS_write
    } else {
        SYS_wait4
    };
    let first_word = text.split(' ').next();
    Some(first_word == Some(&number.to_string()))
}

#[cfg(not(target_os = "linux"))]
fn sleeps_in(_: u32, _: &str) -> Option<bool> {
    None
}

/// The parent that hangs. Its child fills the pipe and then writes one byte more.
fn wait_then_read() -> anyhow::Result<u8> {
    role::end_with_stdin()?;
    say!(
        "parent {}: I start a child, wait for its end, then read",
        process::id()
    )?;
    let (mut child, mut pipe) = start_child()?;
    let status = child.wait()?; // This never returns.
    let bytes = io::copy(&mut pipe, &mut io::sink())?;
    say!("parent: {bytes} bytes read; {}", ending::words(status))?;
    Ok(0)
}

/// The same parent, but the two lines with `wait` and `copy` have changed places. It does not hang.
fn read_then_wait() -> anyhow::Result<u8> {
    role::end_with_stdin()?;
    say!(
        "parent {}: I start a child, read to the end of the pipe, then wait",
        process::id()
    )?;
    let (mut child, mut pipe) = start_child()?;
    let bytes = io::copy(&mut pipe, &mut io::sink())?;
    let status = child.wait()?; // This returns soon: the pipe ends when the child ends.
    say!("parent: {bytes} bytes read; {}", ending::words(status))?;
    Ok(0)
}

/// Starts a child that writes into a pipe, and returns the child and the pipe's reading end.
fn start_child() -> anyhow::Result<(Child, PipeReader)> {
    let (reader, writer) = os_pipe::pipe().context("cannot make a pipe")?;
    let mut command = role::command("fill-the-pipe")?;
    let child = command.stdout(writer).spawn();
    // `command` is dropped at the end of this function, and our writing end with it. If we kept
    // that end, our own reading would find no end of file, and would hang.
    Ok((child.context("cannot start the child")?, reader))
}

/// The child: it fills the pipe that is its stdout, and then writes one byte more.
fn fill_the_pipe() -> anyhow::Result<u8> {
    // This writes to stdout without the buffer that Rust's own stdout has.
    let mut pipe = os_pipe::dup_stdout().context("cannot clone stdout")?;
    let capacity = capacity(&pipe).context("cannot ask for the pipe's capacity")?;
    let full = pipe.write_all(&vec![b'.'; capacity]);
    full.context("cannot fill the pipe")?;
    let id = process::id();
    writeln!(io::stderr(), "child {id}: {capacity} {FULL}")?;
    // The pipe has no room, so this write waits until the parent reads. It fails if all reading
    // ends of the pipe are closed.
    let more = pipe.write_all(b".");
    more.context("cannot write the last byte")?;
    writeln!(io::stderr(), "child {id}: the last byte is in the pipe")?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_that_waits_for_input_sleeps_in_neither_call() {
        let mut command = Command::new("sort");
        let command = command.stdin(Stdio::piped()).stdout(Stdio::null());
        let mut child = command.spawn().expect("every system has it");
        for call in ["write", "wait4"] {
            assert_ne!(sleeps_in(child.id(), call), Some(true), "{call}");
        }
        // `sort` reads its end of file, and ends.
        drop(child.stdin.take());
        assert!(child.wait().is_ok_and(|status| status.success()));
    }
}
