//! Many small tasks: what a message costs, and what chunks save.
//!
//! Mirrors Python's `pool.map(f, range(n), chunksize=1)` and `pool.map(f, range(n))`. Run it with
//! `cargo run --release -p pool-demo -- map`.
//!
//! What to notice: a chunk of one task costs a process two messages, the task and its outcome, and
//! the system must switch to the worker and back. The task itself takes almost no time beside that.
//! A larger chunk has this cost once for all its tasks. What stays is the cost of encoding and
//! decoding each task and each outcome. A thread finds its tasks in the memory that it shares with
//! the master. So larger chunks save a thread only some work for each chunk: to take the chunk, and
//! to store the list of outcomes under a lock. The results are in the order of the tasks, whichever
//! worker finishes first.

use std::{
    fmt,
    hint::black_box,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use serde::{Deserialize, Serialize};

use crate::{
    backend::Backend,
    output::{report_error, say},
    pool::{Pool, default_chunk_size},
    task::{Attempt, Task},
};

#[derive(Args)]
pub struct Options {
    /// How many workers each pool has.
    #[arg(long, default_value_t = 4, allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1000))]
    workers: u16,

    /// How many tasks each pool gets.
    #[arg(long, default_value_t = 20_000, allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=10_000_000))]
    tasks: u32,

    /// The size of the larger chunks, in tasks [default: by the rule of Python's Pool].
    #[arg(long, allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    chunk: Option<u32>,

    /// The size of a task's argument, in bytes. With 0, the argument is a number.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    bytes: u32,

    /// How many times each row of the table is measured. The table shows the median.
    #[arg(long, default_value_t = 3, allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
}

/// The most bytes that the arguments of all tasks together may have. (The results need as many
/// bytes again, and so do the messages.)
const MAX_BYTES: u64 = 512 << 20;

pub fn run(options: &Options) -> anyhow::Result<u8> {
    let (tasks, bytes) = (options.tasks, options.bytes);
    if u64::from(tasks) * u64::from(bytes) > MAX_BYTES {
        report_error(format_args!(
            "{tasks} arguments of {bytes} bytes are too many: {} MiB are allowed",
            MAX_BYTES >> 20
        ));
        return Ok(2);
    }
    let workers = usize::from(options.workers);
    let chosen = options.chunk.map_or_else(
        || default_chunk_size(tasks as usize, workers).max(1),
        |chunk| chunk as usize,
    );

    let mut processes = Backend::Process.pool(workers)?;
    let mut threads = Backend::Thread.pool(workers)?;
    let mut ways = [
        ("processes", &processes, 1, Vec::new()),
        ("processes", &processes, chosen, Vec::new()),
        ("threads", &threads, 1, Vec::new()),
        ("threads", &threads, chosen, Vec::new()),
    ];
    // If the system refuses memory, Rust aborts the program. So this first tries to reserve as much
    // as the arguments, messages and results will need.
    let memory = 4 * u64::from(tasks) * (u64::from(bytes) + 32);
    let memory = usize::try_from(memory).unwrap_or(usize::MAX);
    let reserved = black_box(Vec::<u8>::new()).try_reserve_exact(memory);
    reserved.with_context(|| format!("cannot reserve {} MiB for {tasks} tasks", memory >> 20))?;

    // By turns: if the machine becomes slower or faster meanwhile, all ways are affected alike.
    for _ in 0..options.rounds {
        for (_, pool, chunk, times) in &mut ways {
            times.push(measure(pool.as_ref(), options, *chunk)?);
        }
    }

    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["workers", "chunk", "time", "per task", "tasks per second"]);
    for (workers, _, chunk, times) in ways {
        let time = median(times).as_secs_f64();
        table.add_row([
            workers.to_owned(),
            chunk.to_string(),
            format!("{:.1} ms", time * 1e3),
            format!("{:.2} µs", time * 1e6 / f64::from(tasks.max(1))),
            format!("{:.0}", f64::from(tasks) / time),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    say!("{tasks} tasks that return their argument, by {workers} workers:")?;
    say!("{table}")?;
    let rounds = options.rounds;
    say!("All results are right, and in order. Rounds: {rounds}; the median time counts.")?;

    for pool in [&mut processes, &mut threads] {
        pool.close();
        pool.join()?;
    }
    Ok(0)
}

/// How long the pool takes for all tasks.
fn measure(pool: &dyn Pool<Echo>, options: &Options, chunk: usize) -> anyhow::Result<Duration> {
    let tasks = || (0..options.tasks).map(|number| Echo::new(number, options.bytes));
    let given = tasks().collect();
    let start = Instant::now();
    let results = pool.map(given, Some(chunk))?;
    let took = start.elapsed();
    ensure!(
        results.into_iter().eq(tasks()),
        "the results are not those of the tasks, in their order"
    );
    Ok(took)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// A task that returns its argument. So nearly all its time is the way to the worker and back.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub enum Echo {
    Number(u32),
    Text(Box<str>),
}

impl Echo {
    /// If `bytes` is 0, a number. Otherwise a text of that length: zeros, and at its end the
    /// number.
    fn new(number: u32, bytes: u32) -> Self {
        if bytes == 0 {
            return Self::Number(number);
        }
        let number = number.to_string();
        let zeros = (bytes as usize).saturating_sub(number.len());
        Self::Text(("0".repeat(zeros) + &number).into())
    }
}

impl fmt::Display for Echo {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "task {number}"),
            Self::Text(text) => write!(f, "a task with {} bytes", text.len()),
        }
    }
}

impl Task for Echo {
    const NAME: &'static str = "echo";
    type Output = Self;

    fn run(&self, _: Attempt) -> anyhow::Result<Self> {
        Ok(self.clone())
    }
}
