//! Five tasks for four workers.
//!
//! Mirrors Python's `p = Pool(4)`, `p.apply_async(long_time_task, args=(i,))`, `p.close()`,
//! `p.join()`. Run it with `cargo run -p pool-demo`.
//!
//! What to notice: tasks 0 to 3 start at once, one in each worker. Task 4 starts when the first of
//! them has ended, and in the same worker: both tasks print the same process id, and share a row of
//! the timeline. The run takes as long as the busiest worker. That is less than the sum of all
//! tasks.

use std::{fmt, process, thread, time::Duration};

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::{
    backend::Backend,
    output::{report_error, say},
    pool::AsyncResult,
    task::{Attempt, Task},
    timeline::{self, Bar},
};

#[derive(Args)]
pub struct Options {
    /// How many workers the pool has.
    #[arg(long, default_value_t = 4, allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1000))]
    workers: u16,

    /// How many tasks the pool gets.
    #[arg(long, default_value_t = 5, allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    tasks: u32,

    /// The longest time that a task may take, in seconds.
    #[arg(long, default_value = "3", allow_negative_numbers = true, value_parser = seconds)]
    max_seconds: Duration,

    /// Runs with the same seed have tasks of the same length.
    #[arg(long, allow_negative_numbers = true)]
    seed: Option<u64>,

    /// The kind of workers.
    #[arg(long, value_enum, default_value_t = Backend::Process)]
    backend: Backend,
}

pub fn run(options: &Options) -> anyhow::Result<u8> {
    say!("Parent process {}.", process::id())?;
    let mut pool = options.backend.pool(options.workers.into())?;

    let seed = options.seed;
    let mut random = seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
    let mut results = Vec::new();
    for number in 0..options.tasks {
        let duration = options.max_seconds.mul_f64(random.f64());
        // Does not wait for the task: it may return before the task has begun.
        results.push(pool.apply_async(LongTimeTask { number, duration })?);
    }

    say!("Waiting for all subprocesses done...")?;
    // No task will follow, so a worker ends when the queue is empty.
    pool.close();
    pool.join()?;
    say!("All subprocesses done.")?;

    let (bars, failed) = get_all(results);
    timeline::draw(&bars)?;
    Ok(if failed == 0 { 0 } else { 1 })
}

/// Waits for all results. Returns the outputs and the number of tasks that failed, and prints the
/// error of each of these.
pub fn get_all<T: Task>(results: Vec<AsyncResult<T>>) -> (Vec<T::Output>, usize) {
    let (mut outputs, mut failed) = (Vec::new(), 0);
    for result in results {
        match result.get() {
            Ok(output) => outputs.push(output),
            Err(error) => {
                report_error(format_args!("{error:#}"));
                failed += 1;
            }
        }
    }
    (outputs, failed)
}

/// A task that sleeps, in the place of real work.
#[derive(Serialize, Deserialize)]
pub struct LongTimeTask {
    pub number: u32,
    pub duration: Duration,
}

impl fmt::Display for LongTimeTask {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "task {}", self.number)
    }
}

impl Task for LongTimeTask {
    const NAME: &'static str = "long_time_task";
    type Output = Bar;

    fn run(&self, attempt: Attempt) -> anyhow::Result<Bar> {
        let (number, worker) = (self.number, attempt.worker);
        (attempt.print)(&format!("Run task {number} ({worker})..."))?;
        let bar = Bar::of(number, worker, || thread::sleep(self.duration));
        let seconds = bar.took.as_secs_f64();
        (attempt.print)(&format!("Task {number} runs {seconds:.2} seconds."))?;
        Ok(bar)
    }
}

/// Reads an option's number of seconds.
pub fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) if (0.0..=3600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => {
            Err("a number of seconds from 0 to 3600 is allowed, with a fraction if need be".into())
        }
    }
}
