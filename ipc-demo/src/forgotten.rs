//! The forgotten writer: a reader waits for the end of file, but holds a writing end itself.
//!
//! The second part of `cargo run -p ipc-demo -- hangup`. This is the most frequent hang with pipes.
//! It is run here in a child, under a watchdog; then again with the one line that was missing.
//!
//! ```text
//! we, the watchdog <---- the reader <---- the writer
//!                        (and does it hold a writing end?)
//! ```

use std::{
    io::{BufRead, BufReader},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::Duration,
};

use anyhow::{Context, bail, ensure};

use crate::{child, output::say};

/// How long the watchdog waits for an end of file that is not to come.
const LIMIT: Duration = Duration::from_secs(1);

/// How long for one that is to come, and does at once: more than any machine can be busy.
const GENEROUS_LIMIT: Duration = Duration::from_secs(30);

/// What the reader is told to do with its copy of the writing end.
const FORGET: &str = "forget";
const CLOSE: &str = "close";

pub fn run() -> anyhow::Result<u8> {
    say!("A pipe's writer has ended, but its reader has forgotten a writing end. The reader:")?;
    ensure!(
        !sees_the_end(FORGET, LIMIT)?,
        "a pipe ended, although a writing end was open"
    );
    say!("The same, but the reader has closed that end. The reader:")?;
    ensure!(
        sees_the_end(CLOSE, GENEROUS_LIMIT)?,
        "a pipe did not end, although all writing ends were closed"
    );
    Ok(0)
}

/// Runs a reader, and returns whether the end of file came to it. If not, it is killed.
fn sees_the_end(argument: &str, limit: Duration) -> anyhow::Result<bool> {
    let (lifeline, _held) = os_pipe::pipe().context("cannot make a pipe")?;
    let (remarks, stdout) = os_pipe::pipe().context("cannot make a pipe")?;
    // A read cannot be told when to give up. So a thread reads, and we wait for the thread.
    let (read, lines) = mpsc::channel();
    let line_reader = thread::Builder::new()
        .spawn(move || {
            for line in BufReader::new(remarks).lines().map_while(Result::ok) {
                let _ = read.send(line);
            }
        })
        .context("cannot start a thread")?;
    let mut command = child::command("end-awaiter", argument)?;
    let started = command.stdin(lifeline).stdout(stdout).spawn();
    // `command` holds a writing end. Without this line, we would be the ones who forgot it.
    drop(command);
    let mut reader = started.context("cannot start the reader")?;

    let ended = watch(reader.id(), &lines, limit);
    if !matches!(ended, Ok(true)) {
        let _ = reader.kill();
    }
    reader.wait().context("cannot wait for the reader")?;
    line_reader.join().expect("reading does not panic");
    ended
}

/// Tells what the reader says, and returns whether it came to the end of file in time.
fn watch(reader: u32, lines: &Receiver<String>, limit: Duration) -> anyhow::Result<bool> {
    let line = lines
        .recv_timeout(GENEROUS_LIMIT)
        .context("the reader has read no line")?;
    say!("  {line}")?;
    // Now the writer has ended and its line is read, so nothing remains but the end.
    match lines.recv_timeout(limit) {
        Ok(line) => {
            say!("  {line}")?;
            Ok(true)
        }
        Err(RecvTimeoutError::Disconnected) => bail!("the reader died before the end of file"),
        Err(RecvTimeoutError::Timeout) => {
            say!(
                "  still waits for the end of file after {limit:?}. It cannot come: process {reader} holds"
            )?;
            say!("  the last writing end itself. The watchdog kills it.")?;
            Ok(false)
        }
    }
}

/// The reader, a child.
pub fn await_end(argument: String) -> anyhow::Result<u8> {
    child::end_with_parent()?;
    let (pipe, writing_end) = os_pipe::pipe().context("cannot make a pipe")?;
    let mut command = child::command("line-writer", "")?;
    let status = command.stdout(writing_end).status();
    ensure!(
        status.context("cannot run the writer")?.success(),
        "the writer failed"
    );
    // The writer has ended, and its copy of the writing end is closed. But `command` keeps the one
    // that it was given, since a command can be run again. This is the line that is forgotten:
    if argument == CLOSE {
        drop(command);
    }

    let mut pipe = BufReader::new(pipe);
    let mut line = String::new();
    pipe.read_line(&mut line).context("cannot read the pipe")?;
    say!("reads {}", line.trim_end())?;
    let more = pipe.read_line(&mut line).context("cannot read the pipe")?;
    ensure!(more == 0, "there is more than one line: {line}");
    say!("reads the end of file")?;
    Ok(0)
}

/// The reader's own child.
pub fn write_line(_: String) -> anyhow::Result<u8> {
    say!("one line")?;
    Ok(0)
}
