//! A log that cannot stop the server.
//!
//! A write to a pipe waits while nobody reads it, and so does one to a terminal after Ctrl-S. The
//! parent may not wait for that: so lines are kept until the reader has room for them, and when too
//! many are kept, new ones are lost, and counted. And a reader that leaves (`serve | head -1`, to
//! learn the address) ends the log, but not the server.

use std::{
    fmt,
    io::{self, Write},
    mem,
};

use nix::{errno::Errno, libc::PIPE_BUF, unistd};

use crate::output::report_error;

/// How many bytes are kept.
const LIMIT: usize = 256 * 1024;

pub struct Log {
    /// Whole lines that are not yet written.
    kept: Vec<u8>,
    /// How many lines came after those, and were not kept.
    lost: u64,
    reader_left: bool,
}

impl Log {
    pub fn new() -> Self {
        Self {
            kept: Vec::new(),
            lost: 0,
            reader_left: false,
        }
    }

    /// Whether there is nothing to be written.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Adds a line, of less than 500 bytes.
    pub fn line(&mut self, line: fmt::Arguments) {
        if self.reader_left {
        } else if self.kept.len() > LIMIT {
            self.lost += 1;
        } else {
            // Writing to a Vec cannot fail.
            let _ = writeln!(self.kept, "{line}");
        }
    }

    /// Writes a few lines: no more than stdout takes at once when `poll` calls it writable.
    pub fn write(&mut self) {
        let start = &self.kept[..self.kept.len().min(PIPE_BUF)];
        let end_of_line = start.iter().rposition(|&byte| byte == b'\n');
        let lines = &start[..end_of_line.map_or(0, |end| end + 1)];
        match unistd::write(io::stdout(), lines) {
            Ok(written) => {
                self.kept.drain(..written);
                let room = self.kept.len() <= LIMIT;
                if room && self.lost > 0 {
                    let lost = mem::take(&mut self.lost);
                    self.line(format_args!(
                        "{lost} lines are lost: they were too many to keep"
                    ));
                }
            }
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(error) => {
                self.reader_left = error == Errno::EPIPE;
                if !self.reader_left {
                    report_error(format_args!(
                        "cannot write to the log: {}",
                        io::Error::from(error)
                    ));
                }
                self.kept.clear();
            }
        }
    }
}
