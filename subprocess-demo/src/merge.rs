//! Stdout and stderr of a child in one stream, in the order in which they were written.
//!
//! Mirrors Python's `Popen(..., stdout=PIPE, stderr=STDOUT)`, and `2>&1` in a shell. Run it with
//! `cargo run -p subprocess-demo -- merge`.
//!
//! What to notice: one pipe keeps the order in which bytes are written into it. Between two pipes
//! there is no order: a parent that reads stdout from one pipe and stderr from another never learns
//! which line was written first. So here the child gets the same pipe as stdout and as stderr.
//!
//! On Unix the lesson shows two more things (see [`crate::one_pipe`]). A write of up to `PIPE_BUF`
//! bytes stays whole, even if other processes write at the same time; a larger write may be torn.
//! And a program may hold its output back: if stdout is a pipe, C's stdio collects the output in a
//! buffer, and so does Python. (If stdout is a terminal, they write each line at once. With
//! `python3 -u`, or with `stdbuf -oL` for a program in C, they do so to a pipe too.)

use std::io::{self, BufRead, BufReader, Write};

use anyhow::{Context, ensure};
use os_pipe::PipeReader;

use crate::{
    ending,
    output::say,
    role::{self, Role},
};

/// The child of this lesson.
pub const ROLES: [(&str, Role); 1] = [("write-to-both", write_to_both)];

/// How many lines the child writes, and how many of them are shown.
const LINES: usize = 10_000;
const SHOWN: usize = 6;

pub fn run() -> anyhow::Result<u8> {
    let (reader, writer) = os_pipe::pipe().context("cannot make a pipe")?;
    let second = writer.try_clone().context("cannot clone a pipe's end")?;
    let mut command = role::command("write-to-both")?;
    command.stdout(writer).stderr(second);
    let mut child = command.spawn().context("cannot start the child")?;
    // The command still holds both writing ends. The reading below ends only when every writing end
    // is closed, so ours must be closed first.
    drop(command);

    let checked = check_order(reader);
    // We wait only after we have read: a child whose pipe is full does not end before we read.
    let status = child.wait().context("cannot wait for the child")?;
    checked?;
    ensure!(status.success(), "the child: {}", ending::words(status));
    say!("... {LINES} lines in all, in the order written")?;
    #[cfg(unix)]
    crate::one_pipe::run()?;
    Ok(0)
}

/// Reads the child's output to its end, checks the order of its lines, and prints the first of
/// them.
fn check_order(pipe: PipeReader) -> anyhow::Result<()> {
    let mut number = 0;
    for text in BufReader::new(pipe).lines() {
        let text = text.context("cannot read the child's output")?;
        number += 1;
        ensure!(text == line(number), "line {number} is {text:?}");
        if number <= SHOWN {
            say!("{text}")?;
        }
    }
    ensure!(number == LINES, "the output ended with line {number}");
    Ok(())
}

/// The child: odd lines on stdout, even lines on stderr.
///
/// Rust writes each line at once, even to a pipe.
fn write_to_both() -> anyhow::Result<u8> {
    for number in 1..=LINES {
        let line = line(number);
        if number % 2 == 1 {
            say!("{line}")?;
        } else {
            writeln!(io::stderr(), "{line}").context("cannot write to stderr")?;
        }
    }
    Ok(0)
}

/// The line of this number.
fn line(number: usize) -> String {
    let stream = if number % 2 == 1 { "stdout" } else { "stderr" };
    format!("{number} to {stream}")
}
