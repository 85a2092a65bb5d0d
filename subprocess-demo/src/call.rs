//! Run a command, wait for it, report its exit code.
//!
//! Mirrors Python's `r = subprocess.call(["nslookup", "www.python.org"])`. Run it with `cargo run
//! -p subprocess-demo`, or with a command of your own: `cargo run -p subprocess-demo -- call ls
//! -l`.
//!
//! What to notice: the child writes to our stdout itself; we never see its output. And its exit
//! code becomes ours, as in a shell: 127 for a program that does not exist, 126 for one that may
//! not be run, 128 + N for one killed by signal N.

use std::{
    ffi::OsString,
    io::{self, Write},
    process::{Command, ExitStatus},
};

use anyhow::Context;

use crate::output::{complain, say};

const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;

/// Runs `command`, or the notes' own one if it is empty.
pub fn run(command: &[OsString]) -> anyhow::Result<u8> {
    let notes = ["nslookup".into(), "www.python.org".into()];
    let command = if command.is_empty() { &notes } else { command };

    let words: Vec<_> = command.iter().map(|word| word.to_string_lossy()).collect();
    say!("$ {}", words.join(" "))?;
    // The child writes to the same stdout, past our buffer: without the flush its line could come
    // first.
    io::stdout().flush().context("cannot write to stdout")?;

    let program = &words[0];
    let status = match Command::new(&command[0]).args(&command[1..]).status() {
        Ok(status) => status,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            complain(format_args!(
                "program {program:?} not found: install it, or try another: \
                 cargo run -p subprocess-demo -- call cargo --version"
            ));
            return Ok(NOT_FOUND);
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            complain(format_args!("program {program:?} cannot be run: {error}"));
            return Ok(NOT_EXECUTABLE);
        }
        Err(error) => return Err(error).with_context(|| format!("cannot start {program:?}")),
    };
    report(status)
}

/// Says how the child ended, and returns the exit code that a shell would give to that.
fn report(status: ExitStatus) -> anyhow::Result<u8> {
    if let Some(code) = status.code() {
        say!("Exit code: {code}")?;
        // Windows knows codes above 255; ours says at least that it was not 0.
        return Ok(u8::try_from(code).unwrap_or(1));
    }
    // "signal: 9 (SIGKILL)"
    say!("Killed by {status}")?;
    Ok(128 + signal(status))
}

/// The number of the signal that killed the child; 0 if none did.
fn signal(status: ExitStatus) -> u8 {
    #[cfg(unix)]
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    #[cfg(not(unix))]
    let signal = None;
    signal.map_or(0, |signal: i32| u8::try_from(signal).unwrap_or(0))
}
