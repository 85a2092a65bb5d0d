//! Three programs in a row, each reading what the one before it writes.
//!
//! Mirrors `count | square | take` in a shell, and in Python `p1 = Popen(..., stdout=PIPE)`, `p2 =
//! Popen(..., stdin=p1.stdout)`, `p1.stdout.close()`. Run it with `cargo run -p subprocess-demo --
//! pipeline`.
//!
//! What to notice: `count` would write for ever, and no other process kills it. `take` ends after
//! three lines. Then the pipe that `square` writes into has no reader any more, so the next write
//! of `square` fails, and `square` ends. Then the same happens to `count`. This works only if we
//! hold no reading end ourselves: while any process holds one, a write into a full pipe does not
//! fail but waits. In the second pipeline, the program in the middle fails. `take` only sees that
//! its input ends, and a shell only reports how `take` ended.

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
    // We return the error of a start only here, when the programs that did start are reaped.
    started?;
    // All programs have ended. So none is left behind if a line below cannot be printed.
    for (name, status) in &ends {
        say!("{name}: {}", ending::words(*status))?;
    }
    let codes: Vec<u8> = ends.iter().map(|end| ending::shell_code(end.1)).collect();
    // A shell's option `pipefail`: the exit code of the rightmost program that failed (`rfind`
    // searches from the right), or 0 if none failed.
    let pipefail = codes.iter().rfind(|code| **code != 0).unwrap_or(&0);
    say!(
        "Exit code in a shell: {}; with pipefail: {pipefail}",
        codes[2]
    )
}

/// Starts three programs, each reading what the one before it writes. At the end we hold no end of
/// a pipe.
fn start_all(names: [&str; 3], children: &mut Vec<Child>) -> anyhow::Result<()> {
    // Since Rust 1.87, `std::io::pipe` does the same as `os_pipe::pipe`. Both ends are
    // close-on-exec (see `inherit.rs`), so `count` keeps no copy of `first_reader`.
    let (first_reader, first_writer) = os_pipe::pipe().context("cannot make a pipe")?;
    children.push(start(names[0], Stdio::null(), first_writer)?);
    // `first_writer` is closed now: a value that is given to a function belongs to the function,
    // and `start` drops it. If we kept it, the second program would never read an end of file, not
    // even after the end of the first program.
    let (second_reader, second_writer) = os_pipe::pipe().context("cannot make a pipe")?;
    children.push(start(names[1], first_reader, second_writer)?);
    // `first_reader` and `second_writer` are closed now. If we kept `first_reader`, the first pipe
    // would always have a reader. Then `count` would fill this pipe and wait for ever.
    children.push(start(names[2], second_reader, Stdio::inherit())?);
    // And `second_reader` is closed. If we kept it, `square` would fill the second pipe and then
    // wait for ever.
    Ok(())
}

/// Starts a program of the pipeline. `command` holds our own copies of the pipes' ends. At the end
/// of this function `command` is dropped, and that closes these copies.
fn start(name: &str, input: impl Into<Stdio>, output: impl Into<Stdio>) -> anyhow::Result<Child> {
    let mut command = role::command(name)?;
    let child = command.stdin(input).stdout(output).spawn();
    child.with_context(|| format!("cannot start {name}"))
}

/// The first program: it writes 1, 2, 3, and so on.
///
/// When a program written in C writes to a pipe without a reader, the signal SIGPIPE kills it. So
/// it ends even if it does not check its writes. A Rust program begins with SIGPIPE ignored, so
/// this one sets the signal back to its default action. (It also unblocks the signal: a program
/// inherits which signals are blocked.)
fn count() -> anyhow::Result<u8> {
    #[cfg(unix)]
    {
        use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
        // SAFETY: no code of ours is installed as a handler.
        unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }?;
        SigSet::from(Signal::SIGPIPE).thread_unblock()?;
    }
    // From 1 on, without an end.
    for number in 1_u64.. {
        say!("{number}")?;
    }
    Ok(0)
}

/// The second program: it writes the square of each number.
///
/// It ignores SIGPIPE, as Rust programs do. So its write fails with the error EPIPE, and the
/// program decides what to do. This one ends with exit code 0 (see `output.rs`).
fn square() -> anyhow::Result<u8> {
    for line in io::stdin().lines() {
        let number: u64 = line.context("cannot read stdin")?.parse()?;
        say!("{}", number.wrapping_mul(number))?;
    }
    Ok(0)
}

/// The second program of the second pipeline: it passes two lines on, and then fails.
fn fail() -> anyhow::Result<u8> {
    for line in io::stdin().lines().take(2) {
        say!("{}", line.context("cannot read stdin")?)?;
    }
    Ok(3)
}

/// The third program: it passes three lines on, and ends.
fn take() -> anyhow::Result<u8> {
    for line in io::stdin().lines().take(3) {
        say!("{}", line.context("cannot read stdin")?)?;
    }
    Ok(0)
}
