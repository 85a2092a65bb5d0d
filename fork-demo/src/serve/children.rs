//! The parent's table of its children: who runs, who has ended, how many more there may be.

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
    /// The slots that no child uses: one for each child that may still be started.
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

    /// Starts a child, which notes in its slot what it is at.
    ///
    /// # Errors
    /// When there is no slot for it, or the system refuses to fork.
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

    /// Reaps all children that have ended, with a line in the log for each.
    pub fn reap(&mut self, log: &mut Log) -> anyhow::Result<()> {
        // One signal may stand for many children: those that end while it waits add none.
        loop {
            match child::reap(child::ANY, WNOHANG) {
                Ok(Some((child, status))) => {
                    // Whoever became this program (by `exec`) may have had children of its own.
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
            // It cannot fail: as long as nobody has waited for it, the child's id is its own.
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

/// Writes the request's line: method, path, status, child. The parent does this and not the child,
/// for a child that crashes can write nothing any more.
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
