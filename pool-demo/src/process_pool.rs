//! A pool whose workers are processes.
//!
//! Each worker process has a thread of ours at its side, which takes one task at a time from the
//! queue that all share, gives it to its worker, and waits for the outcome. So whoever is free
//! takes the next task, and nobody needs to plan.

use std::thread::{self, JoinHandle};

use anyhow::{Context, bail};
use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::{
    pool::{AsyncResult, Job, Pool},
    task::Task,
    worker::Worker,
};

pub struct ProcessPool {
    /// The queue's entrance, until `close` takes it away.
    queue: Option<Sender<Job>>,
    attendants: Vec<JoinHandle<anyhow::Result<()>>>,
}

impl ProcessPool {
    /// Starts the worker processes.
    ///
    /// # Errors
    /// When one of them cannot be started. Those already there end: their input does.
    pub fn new(workers: usize) -> anyhow::Result<Self> {
        let (queue, jobs) = unbounded();
        let workers = (1..=workers)
            .map(|n| {
                Worker::start().with_context(|| format!("cannot start worker {n} of {workers}"))
            })
            .collect::<anyhow::Result<Vec<Worker>>>()?;
        let attend_to = |worker| {
            let jobs = jobs.clone();
            thread::spawn(move || attend(worker, jobs))
        };
        let attendants = workers.into_iter().map(attend_to).collect();
        Ok(Self {
            queue: Some(queue),
            attendants,
        })
    }
}

/// Hands the queue's jobs to one worker, until the queue has ended.
fn attend(mut worker: Worker, jobs: Receiver<Job>) -> anyhow::Result<()> {
    for Job { task, reply } in jobs {
        let outcome = worker.run(&task)?;
        // Nobody may be waiting for it: not every caller wants to know.
        let _ = reply.send(outcome);
    }
    worker.end()
}

impl Pool for ProcessPool {
    fn apply_async(&mut self, task: Task) -> anyhow::Result<AsyncResult> {
        let queue = self.queue.as_ref().context("a closed pool takes no task")?;
        let (job, result) = AsyncResult::of(task);
        queue.send(job).ok().context("no worker is left")?;
        Ok(result)
    }

    fn close(&mut self) {
        // With its only sender, the queue ends, once it is empty.
        self.queue = None;
    }

    fn join(&mut self) -> anyhow::Result<()> {
        if self.queue.is_some() {
            bail!("a pool must be closed before it can be joined");
        }
        let ends: Vec<_> = self.attendants.drain(..).map(JoinHandle::join).collect();
        // All have ended; now the first error, if there is one.
        ends.into_iter()
            .try_for_each(|end| end.expect("attending to a worker does not panic"))
    }
}
