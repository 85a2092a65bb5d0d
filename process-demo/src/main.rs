//! # process-demo: a function in a process of its own
//!
//! Python's `multiprocessing.Process` takes a function and its arguments, and runs them in a new
//! process. [`process`] is the same idea in Rust, small enough to read; the lessons use it.
//!
//! ```text
//! cargo run -p process-demo        the notes' own program: start.rs
//! ```

use std::process::ExitCode;

use clap::Parser;

mod output;
mod process;
mod start;

use process::Target;

/// A function in a process of its own: start, join, and how a child ends.
#[derive(Parser)]
#[command(version)]
struct Cli {}

/// Every function that may run in a child, under the name that travels to it.
const TARGETS: &[(&str, Target)] = &[("run_child", start::run_child)];

fn main() -> ExitCode {
    // First of all: in a child, this runs the target and is the whole program. Python's spawn needs
    // `if __name__ == "__main__":` for the same reason: or else a child would start children.
    if let Some(result) = process::run_target(TARGETS) {
        return ExitCode::from(output::exit_code(result));
    }
    Cli::parse();
    ExitCode::from(output::exit_code(start::run()))
}
