//! A pool whose workers are processes.
//!
//! Each worker process has a thread in the master. All threads share one queue. A thread takes one
//! job at a time, sends the job's tasks to its worker, and waits for the outcomes. Then the worker
//! is free, and its thread takes the next job: nothing else decides which worker runs which task. A
//! worker that dies in a task is noticed at once, because its thread waits for the outcomes of this
//! worker alone. (The death of an idle worker is noticed when it is sent its next task.)

use std::{
    collections::HashMap,
    process::{Child, ExitStatus},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

use anyhow::{Context, ensure};
use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::{
    connection::{self, ToWorker},
    output,
    pool::{Job, Pool},
    task::Task,
    worker,
    worker_process::WorkerProcess,
};

pub struct ProcessPool<T: Task> {
    /// The queue's sender, until `close` drops it.
    queue: Option<Sender<Job<T>>>,
    children: Arc<Children>,
    threads: Vec<JoinHandle<()>>,
}

impl<T: Task> ProcessPool<T> {
    /// Starts the worker processes.
    ///
    /// # Errors
    /// When one of them cannot be started. Those that were started are ended.
    pub fn new(workers: usize) -> anyhow::Result<Self> {
        let (queue, jobs) = unbounded();
        // From here on, an early return (by `?`) drops the pool, and that ends its workers.
        let mut pool = Self {
            queue: Some(queue),
            children: Arc::new(Children::new(T::NAME)),
            threads: Vec::new(),
        };
        let mut started = Vec::new();
        for n in 1..=workers {
            let worker = WorkerProcess::start(&pool.children);
            started.push(worker.with_context(|| format!("cannot start worker {n} of {workers}"))?);
        }
        // Only now, so that all workers get ready at the same time.
        for mut worker in started {
            worker.wait_until_ready()?;
            // A clone of a receiver is not a copy of the queue. All clones receive from the same
            // queue, and each job goes to one of them only.
            let (jobs, children) = (jobs.clone(), Arc::clone(&pool.children));
            let run = move || run_jobs(worker, &children, jobs);
            let thread = thread::Builder::new().spawn(run);
            pool.threads
                .push(thread.context("cannot start a thread for a worker")?);
        }
        Ok(pool)
    }
}

/// In the thread of one worker: takes jobs from the queue and does them with this worker, until the
/// queue ends. An error ends the pool.
fn run_jobs<T: Task>(mut worker: WorkerProcess, children: &Children, jobs: Receiver<Job<T>>) {
    // The loop waits for the next job. It ends when the queue is closed and empty.
    for job in jobs {
        // After `end`, `check` is an error, and the job is dropped without being called.
        if let Err(error) = children.check().and_then(|()| job(&mut worker)) {
            children.end(Some(error));
            break;
        }
    }
    // Here `worker` is dropped, which closes its stdin. The worker process reads the end of file,
    // and ends.
}

impl<T: Task> Pool<T> for ProcessPool<T> {
    fn workers(&self) -> usize {
        self.threads.len()
    }

    fn submit(&self, job: Job<T>) -> anyhow::Result<()> {
        let queue = self.queue.as_ref().context("a closed pool takes no task")?;
        queue.send(job).ok().context("the pool has ended")
    }

    fn close(&mut self) {
        // This drops the queue's only sender. The jobs that are in the queue are still done. Then
        // the queue ends, because it is empty and nothing can be sent to it.
        self.queue = None;
    }

    fn terminate(&mut self) {
        self.close();
        self.children.end(None);
    }

    fn join(&mut self) -> anyhow::Result<()> {
        let closed = self.queue.is_none();
        ensure!(closed, "a pool must be closed before it can be joined");
        for thread in self.threads.drain(..) {
            thread.join().expect("a worker's thread does not panic");
        }
        self.children.wait()
    }
}

impl<T: Task> Drop for ProcessPool<T> {
    fn drop(&mut self) {
        self.terminate();
        // If an error has ended the pool, and no call of `join` has returned it, it is printed
        // here.
        output::exit_code(self.join().map(|()| 0));
    }
}

const ENDED: &str = "the pool has ended";

/// The worker processes as children of this process: they must be reaped, and sometimes killed. All
/// threads share this table. A worker's own thread waits for replies most of the time, so another
/// thread must be able to kill the worker.
pub struct Children {
    /// The name of the type of task that the workers run.
    pub tasks: &'static str,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The children that have not been reaped, by process id.
    running: HashMap<u32, Child>,
    /// Whether the pool has ended. Then no worker is started any more.
    ended: bool,
    /// The error that has ended the pool. `None` after `terminate`.
    error: Option<anyhow::Error>,
}

impl Children {
    pub fn new(tasks: &'static str) -> Self {
        let state = Mutex::default();
        Self { tasks, state }
    }

    /// Starts a worker, and returns its process id and the connection to it.
    pub fn start(&self) -> anyhow::Result<(u32, ToWorker)> {
        // The lock is held until the child is in the table. If another thread has called `end`
        // before this, `ended` is true, and no child is started. If it calls `end` after this, the
        // child is in the table, and `end` kills it.
        let mut state = self.lock();
        ensure!(!state.ended, ENDED);
        let (child, connection) = connection::start(&mut worker::local_command(self.tasks)?)?;
        let id = child.id();
        state.running.insert(id, child);
        Ok((id, connection))
    }

    /// Reaps a worker whose connection has ended or failed, and returns its exit status.
    pub fn kill_and_wait(&self, id: u32) -> anyhow::Result<ExitStatus> {
        let child = self.lock().running.remove(&id);
        let mut child = child.with_context(|| format!("there is no worker {id}"))?;
        // Mostly the worker is dead already. But a worker can close its connection and go on, and
        // then `wait` alone could wait for ever.
        let _ = child.kill();
        let status = child.wait();
        status.with_context(|| format!("cannot wait for worker {id}"))
    }

    /// # Errors
    /// When the pool has ended.
    fn check(&self) -> anyhow::Result<()> {
        ensure!(!self.lock().ended, ENDED);
        Ok(())
    }

    /// Ends the pool: kills all workers. Each thread then sees that its worker has died, and ends.
    fn end(&self, error: Option<anyhow::Error>) {
        let mut state = self.lock();
        if !state.ended {
            // Later errors are consequences of this end, so only the first error is kept.
            state.ended = true;
            state.error = error;
            for child in state.running.values_mut() {
                let _ = child.kill();
            }
        }
    }

    /// Reaps all workers that are left, and returns the error that has ended the pool, if any.
    fn wait(&self) -> anyhow::Result<()> {
        let mut state = self.lock();
        for (id, mut child) in state.running.drain() {
            let status = child.wait();
            // A worker whose thread saw it die is no longer in the table: `kill_and_wait` has
            // removed it. The exit status of the others does not matter.
            status.with_context(|| format!("cannot wait for worker {id}"))?;
        }
        state.error.take().map_or(Ok(()), Err)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // `into_inner`: even if another thread has panicked while it held the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
