//! How this demo prints a line. (Each demo has a copy of this file, so that each stands alone.)
//!
//! `println!` panics when the reader of a pipe has left (`| head -1`) or when the disk is full.
//! `say!` returns the error instead. [`exit_code`] then decides: when the reader has left, the
//! program ends quietly; any other error is printed.

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

/// Nobody reads our output any more. The program should stop, but this is no error to report.
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

/// Turns the result of `run` into the exit code. An error is printed on stderr, and the code is 1.
pub fn exit_code(result: anyhow::Result<u8>) -> u8 {
    match result {
        Ok(code) => code,
        Err(error) if error.is::<ReaderLeft>() => 0,
        Err(error) => {
            report_error(format_args!("{error:#}"));
            1
        }
    }
}

/// Prints one line on stderr, under the demo's name. (`eprintln!` would panic when stderr is closed
/// or full.)
pub fn report_error(message: fmt::Arguments) {
    // In one single write: in two, the lines of two processes could mix.
    let line = format!("{}: {message}\n", env!("CARGO_PKG_NAME"));
    let _ = io::stderr().write_all(line.as_bytes());
}
