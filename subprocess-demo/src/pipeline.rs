//! Three programs in a row, each reading what the one before it writes.
//!
//! Mirrors `count | square | take` in a shell, and in Python `p1 = Popen(..., stdout=PIPE)`, `p2 =
//! Popen(..., stdin=p1.stdout)`, `p1.stdout.close()`. Run it with `cargo run -p subprocess-demo --
//! pipeline`.
//!
//! What to notice: `count` never ends by itself, and nobody kills it. `take` leaves after three
//! lines; so the last reader of `square`'s pipe is gone, and `square` cannot write; so it leaves,
//! and `count` cannot write. That works only if we hold no end of these pipes ourselves: while a
//! reader is left anywhere, a writer does not fail but waits.

use std::{
    io::{self, Write},
    process::Stdio,
};

use anyhow::Context;

use crate::{
    ending,
    output::say,
    role::{self, Role},
};

/// The children of this lesson.
pub const ROLES: [(&str, Role); 3] = [("count", count), ("square", square), ("take", take)];

/// What a shell makes of a death by SIGPIPE.
const DIED_OF_SIGPIPE: u8 = 128 + 13;

pub fn run() -> anyhow::Result<u8> {
    say!("$ count | square | take")?;
    // `take` writes to the same stdout, past our buffer.
    io::stdout().flush().context("cannot write to stdout")?;

    // `std::io::pipe` does the same since Rust 1.87; os_pipe is for compilers older than that.
    let (from_count, to_square) = os_pipe::pipe().context("cannot make a pipe")?;
    let count = role::command("count")?
        .stdin(Stdio::null())
        .stdout(to_square)
        .spawn()
        .context("cannot start count")?;
    // That semicolon ended the life of the `Command`, and with it our writing end. If we kept it,
    // `square` would never see an end of file, even with `count` long gone.
    let (from_square, to_take) = os_pipe::pipe().context("cannot make a pipe")?;
    let square = role::command("square")?
        .stdin(from_count)
        .stdout(to_take)
        .spawn()
        .context("cannot start square")?;
    // And this one ended our reading end of the first pipe: `square` has the only one now. If we
    // kept it, `count` would fill the pipe and wait for ever, for us to read.
    let take = role::command("take")?
        .stdin(from_square)
        .spawn()
        .context("cannot start take")?;

    let mut ends = Vec::new();
    for (name, mut child) in [("count", count), ("square", square), ("take", take)] {
        let status = child.wait();
        ends.push((
            name,
            status.with_context(|| format!("cannot wait for {name}"))?,
        ));
    }
    // All have ended: from here on, it does no harm if nobody reads what we say.
    for (name, status) in &ends {
        say!("{name}: {}", ending::words(*status))?;
    }
    let codes: Vec<u8> = ends.iter().map(|end| ending::shell_code(end.1)).collect();
    let pipefail = codes.iter().rfind(|code| **code != 0).unwrap_or(&0);
    say!(
        "Exit code in a shell: {}; with pipefail: {pipefail}",
        codes[2]
    )?;
    // Ours is like pipefail's. But a writer whose reader has had enough did not fail.
    let failure = codes
        .iter()
        .rfind(|code| ![0, DIED_OF_SIGPIPE].contains(code));
    Ok(failure.copied().unwrap_or(0))
}

/// The first program: 1, 2, 3, and so on.
///
/// A program written in C gets the signal SIGPIPE when it writes to a pipe without a reader, and
/// dies of it: nobody must check each write. This one does so too.
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
/// What to make of it is its own choice; ours is to end well (see `output.rs`).
fn square() -> anyhow::Result<u8> {
    for line in io::stdin().lines() {
        let number: u64 = line.context("cannot read stdin")?.parse()?;
        say!("{}", number.wrapping_mul(number))?;
    }
    Ok(0)
}

/// The third: three lines are enough.
fn take() -> anyhow::Result<u8> {
    for line in io::stdin().lines().take(3) {
        say!("{}", line.context("cannot read stdin")?)?;
    }
    Ok(0)
}
