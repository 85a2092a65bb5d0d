//! Run a command, wait for it, report its exit code.
//!
//! Mirrors Python's `r = subprocess.call(["nslookup", "www.python.org"])`. Run it with `cargo run
//! -p subprocess-demo`, or with a command of your own: `cargo run -p subprocess-demo -- call ls
//! -l`.
//!
//! What to notice: the child writes to our stdout itself; we never see its output. Its exit code
//! becomes ours, as in a shell: 127 for a program that does not exist, 126 for one that may not be
//! run, 128 + N for one killed by signal N. Ctrl-C does not end us; the child decides what
//! it does then. Run `call python3` and press Ctrl-C: Python goes on, so we go on waiting for it.

use std::{
    ffi::{OsStr, OsString},
    io::{self, ErrorKind, Write},
    path::Path,
    process::Command,
};

use anyhow::Context;

use crate::{
    ending,
    output::{report_error, say},
};

const NOT_FOUND: u8 = 127;
const CANNOT_RUN: u8 = 126;

/// What the system says of a file that is neither a program nor a script.
const NO_PROGRAM: i32 = if cfg!(windows) { 193 } else { 8 };

/// Runs `command`, or the notes' own one if it is empty.
pub fn run(command: &[OsString]) -> anyhow::Result<u8> {
    let notes = ["nslookup".into(), "www.python.org".into()];
    let command = if command.is_empty() { &notes } else { command };

    // Quoted where a shell needs quotes, so that the line can be pasted into one.
    let words: Vec<_> = command.iter().map(|word| word.to_string_lossy()).collect();
    say!("$ {}", shell_words::join(&words))?;
    // The child writes to the same stdout. A line that is still in our buffer would come after the
    // child's output. Rust's buffer keeps no whole line today, but does not promise it; those of
    // Python and C keep lines when stdout is a pipe.
    io::stdout().flush().context("cannot write to stdout")?;
    #[cfg(unix)]
    leave_ctrl_c_to_the_child().context("cannot handle Ctrl-C")?;

    let (program, arguments) = (&command[0], &command[1..]);
    let status = match Command::new(program).args(arguments).status() {
        Ok(status) => status,
        Err(error) => return why_not(program, error),
    };
    match status.code() {
        Some(code) => say!("Exit code: {code}")?,
        // "signal: 9 (SIGKILL)"
        None => say!("Killed by {status}")?,
    }
    Ok(ending::shell_code(status))
}

/// Sets handlers for Ctrl-C and Ctrl-\\ that do nothing: the child decides what these do.
///
/// A terminal sends their signals, SIGINT and SIGQUIT, to the parent as well. If the parent died of
/// one, the exit code would be lost; and a child that handles the signal would go on, and read from
/// the terminal at the same time as the shell does.
#[cfg(unix)]
fn leave_ctrl_c_to_the_child() -> nix::Result<()> {
    use nix::sys::signal::{SigHandler, Signal, signal};
    extern "C" fn do_nothing(_: nix::libc::c_int) {}

    // When a child becomes another program (exec), the system resets a signal that has a handler to
    // its default action: Ctrl-C ends the child. A signal that we ignored (SIG_IGN) would stay
    // ignored there, and Ctrl-C could not end the child.
    for ctrl in [Signal::SIGINT, Signal::SIGQUIT] {
        // SAFETY: a handler that does nothing is safe at any moment.
        let before = unsafe { signal(ctrl, SigHandler::Handler(do_nothing)) }?;
        if matches!(before, SigHandler::SigIgn) {
            // Our own parent wanted it ignored, in the child as well.
            // SAFETY: no code of ours is installed as a handler.
            unsafe { signal(ctrl, SigHandler::SigIgn) }?;
        }
    }
    Ok(())
}

/// Says why a program could not be started, and returns the exit code that a shell gives to that.
///
/// # Errors
/// When it is not the program's fault: when the system has no room for another process, say.
pub fn why_not(program: &OsStr, error: io::Error) -> anyhow::Result<u8> {
    let path = Path::new(program);
    // A name without a slash is looked for in the folders of PATH. (An empty PATH is this folder.)
    let bytes = program.as_encoded_bytes().iter();
    let is_path = bytes.copied().map(char::from).any(std::path::is_separator);
    let is_there = is_path && path.exists();
    if program.is_empty() || (error.kind() == ErrorKind::NotFound && !is_there) {
        report_error(format_args!(
            "program {program:?} not found: install it, or try another: \
             cargo run -p subprocess-demo -- call cargo --version"
        ));
        return Ok(NOT_FOUND);
    }
    let reason = match error.kind() {
        _ if is_there && path.is_dir() => "it is a directory".to_owned(),
        ErrorKind::NotFound => {
            "it is there, but what should run it is not: see the #! in its first line".to_owned()
        }
        ErrorKind::PermissionDenied => {
            format!("{error}: is it executable, and are you allowed to run it?")
        }
        // A path through a file that is no folder.
        ErrorKind::NotADirectory => error.to_string(),
        _ if error.raw_os_error() == Some(NO_PROGRAM) => {
            // A shell would run it itself, as a script of its own. Python's `subprocess` does not.
            format!("{error}: a script's first line must name what runs it, as in #!/bin/sh")
        }
        _ => return Err(error).with_context(|| format!("cannot start {program:?}")),
    };
    report_error(format_args!("program {program:?} cannot be run: {reason}"));
    Ok(CANNOT_RUN)
}
