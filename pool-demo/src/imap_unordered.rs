//! Long and short tasks: results as they come, and when large chunks are slower.
//!
//! Mirrors Python's `pool.map(f, tasks, chunksize)` and `pool.imap_unordered(f, tasks, chunksize)`.
//! Run it with `cargo run -p pool-demo -- imap-unordered`.
//!
//! What to notice: `map` returns when it has all results. `imap_unordered` gives the results of
//! each chunk as soon as the chunk is done, so they are not in the order of the tasks. The long
//! tasks are the first three, so all of them are in one chunk. One worker runs them one after the
//! other, while the other workers have nothing left to do. In chunks of one, each long task has a
//! worker of its own. For many short tasks of the same length, large chunks are faster: see map.rs.

use std::{
    fmt, thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::{
    backend::Backend,
    output::say,
    task::{Attempt, Task},
    timeline::{self, Bar},
};

#[derive(Args)]
pub struct Options {
    /// How many workers the pool has.
    #[arg(long, default_value_t = 4, allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1000))]
    workers: u16,

    /// How many tasks make a large chunk.
    #[arg(long, default_value_t = 3, allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1000))]
    chunk: u16,
}

const TASKS: u32 = 12;
const LONG_TASKS: u32 = 3;
const LONG: Duration = Duration::from_millis(100);
const SHORT: Duration = Duration::from_millis(10);

pub fn run(options: &Options) -> anyhow::Result<u8> {
    let mut pool = Backend::Process.pool(options.workers.into())?;
    let (workers, long, short) = (options.workers, LONG.as_millis(), SHORT.as_millis());
    say!("{TASKS} tasks, {workers} workers.")?;
    say!("The first {LONG_TASKS} tasks take {long} ms each, the others {short} ms.")?;
    let tasks = || (0..TASKS).map(UnevenTask).collect();
    // A first run, which is not measured: what a worker does for the first time takes longer.
    pool.map(tasks(), Some(1))?;

    let chunk = options.chunk.into();
    let start = Instant::now();
    pool.map(tasks(), Some(chunk))?;
    let came = seconds_since(start);
    say!("map in chunks of {chunk}: all results after {came:.2} s.")?;

    for chunk in [chunk, 1] {
        let start = Instant::now();
        let mut results = pool.imap_unordered(tasks(), chunk)?;
        let first_result = results.next().context("there are tasks")?;
        let mut bars = vec![first_result?];
        let first = seconds_since(start);
        for result in results {
            bars.push(result?);
        }
        let last = seconds_since(start);
        say!("imap_unordered in chunks of {chunk}: results after {first:.2} to {last:.2} s.")?;
        let order: Vec<_> = bars.iter().map(|bar| bar.task.to_string()).collect();
        say!("They came in this order: {}", order.join(" "))?;
        timeline::draw(&bars)?;
    }
    pool.close();
    pool.join()?;
    Ok(0)
}

fn seconds_since(start: Instant) -> f64 {
    start.elapsed().as_secs_f64()
}

/// A task with its number. The first [`LONG_TASKS`] tasks are long, the others short.
#[derive(Serialize, Deserialize)]
pub struct UnevenTask(pub u32);

impl UnevenTask {
    fn duration(&self) -> Duration {
        if self.0 < LONG_TASKS { LONG } else { SHORT }
    }
}

impl fmt::Display for UnevenTask {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "task {}", self.0)
    }
}

impl Task for UnevenTask {
    const NAME: &'static str = "uneven_task";
    type Output = Bar;

    fn run(&self, attempt: Attempt) -> anyhow::Result<Bar> {
        let work = || thread::sleep(self.duration());
        Ok(Bar::of(self.0, attempt.worker, work))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_three_tasks_are_long() {
        let long = (0..TASKS).filter(|&n| UnevenTask(n).duration() == LONG);
        assert_eq!(Vec::from_iter(long), [0, 1, 2]);
    }
}
