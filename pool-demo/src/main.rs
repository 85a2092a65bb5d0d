//! # pool-demo: many tasks, few workers
//!
//! A pool starts its workers once and hands them one task after the other. The notes' program gives
//! five tasks to a pool of four processes, as Python's `multiprocessing.Pool` does.
//!
//! ```text
//! cargo run -p pool-demo                         the notes' own program: apply_async.rs
//! cargo run -p pool-demo -- --backend thread     the same with threads for workers
//! ```
//!
//! In reading order: [`apply_async`] is the lesson, [`pool`] what it needs of a pool,
//! [`process_pool`] and [`thread_pool`] the two kinds of pool, [`worker`] a worker process seen
//! from both sides.

use std::process::ExitCode;

use clap::Parser;

mod apply_async;
mod connection;
mod output;
mod pool;
mod process_pool;
mod task;
mod thread_pool;
mod worker;

/// Many tasks, few workers: a pool of processes, and the same pool of threads.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    options: apply_async::Options,
}

fn main() -> ExitCode {
    // First of all: in a worker process, this is the whole program.
    if let Some(result) = worker::serve_if_worker() {
        return ExitCode::from(output::exit_code(result));
    }
    let cli = Cli::parse();
    ExitCode::from(output::exit_code(apply_async::run(&cli.options)))
}
