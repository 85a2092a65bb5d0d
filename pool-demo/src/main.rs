//! # pool-demo: many tasks, few workers
//!
//! A pool starts its workers once and hands them one task after the other. The notes' program gives
//! five tasks to a pool of four processes, as Python's `multiprocessing.Pool` does.
//!
//! ```text
//! cargo run -p pool-demo                         the notes' own program: apply_async.rs
//! cargo run -p pool-demo -- --backend thread     the same with threads for workers
//! cargo run -p pool-demo -- errors               what can go wrong with a task: errors.rs
//! cargo run -p pool-demo -- map                  many small tasks, alone and in chunks: map.rs
//! cargo run -p pool-demo -- imap-unordered       uneven tasks: imap_unordered.rs
//! cargo run -p pool-demo -- crash                a worker dies in the middle of a task: crash.rs
//! cargo run -p pool-demo -- remote               workers on other machines: remote.rs
//! ```
//!
//! In reading order: [`apply_async`] is the first lesson, [`task`] is what a pool is given, [`pool`]
//! what every pool can do. [`thread_pool`] and [`process_pool`] are the two kinds. One task's
//! journey through a pool of processes:
//!
//! ```text
//!  master process                                                      worker process
//!  apply_async.rs   pool.rs         process_pool.rs  worker_process.rs    worker.rs    task.rs
//!  the lesson  ──>  apply_async ──> queue ──> one ─> send ═══ stdin ════> receive ──>  run
//!  has a task       makes a job     thread for each                                     │
//!                                   worker takes it                                     │
//!  get      <─────  oneshot    <──  job ends  <────  receive <══ stdout ═ send   <──────┘
//! ```
//!
//! The double lines are [`connection`]. If the worker dies, the connection ends, and
//! [`worker_process`] starts another and sends the task once more.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
#[cfg(unix)]
use nix::sys::signal::{SigHandler, Signal::SIGCHLD, signal};

mod apply_async;
mod backend;
mod connection;
mod crash;
mod errors;
mod imap_unordered;
mod map;
mod output;
mod pool;
mod process_pool;
mod remote;
mod task;
mod thread_pool;
mod timeline;
mod worker;
mod worker_process;

/// Many tasks, few workers: a pool of processes, and the same pool of threads.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    lesson: Option<Lesson>,

    #[command(flatten)]
    options: apply_async::Options,
}

#[derive(Subcommand)]
enum Lesson {
    /// What can go wrong with a task, and what its handle then says.
    Errors(errors::Options),
    /// Many small tasks: what a message costs, and what chunks save.
    Map(map::Options),
    /// Uneven tasks: results as they come, and where large chunks lose.
    ImapUnordered(imap_unordered::Options),
    /// A worker is killed in the middle of a task, and nothing is lost.
    Crash(crash::Options),
    /// Workers on other machines, started by ssh or any other command.
    Remote(remote::Options),
}

/// Every task that a worker process may get, by its name.
const ROLES: &[worker::Role] = &[
    worker::role::<apply_async::LongTimeTask>(),
    worker::role::<errors::Trouble>(),
    worker::role::<map::Echo>(),
    worker::role::<imap_unordered::UnevenTask>(),
    worker::role::<crash::RiskyTask>(),
    worker::role::<remote::Primes>(),
];

fn main() -> ExitCode {
    // Where we inherit SIGCHLD as ignored, the system reaps our children, and we learn nothing of
    // how they ended.
    // SAFETY: the default action runs no code of ours.
    #[cfg(unix)]
    let _ = unsafe { signal(SIGCHLD, SigHandler::SigDfl) };
    // In a worker process, this is the whole program.
    if let Some(result) = worker::serve_if_worker(ROLES) {
        return ExitCode::from(output::exit_code(result));
    }
    let cli = Cli::parse();
    ExitCode::from(output::exit_code(match &cli.lesson {
        None => apply_async::run(&cli.options),
        Some(Lesson::Errors(options)) => errors::run(options),
        Some(Lesson::Map(options)) => map::run(options),
        Some(Lesson::ImapUnordered(options)) => imap_unordered::run(options),
        Some(Lesson::Crash(options)) => crash::run(options),
        Some(Lesson::Remote(options)) => remote::run(options),
    }))
}
