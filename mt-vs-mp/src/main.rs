//! # mt-vs-mp: a laboratory for threads and processes
//!
//! The notes weigh threads against processes: which are cheaper, which are faster, which survive a
//! crash. Here every claim is tried on the machine at hand, and gets a verdict.
//!
//! ```text
//! cargo run -p mt-vs-mp --release                         all experiments, the ledger at the end
//! cargo run -p mt-vs-mp --release -- list                 what there is to try
//! cargo run -p mt-vs-mp --release -- run create crash     some of it
//! ```
//!
//! In reading order: [`experiments`] is what is tried, one file each; [`lab`] is how anything is
//! measured; [`report`] is what comes of it, on the terminal and in files.

use std::process::ExitCode;

use clap::Parser;

mod cli;
mod experiments;
mod lab;
mod master_worker;
mod output;
mod report;
mod run;
mod serve;
mod work;

fn main() -> ExitCode {
    // First of all: the fresh process of a measurement is this program in another role.
    let role = lab::role::play_role(experiments::roles());
    ExitCode::from(output::exit_code(
        role.unwrap_or_else(|| cli::Cli::parse().run()),
    ))
}
