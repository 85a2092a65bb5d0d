//! A pool whose workers are processes.
//!
//! Each worker process has a thread of ours at its side, its [`Attendant`], which takes one job at
//! a time from the queue that all share, gives its tasks to the worker, and waits for the outcomes.
//! So whoever is free takes the next job, and nobody needs to plan. And so a worker's death is
//! noticed at once: its attendant waits for nothing else.

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
};

use anyhow::{Context, ensure};
use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::{
    attendant::Attendant,
    crew::Crew,
    output,
    pool::{Job, Pool},
    task::Task,
};

pub struct ProcessPool<T: Task> {
    /// The queue's entrance, until `close` takes it away.
    queue: Option<Sender<Job<T>>>,
    crew: Arc<Crew>,
    attendants: Vec<JoinHandle<()>>,
}

impl<T: Task> ProcessPool<T> {
    /// Starts the worker processes.
    ///
    /// # Errors
    /// When one of them cannot be started. Those already there are ended.
    pub fn new(workers: usize) -> anyhow::Result<Self> {
        let (queue, jobs) = unbounded();
        // From here on, an early return drops the pool, and that ends the workers.
        let mut pool = Self {
            queue: Some(queue),
            crew: Arc::new(Crew::new(T::NAME)),
            attendants: Vec::new(),
        };
        let mut attendants = Vec::new();
        for n in 1..=workers {
            let attendant = Attendant::new(&pool.crew);
            attendants
                .push(attendant.with_context(|| format!("cannot start worker {n} of {workers}"))?);
        }
        // All have been started before the first is waited for.
        for mut attendant in attendants {
            attendant.await_ready()?;
            let jobs = jobs.clone();
            let thread = thread::Builder::new().spawn(move || attend(attendant, jobs));
            let thread = thread.context("cannot start a thread to attend to a worker")?;
            pool.attendants.push(thread);
        }
        Ok(pool)
    }
}

/// Does the queue's jobs with one worker, until the queue ends or the pool does.
fn attend<T: Task>(mut worker: Attendant, jobs: Receiver<Job<T>>) {
    for job in jobs {
        if let Err(error) = worker.crew.check().and_then(|()| job(&mut worker)) {
            worker.crew.end(Some(error));
            break;
        }
    }
    // With its attendant, the worker's connection goes, and that ends the worker.
}

impl<T: Task> Pool<T> for ProcessPool<T> {
    fn workers(&self) -> usize {
        self.attendants.len()
    }

    fn submit(&self, job: Job<T>) -> anyhow::Result<()> {
        let queue = self.queue.as_ref().context("a closed pool takes no task")?;
        queue.send(job).ok().context("the pool has ended")
    }

    fn close(&mut self) {
        // With its only sender, the queue ends, once it is empty.
        self.queue = None;
    }

    fn terminate(&mut self) {
        self.close();
        self.crew.end(None);
    }

    fn join(&mut self) -> anyhow::Result<()> {
        let closed = self.queue.is_none();
        ensure!(closed, "a pool must be closed before it can be joined");
        for attendant in self.attendants.drain(..) {
            attendant.join().expect("an attendant does not panic");
        }
        self.crew.wait()
    }
}

impl<T: Task> Drop for ProcessPool<T> {
    fn drop(&mut self) {
        self.terminate();
        // Where the pool has ended early and nobody joined it, it was not heard why.
        output::exit_code(self.join().map(|()| 0));
    }
}
