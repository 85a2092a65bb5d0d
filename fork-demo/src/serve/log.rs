//! A log that cannot stop the server.
//!
//! A write to a pipe waits while the pipe is full, and so does one to a terminal after Ctrl-S. The
//! parent must not wait for whoever reads its log. So it keeps its lines until `poll` says that
//! there is room for them. When too many are kept, new ones are dropped, and counted. A reader that
//! leaves (`serve | head -1`, to learn the address) ends the log, but not the server.

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

/// How many bytes are kept.
const LIMIT: usize = 256 * 1024;

pub struct Log {
    out: OwnedFd,
    /// Whole lines that are not yet written.
    kept: Vec<u8>,
    /// How many lines came after those, and were not kept.
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

    /// Writes a few lines: no more than a pipe takes at once when `poll` calls it writable.
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

/// What `poll` waits for when there is something to be written.
impl AsFd for Log {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.out.as_fd()
    }
}

/// The terminal, if stdout is one, opened anew so that a write never waits.
///
/// It is writable for `poll` when it has room for one byte, and a line is longer. (A pipe promises
/// room for `PIPE_BUF` bytes.) To make stdout itself non-blocking would do so for everybody who has
/// it open, the shell too.
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
        let mut kept = 0;
        while log.kept.len() <= LIMIT {
            log.line(format_args!("{kept:099}"));
            kept += 1;
        }
        log.line(format_args!("one too many"));
        log.line(format_args!("two too many"));
        let mut text = Vec::new();
        while !log.is_empty() {
            log.write();
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
                .map(|it| it.parse::<u32>())
                .eq((0..kept).map(Ok))
        );
    }
}
