//! A log that cannot stop the server.
//!
//! A write to a pipe waits while the pipe is full. A write to a terminal waits after Ctrl-S. The
//! parent must not wait for the reader of its log. So it keeps its lines until `poll` reports that
//! there is room for them. When too many lines are kept, new ones are dropped and counted. A reader
//! that leaves (`serve | head -1`, to learn the address) ends the log, but not the server.

use std::{
    fmt,
    fs::File,
    io::{self, Write},
    mem,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::OpenOptionsExt,
    },
};

use nix::{
    errno::Errno,
    libc::{O_NOCTTY, O_NONBLOCK, PIPE_BUF},
    unistd,
};

use crate::output::report_error;

/// While more bytes than this are kept, new lines are dropped.
const LIMIT: usize = 256 * 1024;

pub struct Log {
    out: OwnedFd,
    /// Lines that are not yet written. (A terminal may have taken a part of the first one.)
    kept: Vec<u8>,
    /// How many lines were dropped after those.
    lost: u64,
    reader_left: bool,
}

impl Log {
    pub fn new() -> io::Result<Self> {
        let stdout = || io::stdout().as_fd().try_clone_to_owned();
        Ok(Self {
            out: terminal().map_or_else(stdout, Ok)?,
            kept: Vec::new(),
            lost: 0,
            reader_left: false,
        })
    }

    /// Whether there is nothing to be written.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Adds a line. It must have less than 500 bytes: see [`Self::write`].
    pub fn line(&mut self, line: fmt::Arguments) {
        if self.reader_left {
            return;
        }
        if self.kept.len() > LIMIT {
            self.lost += 1;
        } else {
            // A write into the memory of a Vec cannot fail.
            let _ = writeln!(self.kept, "{line}");
        }
    }

    /// Writes the first lines, as many as fit into `PIPE_BUF` bytes. (These are 512 bytes or more,
    /// so at least one line fits.) If `poll` reports that a pipe is writable, it has room for so
    /// many.
    pub fn write(&mut self) {
        let start = &self.kept[..self.kept.len().min(PIPE_BUF)];
        let end_of_line = start.iter().rposition(|&byte| byte == b'\n');
        let lines = &start[..end_of_line.map_or(0, |end| end + 1)];
        match unistd::write(&self.out, lines) {
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
            // The lines stay, and are written later.
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

/// What `poll` waits for if there is something to be written.
impl AsFd for Log {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.out.as_fd()
    }
}

/// The terminal, if stdout is one, opened again in such a way that a write never waits
/// (O_NONBLOCK).
///
/// A terminal needs this, since `poll` reports it as writable when it has room for a single byte.
/// (A pipe then has room for `PIPE_BUF` bytes.) O_NONBLOCK belongs to the open file. If it were set
/// for stdout, it would hold for all processes that share this open file, such as the shell.
fn terminal() -> Option<OwnedFd> {
    let path = unistd::ttyname(io::stdout()).ok()?;
    let mut options = File::options();
    options.write(true).custom_flags(O_NONBLOCK | O_NOCTTY);
    Some(options.open(path).ok()?.into())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn lines_that_are_too_many_to_keep_are_counted_and_the_others_are_written() {
        let (mut reader, out) = io::pipe().expect("a pipe can be made");
        let mut log = Log {
            out: out.into(),
            kept: Vec::new(),
            lost: 0,
            reader_left: false,
        };
        // The first line is shorter than the others, so that the limit is reached exactly, and then
        // exceeded by one line.
        let kept = LIMIT / 100 + 2;
        for number in 0..kept {
            let digits = if number == 0 { LIMIT % 100 - 1 } else { 99 };
            log.line(format_args!("{number:0digits$}"));
        }
        log.line(format_args!("one too many"));
        log.line(format_args!("two too many"));
        let mut text = Vec::new();
        while !log.is_empty() {
            let before = log.kept.len();
            log.write();
            assert!(log.kept.len() < before, "nothing was written");
            // Each write fits into the pipe, and is read before the next one.
            let mut piece = [0; PIPE_BUF];
            let length = reader.read(&mut piece).expect("it was written to");
            assert!(piece[..length].ends_with(b"\n"), "half a line was written");
            text.extend_from_slice(&piece[..length]);
        }
        let text = String::from_utf8(text).expect("it is text");
        let (told, numbers): (Vec<_>, Vec<_>) = text.lines().partition(|it| it.contains("lost"));
        assert_eq!(told, ["2 lines are lost: they were too many to keep"]);
        assert!(
            numbers
                .iter()
                .map(|it| it.parse::<usize>())
                .eq((0..kept).map(Ok))
        );
    }
}
