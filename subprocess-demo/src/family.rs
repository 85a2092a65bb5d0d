//! A child together with all its descendants: watched through one pipe, and ended as one.
//!
//! All of them inherit the writing end of the pipe as their stdout and stderr. So the pipe comes to
//! its end of file when the last of them has ended (or has closed its copy). That tells more than
//! the end of the child alone. And we can wait for it with a limit, without polling.

use std::{
    io::{self, BufRead, BufReader},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;

use crate::output::say;

/// At most this many lines wait to be relayed. After that, whoever writes has to wait.
const ROOM: usize = 100;

/// What came of waiting for a line.
pub enum News {
    /// The line.
    Line(String),
    /// The whole family has ended.
    AllGone,
    /// Neither, within the limit.
    LimitReached,
}

pub struct Family {
    /// Its stdin is a pipe of which we hold the writing end: if we die, its input ends.
    child: Child,
    lines: Receiver<String>,
}

impl Family {
    /// Starts a child as the first of a family.
    pub fn start(mut command: Command) -> anyhow::Result<Self> {
        let (reader, writer) = os_pipe::pipe().context("cannot make a pipe")?;
        let second = writer.try_clone().context("cannot clone a pipe's end")?;
        command.stdin(Stdio::piped()).stdout(writer).stderr(second);
        // A process group of its own, which its children will belong to: a signal can be sent to a
        // group as a whole. (Ctrl-C in a terminal does not reach this group. It ends our own
        // process, and then the child's stdin ends.)
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        // A pipe cannot be read with a limit in time, but a channel can. It ends with the pipe.
        let (sender, lines) = mpsc::sync_channel(ROOM);
        let pass_on = move || lines_of(reader).try_for_each(|line| sender.send(line));
        let started = thread::Builder::new().spawn(pass_on);
        started.context("cannot start a thread")?;
        // Last: what could fail after it would leave the child behind.
        let child = command.spawn().context("cannot start the child")?;
        // `command` is dropped here. It holds two writing ends: while they are open, the reader
        // finds no end of file.
        Ok(Self { child, lines })
    }

    /// The process id of the child.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Prints what the family prints, until all of it is gone (true) or until the limit (false).
    pub fn relay(&self, limit: Duration) -> anyhow::Result<bool> {
        let news = self.relay_until(limit, |_| false)?;
        Ok(matches!(news, News::AllGone))
    }

    /// Prints what the family prints, until a line is the one that we wait for.
    pub fn relay_until(
        &self,
        limit: Duration,
        is_awaited: impl Fn(&str) -> bool,
    ) -> anyhow::Result<News> {
        let start = Instant::now();
        // One limit for all lines together: a child that never stops writing gets no more time.
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

    /// Kills those of the family that are left, then reaps the child, and returns how it ended.
    pub fn end(mut self) -> anyhow::Result<ExitStatus> {
        self.kill();
        // We reap after the kill, never before it. Until the child is reaped, its id is not given to
        // another process. After that, `kill` could hit a group that is not ours.
        let status = self.child.wait();
        status.with_context(|| format!("cannot wait for child {}", self.id()))
    }

    /// Kills the whole family. It does nothing to those that are dead already.
    #[cfg(unix)]
    pub fn kill(&mut self) {
        self.signal(nix::sys::signal::SIGKILL);
    }

    /// Asks the whole family to end.
    #[cfg(unix)]
    pub fn terminate(&mut self) {
        self.signal(nix::sys::signal::SIGTERM);
    }

    #[cfg(unix)]
    fn signal(&self, signal: nix::sys::signal::Signal) {
        let group = nix::unistd::Pid::from_raw(self.id().cast_signed());
        // It fails only if the group has no process left, and that is what we want.
        let _ = nix::sys::signal::killpg(group, signal);
    }

    /// Kills the child. Windows has no process groups like those of Unix, and Rust's standard
    /// library does not offer its "job objects": the child's own children are not killed. But their
    /// stdin, a pipe, ends here, and our programs end then.
    #[cfg(not(unix))]
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.stdin = None;
    }

    /// Windows cannot ask a program without windows to end.
    #[cfg(not(unix))]
    pub fn terminate(&mut self) {}
}

/// The lines of a pipe, up to its end. Bytes that are no UTF-8 are replaced: a child may write what
/// it likes, and that is no end of file.
fn lines_of(pipe: impl io::Read) -> impl Iterator<Item = String> {
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
