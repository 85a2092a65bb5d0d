//! A log that never makes the master wait.
//!
//! A write to a full pipe waits until somebody reads from the pipe, and a write to a terminal after
//! Ctrl-S waits too. So lines are kept until there is room for them. When too many lines are kept,
//! new lines are dropped. When the reader is gone (`serve | head -1`), all lines are dropped;
//! `/status` shows the deaths in any case.

use std::{
    fmt,
    io::{self, IsTerminal, Write},
    os::fd::{AsFd, BorrowedFd},
};

use nix::{
    errno::Errno,
    libc::PIPE_BUF,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    unistd,
};

/// A line is dropped if this many bytes are kept already.
const LIMIT: usize = 64 * 1024;

pub struct Log {
    kept: Vec<u8>,
    stdout: io::Stdout,
    /// How many bytes a write to stdout can have, and not wait, when `poll` reports room.
    piece: usize,
}

impl Log {
    pub fn new() -> Self {
        let stdout = io::stdout();
        // A terminal promises room for one byte only.
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

    /// What has to become writable before [`Log::write`]. `None` if no line is kept.
    pub fn waits_for(&self) -> Option<BorrowedFd<'_>> {
        (!self.kept.is_empty()).then(|| self.stdout.as_fd())
    }

    /// Writes as much as there is room for.
    pub fn write(&mut self) {
        let piece = &self.kept[..self.kept.len().min(self.piece)];
        match unistd::write(&self.stdout, piece) {
            Ok(written) => drop(self.kept.drain(..written)),
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(_) => self.kept.clear(),
        }
    }

    /// The same at the end of the server, when nothing is left to wait for: it writes until there
    /// is no room.
    pub fn write_the_rest(&mut self) {
        while let Some(stdout) = self.waits_for() {
            let mut fds = [PollFd::new(stdout, PollFlags::POLLOUT)];
            if poll(&mut fds, PollTimeout::ZERO) != Ok(1) {
                return;
            }
            self.write();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_kept_up_to_a_limit() {
        let mut log = Log::new();
        assert!(log.waits_for().is_none());
        log.line(format_args!("{} died", 1));
        assert_eq!(log.kept, b"1 died\n");
        assert!(log.waits_for().is_some());
        let long = "x".repeat(1000);
        for _ in 0..100 {
            log.line(format_args!("{long}"));
        }
        assert!((65_536..65_536 + 1001).contains(&log.kept.len()));
    }
}
