//! Run a command, wait for it, report its exit code.
//!
//! Mirrors Python's `r = subprocess.call(["nslookup", "www.python.org"])`. Run it with `cargo run
//! -p subprocess-demo`, or with a command of your own: `cargo run -p subprocess-demo -- call ls
//! -l`.
//!
//! What to notice: the child writes to our stdout itself; we never see its output. Its exit code
//! becomes ours. The other exit codes are those of a shell: 127 for a program that does not exist,
//! 126 for a program that cannot be run, and 128 + N if signal N killed the child. Ctrl-C does not
//! end us: the child decides whether it ends. Run `call python3` and press Ctrl-C: Python goes on,
//! so we go on waiting for it.

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

/// The system's error number for a file that is neither a program nor a script.
const NO_PROGRAM: i32 = if cfg!(windows) { 193 } else { 8 };

/// Runs `command`. If it is empty, runs the program of the study notes.
pub fn run(command: &[OsString]) -> anyhow::Result<u8> {
    let notes = ["nslookup".into(), "www.python.org".into()];
    let command = if command.is_empty() { &notes } else { command };

    // With quotes where a shell needs them, so that the line can be pasted into a shell.
    let words: Vec<_> = command.iter().map(|word| word.to_string_lossy()).collect();
    say!("$ {}", shell_words::join(&words))?;
    // The child writes to the same stdout. A line that is still in our buffer would come after the
    // child's output. Today Rust's buffer holds no whole line back, but Rust does not promise that.
    // The buffers of Python and C hold lines back when stdout is a pipe.
    io::stdout().flush().context("cannot write to stdout")?;
    #[cfg(unix)]
    leave_ctrl_c_to_the_child().context("cannot handle Ctrl-C")?;

    let (program, arguments) = (&command[0], &command[1..]);
    let mut child = match Command::new(program).args(arguments).spawn() {
        Ok(child) => child,
        Err(error) => return why_not(program, error),
    };
    let status = child.wait().context("cannot wait for the child")?;
    match status.code() {
        Some(code) => say!("Exit code: {code}")?,
        // Here `status` is printed as "signal: 9 (SIGKILL)".
        None => say!("Killed by {status}")?,
    }
    Ok(ending::shell_code(status))
}

/// Sets a handler that does nothing for SIGINT (Ctrl-C) and for SIGQUIT (`Ctrl-\`).
///
/// A terminal sends these signals to the child and to us. The child decides whether it ends. If we
/// ended before the child, its exit code would be lost. Also, a child that goes on would then read
/// from the terminal at the same time as the shell. When the handler returns, our wait for the
/// child goes on.
#[cfg(unix)]
fn leave_ctrl_c_to_the_child() -> nix::Result<()> {
    use nix::sys::signal::{SigHandler, Signal, signal};
    extern "C" fn do_nothing(_: nix::libc::c_int) {}

    // We set a handler, and do not ignore the signals (SIG_IGN). When the child becomes another
    // program (exec), the system resets a signal that has a handler to its default action, so
    // Ctrl-C can end the child. A signal that we ignored would stay ignored in the child, and
    // Ctrl-C could not end it.
    for ctrl in [Signal::SIGINT, Signal::SIGQUIT] {
        // SAFETY: a handler that does nothing is safe at any moment.
        let before = unsafe { signal(ctrl, SigHandler::Handler(do_nothing)) }?;
        if matches!(before, SigHandler::SigIgn) {
            // The signal was ignored when we were started. So it stays ignored, in the child too.
            // SAFETY: no code of ours is installed as a handler.
            unsafe { signal(ctrl, SigHandler::SigIgn) }?;
        }
    }
    Ok(())
}

/// Prints why a program could not be started, and returns the exit code that a shell would return.
///
/// # Errors
/// When the program is not the reason, for example when the system refuses another process.
pub fn why_not(program: &OsStr, error: io::Error) -> anyhow::Result<u8> {
    let path = Path::new(program);
    // A name without a slash is looked for in the folders of PATH only.
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
        ErrorKind::NotFound => "the file is there, but the program that should run it is not: \
                                see the #! in its first line"
            .to_owned(),
        ErrorKind::PermissionDenied => {
            format!("{error}: is it executable, and are you allowed to run it?")
        }
        // The path goes through a file as if it were a folder: `Cargo.toml/x`.
        ErrorKind::NotADirectory => error.to_string(),
        _ if error.raw_os_error() == Some(NO_PROGRAM) => {
            // A shell would run such a file as a shell script. Python's `subprocess` does not.
            format!("{error}: a script's first line must name what runs it, as in #!/bin/sh")
        }
        _ => return Err(error).with_context(|| format!("cannot start {program:?}")),
    };
    report_error(format_args!("program {program:?} cannot be run: {reason}"));
    Ok(CANNOT_RUN)
}
