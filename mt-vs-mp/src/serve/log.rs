//! A log that never makes the master wait.
//!
//! A write waits while nobody reads a pipe, and so does one to a terminal after Ctrl-S. So lines are
//! kept until there is room for them. When too many are kept, new ones are dropped, and when the
//! reader is gone (`serve | head -1`), all are; `/status` tells of the deaths all the same.

use std::{
    fmt,
    io::{self, IsTerminal, Write},
    os::fd::{AsFd, BorrowedFd},
};

use nix::{errno::Errno, libc::PIPE_BUF, unistd};

/// How many bytes are kept.
const LIMIT: usize = 64 * 1024;

pub struct Log {
    kept: Vec<u8>,
    stdout: io::Stdout,
    /// How many bytes stdout takes without waiting when `poll` calls it writable.
    piece: usize,
}

impl Log {
    pub fn new() -> Self {
        let stdout = io::stdout();
        // A terminal promises room for no more than one.
        let piece = if stdout.is_terminal() { 1 } else { PIPE_BUF };
        Self {
            kept: Vec::new(),
            stdout,
            piece,
        }
    }

    pub fn line(&mut self, line: fmt::Arguments) {
        if self.kept.len() < LIMIT {
            // Writing to a Vec cannot fail.
            let _ = writeln!(self.kept, "{line}");
        }
    }

    /// What has to become writable before [`Log::write`], if there is anything to write.
    pub fn waits_for(&self) -> Option<BorrowedFd<'_>> {
        (!self.kept.is_empty()).then(|| self.stdout.as_fd())
    }

    /// Writes what there is room for.
    pub fn write(&mut self) {
        let piece = &self.kept[..self.kept.len().min(self.piece)];
        match unistd::write(&self.stdout, piece) {
            Ok(written) => drop(self.kept.drain(..written)),
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(_) => self.kept.clear(),
        }
    }
}
