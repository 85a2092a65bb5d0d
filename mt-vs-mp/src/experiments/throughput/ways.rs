//! The ways to do a job, and what is timed of each. The laboratory starts a trial, which is the
//! master. The master starts the workers:
//!
//! ```text
//! by_threads        master ─┬─ worker 1, a thread
//!                           └─ worker 2, a thread
//! by_processes      master ─┬─ proxy 1, a thread  <── messages ──>  worker process 1
//!                           └─ proxy 2, a thread  <── messages ──>  worker process 2
//! by_shared_index   master ─┬─ worker process 1, forked
//!                           └─ worker process 2, forked
//! ```
//!
//! A proxy takes tasks, sends them to its worker process, and receives the results. A worker
//! process of the hybrid has several threads. The proxies share the index of the next task;
//! where there are none, the workers share it.

use std::{
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    thread,
    time::Instant,
};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::{Job, Setup};
use crate::lab::{
    role::{Partner, Role, receive_from_parent, tell_parent},
    together,
};

/// What was measured of a job.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Done {
    /// From the start of the first worker until all workers wait for their first task, in seconds.
    pub start: f64,
    /// From then until the last result, in seconds.
    pub work: f64,
    /// The sum of all results.
    pub total: u32,
}

pub fn serially(_: Setup, job: Job) -> anyhow::Result<Done> {
    let begin = Instant::now();
    let total = (0..job.tasks).map(|_| job.do_task()).sum();
    let work = begin.elapsed().as_secs_f64();
    Ok(Done {
        start: 0.0,
        work,
        total,
    })
}

pub fn by_threads(setup: Setup, job: Job) -> anyhow::Result<Done> {
    let index = AtomicU32::new(0);
    let worker = || Ok(work_off(&index, job));
    all_at_once(Instant::now(), (0..setup.threads).map(|_| worker))
}

/// A worker that shares the index: does tasks until none is left, and returns the sum of the
/// results.
fn work_off(index: &AtomicU32, job: Job) -> u32 {
    let mut sum = 0;
    while take(index, job) {
        sum += job.do_task();
    }
    sum
}

/// Takes a task. Returns false if none is left.
fn take(index: &AtomicU32, job: Job) -> bool {
    // `Relaxed`, because the workers share nothing else whose order could matter.
    index.fetch_add(1, Relaxed) < job.tasks
}

/// Starts the worker processes, and a proxy for each of them.
pub fn by_processes(setup: Setup, job: Job) -> anyhow::Result<Done> {
    let since = Instant::now();
    let mut workers = Vec::new();
    for n in 1..=setup.processes {
        let worker = WORKER.start(&(setup, job));
        let what = || format!("cannot start worker {n} of {}", setup.processes);
        workers.push(worker.with_context(what)?);
    }
    for worker in &mut workers {
        // Each thread of the worker sends a message when it is there.
        for _ in 0..setup.threads {
            worker.expect::<u32>()?;
        }
    }
    let index = AtomicU32::new(0);
    let proxies = workers
        .iter_mut()
        .map(|worker| || run_proxy(worker, setup.threads, &index, job));
    // The workers end when `workers` is dropped. That is not timed.
    all_at_once(since, proxies)
}

/// A proxy: sends tasks to its worker process, and returns the sum of the results.
fn run_proxy(
    worker: &mut Partner,
    threads: usize,
    index: &AtomicU32,
    job: Job,
) -> anyhow::Result<u32> {
    let (mut sum, mut under_way) = (0, 0);
    // Two tasks for each thread: with one, a thread would idle while its result and its next task
    // are on their way.
    while under_way < 2 * threads && take(index, job) {
        worker.tell(&())?;
        under_way += 1;
    }
    while under_way > 0 {
        sum += worker.expect::<u32>()?;
        match take(index, job) {
            true => worker.tell(&())?,
            false => under_way -= 1,
        }
    }
    Ok(sum)
}

/// A worker process: its threads do the tasks that arrive, until the master closes the pipe.
pub static WORKER: Role<(Setup, Job)> = Role {
    name: "throughput-worker",
    play: |(setup, job)| {
        let serve = move || {
            // Says that this thread is there.
            tell_parent(&0)?;
            while let Some(()) = receive_from_parent()? {
                tell_parent(&job.do_task())?;
            }
            anyhow::Ok(())
        };
        if setup.threads == 1 {
            return serve();
        }
        let mut threads = Vec::new();
        for _ in 0..setup.threads {
            let thread = thread::Builder::new().spawn(serve);
            threads.push(thread.context("cannot start a thread")?);
        }
        for thread in threads {
            thread.join().expect("no worker panics")?;
        }
        Ok(())
    },
};

/// Starts a thread for each of `parts`: a worker or a proxy. Each returns the sum of its results. The
/// clock [`Done::start`] runs from `since`.
fn all_at_once<Part>(since: Instant, parts: impl Iterator<Item = Part>) -> anyhow::Result<Done>
where
    Part: FnOnce() -> anyhow::Result<u32> + Send,
{
    let together = together::all_at_once(parts.map(|part| |_| part()))?;
    Ok(Done {
        start: (together.begin - since).as_secs_f64(),
        work: together.seconds,
        total: together.results.iter().sum(),
    })
}

/// Processes that share the index, as threads do.
#[cfg(unix)]
pub fn by_shared_index(setup: Setup, job: Job) -> anyhow::Result<Done> {
    use crate::lab::{mapping::Mapping, team::Team};
    let since = Instant::now();
    // SAFETY: these numbers are atomics.
    let numbers = unsafe { Mapping::shared_atomics::<AtomicU32>(2) }?;
    let (index, total) = (&numbers[0], &numbers[1]);
    let work = |_| {
        total.fetch_add(work_off(index, job), Relaxed);
        Ok(())
    };
    // SAFETY: this trial has started no thread.
    let team = unsafe { Team::processes(setup.processes, work) }?;
    let start = since.elapsed().as_secs_f64();
    let begin = Instant::now();
    let working = team.begin();
    working.until_done()?;
    let work = begin.elapsed().as_secs_f64();
    working.join()?;
    let total = total.load(Relaxed);
    Ok(Done { start, work, total })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_threads_together_do_each_task_once() {
        let setup = Setup {
            way: 1,
            processes: 1,
            threads: 3,
        };
        let chatty = Job {
            kind: 1,
            tasks: 1000,
        };
        let done = by_threads(setup, chatty).expect("threads can be started");
        assert_eq!(done.total, 95_000);
        assert!(done.work > 0.0);
    }
}
