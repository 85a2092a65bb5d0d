//! # fork-demo: one process becomes two
//!
//! `fork` is called once and returns twice, in two processes. Everything else that Python's
//! `multiprocessing` offers on Unix was once built on this call, so it comes first.
//!
//! ```text
//! cargo run -p fork-demo        the notes' own program: fork.rs
//! ```

use std::process::ExitCode;

use clap::Parser;

#[cfg(unix)]
mod child;
#[cfg(unix)]
mod fork;
#[cfg_attr(not(unix), allow(dead_code, unused_imports, unused_macros))]
mod output;

/// One process becomes two: fork, and what a parent owes its children.
#[derive(Parser)]
#[command(version)]
struct Cli {}

fn main() -> ExitCode {
    let cli = Cli::parse();
    ExitCode::from(output::exit_code(run(cli)))
}

#[cfg(unix)]
fn run(_: Cli) -> anyhow::Result<u8> {
    fork::run()
}

#[cfg(not(unix))]
fn run(_: Cli) -> anyhow::Result<u8> {
    anyhow::bail!(
        "fork exists on Unix only; see the same idea on every system with: cargo run -p process-demo"
    )
}
