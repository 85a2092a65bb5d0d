//! A family is a child with all its descendants. We watch it through one pipe, and end it by one
//! signal to its process group.
//!
//! All processes of the family inherit the writing end of the pipe as their stdout and stderr. So
//! the end of file comes when the last of them has ended (or has closed its copies). The end of the
//! child alone would not tell whether its own children have ended too. A thread reads the pipe and
//! sends its lines through a channel, because we can wait for a channel with a time limit.

use std::{
    io::{self, BufRead, BufReader},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;

use crate::output::say;

/// At most this many lines wait in the channel. When it is full, our thread stops reading. Then the
/// pipe fills too, and a process that writes into it has to wait.
const ROOM: usize = 100;

/// Why a wait for a line has ended.
pub enum News {
    /// The family has printed the line.
    Line(String),
    /// The whole family has ended.
    AllGone,
    /// Neither has happened within the limit.
    LimitReached,
}

/// A child with all its descendants.
pub struct Family {
    /// Its stdin is a pipe whose writing end we hold: if our process ends, the child's stdin ends.
    child: Child,
    /// The lines that the family prints. The channel ends at the pipe's end of file.
    lines: Receiver<String>,
}

impl Family {
    /// Starts a child as the first of a family.
    pub fn start(mut command: Command) -> anyhow::Result<Self> {
        let (reader, writer) = os_pipe::pipe().context("cannot make a pipe")?;
        let second = writer.try_clone().context("cannot clone a pipe's end")?;
        command.stdin(Stdio::piped()).stdout(writer).stderr(second);
        // The child gets a process group of its own, and its children will belong to it: a signal
        // can be sent to a whole group. (Ctrl-C in a terminal does not reach this group. It ends
        // our own process, and then the child's stdin ends.)
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        // A read of a pipe waits without a time limit, but a `recv_timeout` of a channel has one.
        // (On Unix, `poll` could wait for the pipe; a channel also works on Windows.) So a thread
        // reads the pipe. It ends at the pipe's end of file, or when `lines` is dropped. Then the
        // thread drops `sender`, and that ends the channel.
        let (sender, lines) = mpsc::sync_channel(ROOM);
        let pass_on = move || lines_of(reader).try_for_each(|line| sender.send(line));
        let started = thread::Builder::new().spawn(pass_on);
        started.context("cannot start a thread")?;
        // The child is started last: if a later step failed, the child would be left behind.
        let child = command.spawn().context("cannot start the child")?;
        // `command` is dropped here. It holds two writing ends: while they are open, the reader
        // finds no end of file.
        Ok(Self { child, lines })
    }

    /// The process id of the child.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Passes on the lines that the family prints. Returns true when the whole family has ended,
    /// and false when the limit comes first.
    pub fn relay(&self, limit: Duration) -> anyhow::Result<bool> {
        let news = self.relay_until(limit, |_| false)?;
        Ok(matches!(news, News::AllGone))
    }

    /// Passes on the lines that the family prints, until `is_awaited` is true for one of them.
    pub fn relay_until(
        &self,
        limit: Duration,
        is_awaited: impl Fn(&str) -> bool,
    ) -> anyhow::Result<News> {
        let start = Instant::now();
        // One limit for all lines together: a child that never stops writing gets no more time.
        // When no time is left, `checked_sub` is `None`, and the loop ends.
        while let Some(left) = limit.checked_sub(start.elapsed()) {
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    say!("  {line}")?;
                    if is_awaited(&line) {
                        return Ok(News::Line(line));
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(News::AllGone),
                Err(RecvTimeoutError::Timeout) => break,
            }
        }
        Ok(News::LimitReached)
    }

    /// Kills all processes of the family that are left, then reaps the child. Returns how the child
    /// ended.
    pub fn end(mut self) -> anyhow::Result<ExitStatus> {
        self.kill();
        // We reap after the kill, never before it. Until the child is reaped, the system gives its
        // id to no other process or group. After that it may do so, and `kill` could kill processes
        // that are not ours.
        let status = self.child.wait();
        status.with_context(|| format!("cannot wait for child {}", self.id()))
    }

    /// Kills the whole family. This has no effect on processes that have ended already.
    #[cfg(unix)]
    pub fn kill(&mut self) {
        self.signal(nix::sys::signal::SIGKILL);
    }

    /// Asks the whole family to end, by SIGTERM.
    #[cfg(unix)]
    pub fn terminate(&mut self) {
        self.signal(nix::sys::signal::SIGTERM);
    }

    #[cfg(unix)]
    fn signal(&self, signal: nix::sys::signal::Signal) {
        let group = nix::unistd::Pid::from_raw(self.id().cast_signed());
        // It fails only if no process of the group is left. Then there is nothing to do.
        let _ = nix::sys::signal::killpg(group, signal);
    }

    /// Kills the child. Windows has no process groups like those of Unix, and Rust's standard
    /// library does not offer its "job objects". So the child's own children are not killed. But
    /// their stdin is the child's, a pipe whose writing end is closed here: in these lessons they
    /// end then.
    #[cfg(not(unix))]
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.stdin = None;
    }

    /// Does nothing: Windows has no SIGTERM.
    #[cfg(not(unix))]
    pub fn terminate(&mut self) {}
}

/// Returns the lines of a pipe, up to its end. Bytes that are not UTF-8 are replaced: `lines()`
/// would return an error for them, and an error would end our reading before the end of file.
fn lines_of(pipe: impl io::Read) -> impl Iterator<Item = String> {
    // The first error ends the lines.
    let lines = BufReader::new(pipe).split(b'\n').map_while(Result::ok);
    lines.map(|line| String::from_utf8_lossy(&line).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_do_not_end_the_output() {
        let lines: Vec<_> = lines_of(&b"one\n\xff\nthree"[..]).collect();
        assert_eq!(lines, ["one", "\u{fffd}", "three"]);
    }
}
