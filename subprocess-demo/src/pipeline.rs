//! Three programs in a row, each reading what the one before it writes.
//!
//! Mirrors `count | square | take` in a shell, and in Python `p1 = Popen(..., stdout=PIPE)`, `p2 =
//! Popen(..., stdin=p1.stdout)`, `p1.stdout.close()`. Run it with `cargo run -p subprocess-demo --
//! pipeline`.
//!
//! What to notice: `count` never ends by itself, and nobody kills it. `take` ends after three
//! lines, so `square`'s pipe has no reader any more, its write fails, and it ends; so `count`'s pipe
//! has no reader, and `count` ends too. That works only if we hold no end of these pipes ourselves:
//! while one reader is left anywhere, a writer does not fail but waits. The second time, the program
//! in the middle fails. `take` only sees that its input ends, and a shell only looks at `take`.

use std::{
    io::{self, Write},
    process::{Child, Stdio},
};

use anyhow::Context;

use crate::{
    ending,
    output::say,
    role::{self, Role},
};

/// The children of this lesson.
pub const ROLES: [(&str, Role); 4] = [
    ("count", count),
    ("square", square),
    ("fail", fail),
    ("take", take),
];

pub fn run() -> anyhow::Result<u8> {
    pipeline(["count", "square", "take"])?;
    pipeline(["count", "fail", "take"])?;
    Ok(0)
}

/// Runs three programs as a pipeline, and prints how each of them ended.
fn pipeline(names: [&str; 3]) -> anyhow::Result<()> {
    say!("{}:", names.join(" | "))?;
    // The last program writes to the same stdout: our own line must be there first (see `call.rs`).
    io::stdout().flush().context("cannot write to stdout")?;

    let mut children = Vec::new();
    let started = start_all(names, &mut children);
    let mut ends = Vec::new();
    for (name, mut child) in names.into_iter().zip(children) {
        let status = child.wait();
        ends.push((
            name,
            status.with_context(|| format!("cannot wait for {name}"))?,
        ));
    }
    // Not earlier: those that were started are reaped, also if the next one could not be started.
    started?;
    // All have ended: if nobody reads what we print from here on, no process is left behind.
    for (name, status) in &ends {
        say!("{name}: {}", ending::words(*status))?;
    }
    let codes: Vec<u8> = ends.iter().map(|end| ending::shell_code(end.1)).collect();
    // The option `pipefail` of a shell: the code of the last one that failed.
    let pipefail = codes.iter().rfind(|code| **code != 0).unwrap_or(&0);
    say!(
        "Exit code in a shell: {}; with pipefail: {pipefail}",
        codes[2]
    )
}

/// Starts three programs, each reading what the one before it writes.
fn start_all(names: [&str; 3], children: &mut Vec<Child>) -> anyhow::Result<()> {
    // Since Rust 1.87, `std::io::pipe` does the same.
    let (first_reader, first_writer) = os_pipe::pipe().context("cannot make a pipe")?;
    children.push(start(names[0], Stdio::null(), first_writer)?);
    // That call took our writing end, and closed it. If we kept it, the second program would never
    // see an end of file, not even after the first one's end.
    let (second_reader, second_writer) = os_pipe::pipe().context("cannot make a pipe")?;
    children.push(start(names[1], first_reader, second_writer)?);
    // And this one took our reading end of the first pipe: the second program has the only one now.
    // If we kept it, `count` would fill the pipe and then wait for ever, for us to read.
    children.push(start(names[2], second_reader, Stdio::inherit())?);
    Ok(())
}

/// Starts a program of the pipeline. Our own copies of its pipes' ends are closed when `command` goes
/// out of scope.
fn start(name: &str, input: impl Into<Stdio>, output: impl Into<Stdio>) -> anyhow::Result<Child> {
    let mut command = role::command(name)?;
    let child = command.stdin(input).stdout(output).spawn();
    child.with_context(|| format!("cannot start {name}"))
}

/// The first program: 1, 2, 3, and so on.
///
/// A program written in C gets the signal SIGPIPE when it writes to a pipe without a reader, and is
/// killed by it: so it ends even if it does not check its writes. This program does the same.
fn count() -> anyhow::Result<u8> {
    #[cfg(unix)]
    {
        use nix::sys::signal::{SigHandler, Signal, signal};
        // SAFETY: no code of ours is installed as a handler.
        unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }?;
    }
    for number in 1_u64.. {
        say!("{number}")?;
    }
    Ok(0)
}

/// The second: the square of each number.
///
/// A program written in Rust ignores the signal, and its write fails with the error EPIPE instead.
/// Then it decides itself what to do; ours ends with exit code 0 (see `output.rs`).
fn square() -> anyhow::Result<u8> {
    for line in io::stdin().lines() {
        let number: u64 = line.context("cannot read stdin")?.parse()?;
        say!("{}", number.wrapping_mul(number))?;
    }
    Ok(0)
}

/// Instead of the second: a program that fails after two lines.
fn fail() -> anyhow::Result<u8> {
    for line in io::stdin().lines().take(2) {
        say!("{}", line.context("cannot read stdin")?)?;
    }
    Ok(3)
}

/// The third: three lines are enough.
fn take() -> anyhow::Result<u8> {
    for line in io::stdin().lines().take(3) {
        say!("{}", line.context("cannot read stdin")?)?;
    }
    Ok(0)
}
