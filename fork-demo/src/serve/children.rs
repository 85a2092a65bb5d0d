//! The parent's table of its children: which ones run, and how many more may be started.

use std::{collections::HashMap, io, os::unix::process::ExitStatusExt, process::ExitStatus};

use anyhow::Context;
use nix::{
    errno::Errno,
    libc::WNOHANG,
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    log::Log,
    scoreboard::{self, Slot},
};
use crate::child;

pub struct Children {
    running: HashMap<Pid, &'static Slot>,
    /// The slots that no child uses. There is one for each child that may still be started.
    free: Vec<&'static Slot>,
}

impl Children {
    pub fn new(max: usize) -> anyhow::Result<Self> {
        Ok(Self {
            running: HashMap::new(),
            free: scoreboard::new(max)?.iter().collect(),
        })
    }

    pub fn is_full(&self) -> bool {
        self.free.is_empty()
    }

    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Starts a child. It notes in its slot what it is doing.
    ///
    /// # Errors
    /// No slot is free, or the system refuses to fork.
    pub fn start(&mut self, body: impl FnOnce(&Slot) -> anyhow::Result<u8>) -> io::Result<()> {
        let slot = self.free.pop().ok_or(io::ErrorKind::QuotaExceeded)?;
        slot.clear();
        match child::start_without_stdout(|| body(slot)) {
            Ok(child) => {
                self.running.insert(child, slot);
                Ok(())
            }
            Err(error) => {
                self.free.push(slot);
                Err(error)
            }
        }
    }

    /// Reaps all children that have ended, and writes a line into the log for each request.
    pub fn reap(&mut self, log: &mut Log) -> anyhow::Result<()> {
        // One SIGCHLD may stand for many children: while a SIGCHLD is pending, the end of another
        // child does not add a second one.
        loop {
            match child::reap(child::ANY, WNOHANG) {
                Ok(Some((child, status))) => {
                    // An id that is not in the table is that of a child which this process had
                    // before it became this program (by `exec`).
                    if let Some(slot) = self.running.remove(&child) {
                        report(child, status, slot, log);
                        self.free.push(slot);
                    }
                }
                Ok(None) | Err(Errno::ECHILD) => return Ok(()),
                Err(error) => {
                    return Err(io::Error::from(error)).context("cannot wait for a child");
                }
            }
        }
    }

    /// Kills all that are still running.
    pub fn kill(&self) {
        for &child in self.running.keys() {
            // The id is still that of the child, since the parent has not waited for it yet. So
            // this cannot fail, or kill another process.
            let _ = kill(child, Signal::SIGKILL);
        }
    }

    /// Kills all that are still running, and waits for each.
    pub fn kill_and_wait(&mut self) {
        self.kill();
        for (child, _) in self.running.drain() {
            let _ = child::wait(child);
        }
    }
}

/// Writes the request's line into the log: method, path, status, child. The parent writes it, since
/// a child that has crashed cannot.
fn report(child: Pid, status: ExitStatus, slot: &Slot, log: &mut Log) {
    match (status.code(), slot.status()) {
        // The client left before it had asked for anything.
        (Some(0), 0) => {}
        (Some(0), status) => log.line(format_args!("{slot} {status} {child}")),
        (Some(code), _) => log.line(format_args!("{slot} exit-code-{code} {child}")),
        (None, _) => log.line(format_args!("{slot} {} {child}", signal_name(status))),
    }
}

/// What killed the child, such as `SIGABRT`.
fn signal_name(status: ExitStatus) -> String {
    let number = status.signal().unwrap_or(0);
    Signal::try_from(number)
        .map_or_else(|_| format!("signal-{number}"), |signal| signal.to_string())
}
