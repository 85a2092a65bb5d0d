//! How a line of this demo gets out. (Each demo has this file, so that each stands alone.)
//!
//! `println!` panics when the reader of a pipe has left (`| head -1`) or the disk is full. `say!`
//! returns the error instead, and [`exit_code`] makes a quiet end of the first and a clear message
//! of the second.

use std::{
    fmt,
    io::{self, Write},
};

use anyhow::Context;

/// Prints one whole line on stdout, like `println!`, but returns an error instead of panicking.
macro_rules! say {
    ($($line:tt)*) => { $crate::output::write_line(format_args!($($line)*)) };
}
pub(crate) use say;

/// Nobody reads our output any more: a reason to stop, but none to complain.
#[derive(Debug)]
struct ReaderLeft;

impl fmt::Display for ReaderLeft {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "nobody reads stdout any more")
    }
}

pub fn write_line(line: fmt::Arguments) -> anyhow::Result<()> {
    match writeln!(io::stdout(), "{line}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            Err(anyhow::Error::msg(ReaderLeft))
        }
        result => result.context("cannot write to stdout"),
    }
}

/// The exit code that a program's result deserves: its own, or 1 with the error on stderr.
pub fn exit_code(result: anyhow::Result<u8>) -> u8 {
    match result {
        Ok(code) => code,
        Err(error) if error.is::<ReaderLeft>() => 0,
        Err(error) => {
            complain(format_args!("{error:#}"));
            1
        }
    }
}

/// Prints one line on stderr, under the demo's name. (`eprintln!` would panic when stderr is closed
/// or full.)
pub fn complain(message: fmt::Arguments) {
    // In a single write: or else the lines of two processes could mix.
    let line = format!("{}: {message}\n", env!("CARGO_PKG_NAME"));
    let _ = io::stderr().write_all(line.as_bytes());
}
