//! A writing end that was not closed: a reader waits for the end of file, but holds a writing end
//! of the pipe itself.
//!
//! This is the second part of `cargo run -p ipc-demo -- hangup`, and a frequent cause of a hang.
//! The parent is a watchdog. It starts the reader as a child, and kills it if the end of file does
//! not come. Then it runs the reader once more, with the line that was missing.
//!
//! ```text
//! the parent, a watchdog <---- the reader <---- the writer, a child of the reader
//!                       stdout            pipe
//! ```
//!
//! To find the cause of such a hang on Linux, while the process hangs: `ls -l /proc/PID/fd` lists
//! its descriptors. A pipe is `pipe:[number]`; `lr-x` marks a reading end, `l-wx` a writing end.
//! The reader here has both ends of the same number. (On macOS: `lsof -p PID`.)

use std::{
    io::{BufRead, BufReader},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::Duration,
};

use anyhow::{Context, bail, ensure};

use crate::{child, output::say};

/// How long the watchdog waits for an end of file that is not expected to come.
const LIMIT: Duration = Duration::from_secs(1);

/// How long it waits for what is expected to come at once. This is long, because the machine may be
/// busy.
const GENEROUS_LIMIT: Duration = Duration::from_secs(30);

/// What the reader is told to do with its copy of the writing end.
const KEEP: &str = "keep";
const CLOSE: &str = "close";

pub fn run() -> anyhow::Result<u8> {
    say!("A pipe's writer has ended, but its reader still holds a writing end. The reader:")?;
    ensure!(
        !sees_the_end(KEEP, LIMIT)?,
        "a pipe ended, although a writing end was open"
    );
    say!("The same, but the reader has closed that end. The reader:")?;
    ensure!(
        sees_the_end(CLOSE, GENEROUS_LIMIT)?,
        "a pipe did not end, although all writing ends were closed"
    );
    Ok(0)
}

/// Runs a reader, and returns whether it has read the end of file. If it has not, it is killed.
fn sees_the_end(argument: &str, limit: Duration) -> anyhow::Result<bool> {
    let (lifeline, _held) = os_pipe::pipe().context("cannot make a pipe")?;
    let (remarks, stdout) = os_pipe::pipe().context("cannot make a pipe")?;
    // A read of a pipe has no time limit. So a thread reads what the reader prints, until the end
    // or an error (`map_while`), and passes it on through a channel: `recv_timeout` has a limit.
    let (sender, lines) = mpsc::channel();
    let line_reader = thread::Builder::new()
        .spawn(move || {
            for line in BufReader::new(remarks).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        })
        .context("cannot start a thread")?;
    let mut command = child::command("end-awaiter", argument)?;
    let started = command.stdin(lifeline).stdout(stdout).spawn();
    // `command` keeps `stdout`, the writing end of the pipe that the thread above reads. Without
    // this line, that thread would never read the end of file.
    drop(command);
    let mut reader = started.context("cannot start the reader")?;

    let ended = watch(reader.id(), &lines, limit);
    // If `ended` is `Ok(false)` or an error, the reader may still run.
    if !matches!(ended, Ok(true)) {
        let _ = reader.kill();
    }
    let status = reader.wait().context("cannot wait for the reader")?;
    line_reader.join().expect("reading does not panic");
    let ended = ended.with_context(|| format!("the reader has ended ({status})"))?;
    ensure!(!ended || status.success(), "the reader failed: {status}");
    Ok(ended)
}

/// Prints what the reader prints, and returns whether it has read the end of file in time. (It does
/// not look which process holds the writing end. That is known here.)
fn watch(reader: u32, lines: &Receiver<String>, limit: Duration) -> anyhow::Result<bool> {
    let line = lines
        .recv_timeout(GENEROUS_LIMIT)
        .ok()
        .context("it has read no line")?;
    say!("  {line}")?;
    // Now the writer has ended, and its only line has been read. Only the end of file is missing.
    match lines.recv_timeout(limit) {
        Ok(line) => {
            say!("  {line}")?;
            Ok(true)
        }
        Err(RecvTimeoutError::Disconnected) => bail!("it has not read the end of file"),
        Err(RecvTimeoutError::Timeout) => {
            say!(
                "  still waits for the end of file after {limit:?}: it holds the last writing end itself (process {reader})"
            )?;
            say!("  is killed by the watchdog, which is the parent")?;
            Ok(false)
        }
    }
}

/// The reader: starts the writer, and reads until the end of file.
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
    // that it was given, since a command can be run again. `drop(command)` closes it. That is the
    // line which is missing in the first run.
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

/// The writer, a child of the reader.
pub fn write_line(_: String) -> anyhow::Result<u8> {
    say!("one line")?;
    Ok(0)
}
