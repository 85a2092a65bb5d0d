//! # mt-vs-mp: the same work by threads and by processes
//!
//! The notes weigh threads against processes: which is faster, which survives a crash. Here both
//! are tried, on the machine at hand.
//!
//! ```text
//! cargo run -p mt-vs-mp --release
//! ```
//!
//! In reading order: [`job`] is the work, [`master_worker`] the three ways to do it, [`throughput`]
//! and [`crash`] the experiments. [`worker`] is a worker process, and [`lab`] a fresh process for
//! an experiment that will not survive.

use std::{process::ExitCode, thread};

use clap::Parser;

mod crash;
mod job;
mod lab;
mod master_worker;
mod output;
mod throughput;
mod worker;

/// The same work by threads and by processes: measured, crashed, compared.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// How many workers share the work [default: as many as this machine runs at once].
    #[arg(long, allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: Option<u16>,
}

fn main() -> ExitCode {
    // First of all: a worker, or an experiment's fresh process, is this program in another role.
    let role = worker::serve_if_worker().or_else(|| lab::run_if_trial(&[crash::TRIAL]));
    ExitCode::from(output::exit_code(
        role.unwrap_or_else(|| run(&Cli::parse())),
    ))
}

fn run(cli: &Cli) -> anyhow::Result<u8> {
    let workers = match cli.workers {
        Some(workers) => workers.into(),
        None => thread::available_parallelism().map_or(1, usize::from),
    };
    throughput::run(workers)?;
    crash::run()?;
    Ok(0)
}
