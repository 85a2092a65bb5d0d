//! # subprocess-demo: another program as a child
//!
//! Until now a child ran our own code. Here it is any program, and what connects us are its
//! arguments, its standard streams and its exit code.
//!
//! ```text
//! cargo run -p subprocess-demo                          the notes' own program: call.rs
//! cargo run -p subprocess-demo -- call COMMAND...       the same with any command
//! ```

use std::{ffi::OsString, process::ExitCode};

use clap::{Parser, Subcommand};

mod call;
mod output;

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
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    ExitCode::from(output::exit_code(match cli.lesson {
        None => call::run(&[]),
        Some(Lesson::Call { command }) => call::run(&command),
    }))
}
