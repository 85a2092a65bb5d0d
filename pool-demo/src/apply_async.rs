//! Five tasks for four workers.
//!
//! Mirrors Python's `p = Pool(4)`, `p.apply_async(long_time_task, args=(i,))`, `p.close()`,
//! `p.join()`. Run it with `cargo run -p pool-demo`.
//!
//! What to notice: tasks 0 to 3 start at once, one in each worker. Task 4 starts when the first of
//! them has ended, in that one's worker: the ids tell. And all of it takes as long as the busiest
//! worker, not as long as all tasks together.

use std::{process, time::Duration};

use anyhow::anyhow;
use clap::{Args, ValueEnum};

use crate::{
    output::say, pool::Pool, process_pool::ProcessPool, task::Task, thread_pool::ThreadPool,
};

#[derive(Args)]
pub struct Options {
    /// How many workers the pool has.
    #[arg(long, default_value_t = 4, allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1000))]
    workers: u16,

    /// How many tasks it is given.
    #[arg(long, default_value_t = 5, allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    tasks: u32,

    /// The longest time that a task may take, in seconds.
    #[arg(long, default_value = "3", allow_negative_numbers = true, value_parser = seconds)]
    max_seconds: Duration,

    /// Makes the tasks as long as they were in another run with the same seed.
    #[arg(long, allow_negative_numbers = true)]
    seed: Option<u64>,

    /// What a worker is.
    #[arg(long, value_enum, default_value_t = Backend::Process)]
    backend: Backend,
}

#[derive(Clone, Copy, ValueEnum)]
enum Backend {
    Process,
    Thread,
}

pub fn run(options: &Options) -> anyhow::Result<u8> {
    say!("Parent process {}.", process::id())?;
    let workers = options.workers.into();
    let mut pool: Box<dyn Pool> = match options.backend {
        Backend::Process => Box::new(ProcessPool::new(workers)?),
        Backend::Thread => Box::new(ThreadPool::new(workers)),
    };

    let mut random = options
        .seed
        .map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
    let mut results = Vec::new();
    for number in 0..options.tasks {
        let duration = options.max_seconds.mul_f64(random.f64());
        // Asynchronous: it returns before the task has run, often before it has begun.
        results.push(pool.apply_async(Task { number, duration })?);
    }

    say!("Waiting for all subprocesses done...")?;
    // No task will follow: a worker that finds none left may go.
    pool.close();
    pool.join()?;
    say!("All subprocesses done.")?;

    let failed = results.into_iter().filter_map(|result| result.get().err());
    match failed.reduce(|first, _| first) {
        Some(first) => Err(anyhow!(first)),
        None => Ok(0),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds @ 0.0..=3600.0) => Ok(Duration::from_secs_f64(seconds)),
        _ => {
            Err("a number of seconds from 0 to 3600 is allowed, with a fraction if need be".into())
        }
    }
}
