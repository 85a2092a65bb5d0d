//! A child together with all processes that come of it: watched through one pipe, ended as one.
//!
//! They all inherit the writing end of the pipe as their stdout and stderr. So it comes to its end
//! of file when the last of them is gone (unless one of them closes it before). That is better news
//! than the end of the child alone; and one can wait for it with a limit, and without asking again
//! and again.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;

use crate::output::say;

/// So many lines wait for us at most. Then the family has to wait.
const ROOM: usize = 100;

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
        // group as a whole. (Ctrl-C in a terminal no longer reaches it. It ends by its stdin.)
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command.spawn().context("cannot start the child")?;
        // The command holds writing ends too: with them, the pipe would never end.
        drop(command);

        // A pipe cannot be read with a limit in time, but a channel can. It ends with the pipe.
        let (sender, lines) = mpsc::sync_channel(ROOM);
        let mut said = BufReader::new(reader).lines().map_while(Result::ok);
        let pass_on = move || said.try_for_each(|line| sender.send(line));
        let started = thread::Builder::new().spawn(pass_on);
        started.context("cannot start a thread")?;
        Ok(Self { child, lines })
    }

    /// The process id of the child.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Says what the family says, until all of it is gone (true) or until the limit (false).
    pub fn relay(&self, limit: Duration) -> anyhow::Result<bool> {
        let start = Instant::now();
        // Who talks without a pause has no more time than the others.
        while let Some(left) = limit.checked_sub(start.elapsed()) {
            match self.lines.recv_timeout(left) {
                Ok(line) => say!("  {line}")?,
                Err(RecvTimeoutError::Disconnected) => return Ok(true),
                Err(RecvTimeoutError::Timeout) => break,
            }
        }
        Ok(false)
    }

    /// Kills whoever of the family is left, then reaps the child, and says how it ended.
    pub fn end(mut self) -> anyhow::Result<ExitStatus> {
        self.kill();
        // After the kill, never before it: until it is reaped, a dead child keeps its id, and with
        // it the group's, from being given to strangers.
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
        // It fails only if nobody is left who could be signalled, and that is fine.
        let _ = nix::sys::signal::killpg(group, signal);
    }

    /// Kills the child. Windows knows no group of processes like Unix's, and its "job objects" are
    /// beyond Rust's library: the child's own children are not killed. But the pipe that is their
    /// stdin ends here, and ours heed that.
    #[cfg(not(unix))]
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.stdin = None;
    }

    /// Windows has no way to ask, of a program without windows.
    #[cfg(not(unix))]
    pub fn terminate(&mut self) {}
}
