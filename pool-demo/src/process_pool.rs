//! A pool whose workers are processes.
//!
//! Each worker process has a thread in the master. The thread takes one job at a time from the
//! queue that all share, sends its tasks to the worker, and waits for the outcomes. So a free worker
//! takes the next job, and nobody needs to plan. And a worker's death is noticed at once, because
//! its thread waits for nothing else.

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
    /// When one of them cannot be started. Those already there are ended.
    pub fn new(workers: usize) -> anyhow::Result<Self> {
        let (queue, jobs) = unbounded();
        // From here on, an early return drops the pool, and that ends the workers.
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
        // All have been started before the first is waited for.
        for mut worker in started {
            worker.wait_until_ready()?;
            let (jobs, children) = (jobs.clone(), Arc::clone(&pool.children));
            let run = move || run_jobs(worker, &children, jobs);
            let thread = thread::Builder::new().spawn(run);
            pool.threads
                .push(thread.context("cannot start a thread for a worker")?);
        }
        Ok(pool)
    }
}

/// Does the queue's jobs with one worker, until the queue ends or the pool does.
fn run_jobs<T: Task>(mut worker: WorkerProcess, children: &Children, jobs: Receiver<Job<T>>) {
    for job in jobs {
        if let Err(error) = children.check().and_then(|()| job(&mut worker)) {
            children.end(Some(error));
            break;
        }
    }
    // `worker` is dropped here, and its connection closed: that ends the process.
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
        // With its only sender, the queue ends, once it is empty.
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
        // Where the pool has ended early and nobody joined it, the reason is reported here.
        output::exit_code(self.join().map(|()| 0));
    }
}

const ENDED: &str = "the pool has ended";

/// The worker processes as children of this process, which must be waited for, and sometimes
/// killed. They do not belong to their threads: those mostly wait for a reply, and to end the pool
/// early another thread must be able to kill the workers.
pub struct Children {
    /// The name of the tasks that they work on.
    pub tasks: &'static str,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By process id.
    running: HashMap<u32, Child>,
    /// Whether the pool is to end, and no worker is started any more.
    ended: bool,
    /// Why it ends, unless it was asked to.
    error: Option<anyhow::Error>,
}

impl Children {
    fn new(tasks: &'static str) -> Self {
        let state = Mutex::default();
        Self { tasks, state }
    }

    /// Starts a worker, and returns its id with the connection to it.
    pub fn start(&self) -> anyhow::Result<(u32, ToWorker)> {
        // The lock is held until the child is in the table. So `end` runs before us, and we see
        // `ended`, or after us, and finds our child.
        let mut state = self.lock();
        ensure!(!state.ended, ENDED);
        let (child, connection) = connection::start(&mut worker::local_command(self.tasks)?)?;
        let id = child.id();
        state.running.insert(id, child);
        Ok((id, connection))
    }

    /// Waits for a worker whose connection has ended, and returns how it ended.
    pub fn kill_and_wait(&self, id: u32) -> anyhow::Result<ExitStatus> {
        let child = self.lock().running.remove(&id);
        let mut child = child.with_context(|| format!("there is no worker {id}"))?;
        // A worker that has only closed its connection would keep us waiting.
        let _ = child.kill();
        let status = child.wait();
        status.with_context(|| format!("cannot wait for worker {id}"))
    }

    /// # Errors
    /// When the pool is to end.
    fn check(&self) -> anyhow::Result<()> {
        ensure!(!self.lock().ended, ENDED);
        Ok(())
    }

    /// Kills all workers, so that the pool ends: each thread sees its worker die.
    fn end(&self, error: Option<anyhow::Error>) {
        let mut state = self.lock();
        if !state.ended {
            // What fails from now on fails because of this.
            state.ended = true;
            state.error = error;
            for child in state.running.values_mut() {
                let _ = child.kill();
            }
        }
    }

    /// Waits until all workers have ended, and returns the error for which the pool ended.
    fn wait(&self) -> anyhow::Result<()> {
        let mut state = self.lock();
        for (id, mut child) in state.running.drain() {
            let status = child.wait();
            // How it ended does not matter: it had no task.
            status.with_context(|| format!("cannot wait for worker {id}"))?;
        }
        state.error.take().map_or(Ok(()), Err)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
