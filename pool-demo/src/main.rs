//! # pool-demo: many tasks, few workers
//!
//! A pool starts its workers once and gives them one task after the other. The notes' program gives
//! five tasks to a pool of four processes, as Python's `multiprocessing.Pool` does.
//!
//! ```text
//! cargo run -p pool-demo                         the notes' own program: apply_async.rs
//! cargo run -p pool-demo -- --backend thread     the same with threads as workers
//! cargo run -p pool-demo -- errors               what can go wrong with a task: errors.rs
//! cargo run -p pool-demo -- map                  many small tasks, one by one and in chunks: map.rs
//! cargo run -p pool-demo -- imap-unordered       long and short tasks: imap_unordered.rs
//! cargo run -p pool-demo -- crash                a worker dies in the middle of a task: crash.rs
//! cargo run -p pool-demo -- remote               workers on other machines: remote.rs
//! ```
//!
//! Read [`apply_async`] first: it is the notes' program. [`task`] says what a task is, and [`pool`]
//! what every pool can do. [`process_pool`] and [`thread_pool`] are the two kinds of pool. This is
//! the way of one task through a pool of processes, file by file:
//!
//! ```text
//!  in the master:
//!   1  apply_async.rs      the lesson makes a task and calls `apply_async`
//!   2  pool.rs             `apply_async` puts a job into the queue: "run this task"
//!   3  process_pool.rs     the thread of the first free worker takes the job
//!   4  worker_process.rs   the thread sends the task to the worker's stdin
//!  in the worker process:
//!   5  worker.rs           the worker receives the task from its stdin
//!   6  task.rs             `task::run` calls the task, and turns a panic into an error
//!   7  apply_async.rs      `LongTimeTask::run` does the work
//!   8  worker.rs           the worker sends the outcome to its stdout
//!  in the master again:
//!   9  worker_process.rs   the same thread as in 4 receives the outcome
//!  10  pool.rs             the job passes the outcome on, and `get` returns it to the lesson
//! ```
//!
//! Steps 4, 5, 8 and 9 use a [`connection`]. If the worker dies, the connection ends. Then
//! [`worker_process`] starts another worker and sends the task once more.

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
    /// What can go wrong with a task, and what `get` then returns.
    Errors(errors::Options),
    /// Many small tasks: what a message costs, and what chunks save.
    Map(map::Options),
    /// Long and short tasks: results as they come, and when large chunks are slower.
    ImapUnordered(imap_unordered::Options),
    /// A worker is killed in the middle of a task, and nothing is lost.
    Crash(crash::Options),
    /// Workers on other machines, started by ssh or any other command.
    Remote(remote::Options),
}

/// Every type of task that a worker process can run, with its name.
const ROLES: &[worker::Role] = &[
    worker::role::<apply_async::LongTimeTask>(),
    worker::role::<errors::Trouble>(),
    worker::role::<map::Echo>(),
    worker::role::<imap_unordered::UnevenTask>(),
    worker::role::<crash::RiskyTask>(),
    worker::role::<remote::Primes>(),
];

fn main() -> ExitCode {
    // If we inherited SIGCHLD as ignored, the system would reap our children itself, and we could
    // not learn how they ended.
    // SAFETY: the default action runs no code of ours.
    #[cfg(unix)]
    let _ = unsafe { signal(SIGCHLD, SigHandler::SigDfl) };
    // In a worker process, this is all that the program does.
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
