//! # subprocess-demo: another program as a child
//!
//! In the demos before this one, a child runs our own code. Here a child can be any program. It is
//! connected to us by its arguments, its standard streams and its exit code. In most lessons the
//! streams are pipes. So the lessons are about pipes too: which process holds which end, when the
//! end of file comes, and why the order of two lines matters.
//!
//! ```text
//! cargo run -p subprocess-demo                          the program of the study notes: call.rs
//! cargo run -p subprocess-demo -- call COMMAND...       the same with any command
//! cargo run -p subprocess-demo -- communicate           much text in, much text back
//! cargo run -p subprocess-demo -- pipeline              three programs in a row
//! cargo run -p subprocess-demo -- merge                 stdout and stderr as one stream
//! cargo run -p subprocess-demo -- timeout               a child that hangs, and its children
//! cargo run -p subprocess-demo -- deadlock              the classic hang, and a watchdog
//! cargo run -p subprocess-demo -- inherit               which descriptors a child gets (Unix)
//! cargo run -p subprocess-demo -- shell                 a user's text in a shell's command (Unix)
//! ```
//!
//! Each lesson has a file of its name. `communicate` has two files more: [`one_thread`], and
//! [`own_command`] for a command of your own. `merge` has one file more: [`one_pipe`]. The other
//! files serve the lessons. [`role`] starts this program again as its own child, so that the
//! children exist on every machine. [`ending`] says how a child ended. [`family`] watches a child
//! together with its descendants, and ends them. [`capacity`] says how much a pipe holds.
//! [`output`] prints lines and errors.

use std::{ffi::OsString, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};

mod call;
mod capacity;
mod communicate;
mod deadlock;
mod ending;
mod family;
#[cfg(unix)]
mod inherit;
mod merge;
#[cfg(unix)]
mod one_pipe;
#[cfg(unix)]
mod one_thread;
mod output;
mod own_command;
mod pipeline;
mod role;
#[cfg(unix)]
mod shell;
mod timeout;

/// Another program as a child: its output, its input, its exit code.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    lesson: Option<Lesson>,
}

#[derive(Subcommand)]
enum Lesson {
    /// Run a command, wait for it, and report its exit code (nslookup if no command is given).
    Call {
        /// The program and its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
    /// Send a child more text than a pipe holds, and get as much back, without deadlock.
    Communicate(communicate::Options),
    /// Join three programs by pipes: the last one ends first, and that ends the others.
    Pipeline,
    /// Read a child's stdout and stderr as one stream, in the order written.
    Merge,
    /// Ask a child to end when its time is up; if it does not, kill it and its own children.
    Timeout {
        /// The time that each child has, in seconds.
        #[arg(long, default_value = "1", allow_negative_numbers = true, value_parser = seconds)]
        limit: Duration,
    },
    /// See which descriptors a child gets, and what happens if one is the writing end of a pipe.
    #[cfg(unix)]
    Inherit,
    /// See why a user's text must not become part of a shell's command.
    #[cfg(unix)]
    Shell,
    /// See a parent and its child wait for each other for ever, and the order that works.
    Deadlock,
}

fn main() -> ExitCode {
    ExitCode::from(output::exit_code(run()))
}

fn run() -> anyhow::Result<u8> {
    #[cfg(unix)]
    reset_sigchld()?;
    // Before the command line is parsed: a child of ours only runs the function of its role.
    let roles = [
        &communicate::ROLES[..],
        &pipeline::ROLES,
        &merge::ROLES,
        &timeout::ROLES,
        &deadlock::ROLES,
        #[cfg(unix)]
        &inherit::ROLES,
        #[cfg(unix)]
        &one_pipe::ROLES,
    ];
    if let Some(result) = role::play(&roles.concat()) {
        return result;
    }
    match Cli::parse().lesson {
        None => call::run(&[]),
        Some(Lesson::Call { command }) => call::run(&command),
        Some(Lesson::Communicate(options)) => communicate::run(&options),
        Some(Lesson::Pipeline) => pipeline::run(),
        Some(Lesson::Merge) => merge::run(),
        Some(Lesson::Timeout { limit }) => timeout::run(limit),
        #[cfg(unix)]
        Some(Lesson::Inherit) => inherit::run(),
        #[cfg(unix)]
        Some(Lesson::Shell) => shell::run(),
        Some(Lesson::Deadlock) => deadlock::run(),
    }
}

/// Makes sure that we can wait for our children. The program that starts us may ignore SIGCHLD, and
/// then we ignore it too. In that case the system reaps our children itself, and we cannot learn
/// how they ended.
#[cfg(unix)]
fn reset_sigchld() -> anyhow::Result<()> {
    use anyhow::Context;
    use nix::sys::signal::{SigHandler, Signal, signal};
    // SAFETY: no code of ours is installed as a handler.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }.context("cannot reset SIGCHLD")?;
    Ok(())
}

/// Reads a number of seconds on the command line.
fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) if (0.0..=3600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => {
            Err("a number of seconds from 0 to 3600 is allowed, with a fraction if need be".into())
        }
    }
}
