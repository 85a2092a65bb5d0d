//! Master–Worker: one holds the tasks and adds up the results, the others work.
//!
//! Who is done with a task takes the next one from the common pile, so that all are busy until the
//! pile is empty.

use std::{
    sync::{Mutex, PoisonError},
    thread,
};

use anyhow::Context;

use crate::{
    job::{self, Task},
    worker::Worker,
};

/// One after the other, without any worker: what the others are measured against.
pub fn serially() -> u32 {
    job::tasks().map(job::count_primes).sum()
}

/// Each worker is a thread.
pub fn by_threads(workers: usize) -> anyhow::Result<u32> {
    master(
        (0..workers)
            .map(|_| |task| Ok(job::count_primes(task)))
            .collect(),
    )
}

/// Each worker is a process.
pub fn by_processes(workers: usize) -> anyhow::Result<u32> {
    let workers = (1..=workers)
        .map(|n| {
            let mut worker =
                Worker::start().with_context(|| format!("cannot start worker {n} of {workers}"))?;
            Ok(move |task| worker.run(task))
        })
        .collect::<anyhow::Result<_>>()?;
    master(workers)
}

/// Has the workers do all tasks, and adds up the results. A thread stands by each worker: where the
/// worker is a function, the thread is the worker; where it is a process, the thread only waits for
/// it.
fn master<W>(workers: Vec<W>) -> anyhow::Result<u32>
where
    W: FnMut(Task) -> anyhow::Result<u32> + Send,
{
    let pile = Mutex::new(job::tasks());
    let next = || pile.lock().unwrap_or_else(PoisonError::into_inner).next();
    let next = &next;
    thread::scope(|scope| {
        let work = |mut worker: W| {
            scope.spawn(move || {
                let mut sum = 0;
                while let Some(task) = next() {
                    sum += worker(task)?;
                }
                anyhow::Ok(sum)
            })
        };
        // All are started before the first is waited for.
        let threads: Vec<_> = workers.into_iter().map(work).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no worker panics"))
            .sum()
    })
}
