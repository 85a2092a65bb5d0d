//! A crowd: any number of workers that share one piece of work, and one more that only waits.

use std::{
    fmt,
    io::{PipeReader, PipeWriter, Read},
    thread,
    time::Instant,
};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::{
    member::member,
    signs::{Ends, Master, pipes},
};
use crate::lab::{fork, memory, statistics::median};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Model {
    Processes,
    Threads,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crowd {
    pub model: Model,
    pub workers: usize,
    /// The work: the primes below this are counted.
    pub numbers: u32,
}

impl Model {
    pub fn name(self) -> &'static str {
        match self {
            Self::Processes => "processes",
            Self::Threads => "threads",
        }
    }
}

impl fmt::Display for Crowd {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} {}", self.workers, self.model.name())
    }
}

/// How a crowd did.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Seen {
    /// From the first one's start until all are there, in seconds.
    pub start: f64,
    /// From the sign to begin until the last result, in seconds.
    pub work: f64,
    /// From the first one's start until the last one's end, in seconds.
    pub total: f64,
    /// What each worker takes for itself, in bytes.
    pub memory: Option<f64>,
    /// How late the waiting one was woken: at the median, and at worst, in seconds.
    pub late: (f64, f64),
    pub primes: u32,
}

/// The trial.
pub fn try_out(crowd: Crowd) -> anyhow::Result<Seen> {
    let (master, ends, results) = pipes().context("cannot make a pipe")?;
    match crowd.model {
        Model::Threads => by_threads(crowd, master, &ends, &results),
        Model::Processes => by_processes(crowd, master, &ends, results),
    }
}

fn by_threads(
    crowd: Crowd,
    master: Master,
    ends: &Ends,
    results: &PipeWriter,
) -> anyhow::Result<Seen> {
    let before = memory::private("self");
    let start = Instant::now();
    let (mut seen, left) = thread::scope(|scope| {
        // Dropped before the threads are joined, even if one cannot be started: they all leave.
        let master = master;
        for k in 0..=crowd.workers {
            thread::Builder::new()
                .spawn_scoped(scope, move || member(crowd, k, ends, results))
                .with_context(|| cannot_start(crowd, k))?;
        }
        let memory = || {
            let grown = memory::private("self")?.checked_sub(before?)?;
            Some(grown as f64 / (crowd.workers + 1) as f64)
        };
        conduct(crowd, start, master, memory)
    })?;
    seen.total += left.elapsed().as_secs_f64();
    Ok(seen)
}

fn by_processes(
    crowd: Crowd,
    master: Master,
    ends: &Ends,
    results: PipeWriter,
) -> anyhow::Result<Seen> {
    let start = Instant::now();
    let (mut master, mut results) = (Some(master), Some(results));
    let mut children = Vec::with_capacity(crowd.workers + 1);
    for k in 0..=crowd.workers {
        let work = || {
            // Closes this child's copies alone. Kept, they would hold everybody's signs back.
            master = None;
            member(crowd, k, ends, results.take().context("it is its own")?)
        };
        // SAFETY: this trial has started no thread.
        let child = unsafe { fork::child(work) }.with_context(|| cannot_start(crowd, k))?;
        children.push(child);
    }
    // With this one open, the results of a worker that was killed would be waited for.
    drop(results);
    let memory = || {
        let some = children.iter().step_by(crowd.workers.div_ceil(10));
        let each = some.filter_map(|child| memory::private(&child.to_string()));
        let each: Vec<f64> = each.map(|bytes| bytes as f64).collect();
        (!each.is_empty()).then(|| median(each))
    };
    let master = master.context("it is the master's own")?;
    let (mut seen, left) = conduct(crowd, start, master, memory)?;
    children.into_iter().try_for_each(fork::join)?;
    seen.total += left.elapsed().as_secs_f64();
    Ok(seen)
}

fn cannot_start(crowd: Crowd, k: usize) -> String {
    let what = match crowd.model {
        Model::Processes => "process",
        Model::Threads => "thread",
    };
    format!("cannot start {what} {} of {}", k + 1, crowd.workers + 1)
}

/// Gives the signs, collects the results, and returns what was seen and when the workers were told
/// to leave. `memory` is asked when all are there.
fn conduct(
    crowd: Crowd,
    start: Instant,
    mut master: Master,
    memory: impl Fn() -> Option<f64>,
) -> anyhow::Result<(Seen, Instant)> {
    add_up(&mut master.results, crowd.workers + 1)?;
    let start = start.elapsed().as_secs_f64();
    let memory = memory();

    let begin = Instant::now();
    drop(master.begin);
    let primes = add_up(&mut master.results, crowd.workers)?;
    let work = begin.elapsed().as_secs_f64();

    let left = Instant::now();
    drop(master.leave);
    let mut late = [[0; 8]; 2];
    let read = master.lateness.read_exact(late.as_flattened_mut());
    read.context("the waiting one died")?;
    let [typical, worst] = late.map(f64::from_ne_bytes);
    let seen = Seen {
        start,
        work,
        total: start + work,
        memory,
        late: (typical, worst),
        primes,
    };
    Ok((seen, left))
}

fn add_up(results: &mut PipeReader, count: usize) -> anyhow::Result<u32> {
    let mut sum = 0;
    for _ in 0..count {
        let mut result = [0; 4];
        results.read_exact(&mut result).context("a worker died")?;
        sum += u32::from_ne_bytes(result);
    }
    Ok(sum)
}
