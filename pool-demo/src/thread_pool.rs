//! A pool whose workers are threads, on the `threadpool` crate.
//!
//! The crate runs closures and no more: results, errors and `close` are ours. It is finished rather
//! than kept; new code would take `rayon`, or `std::thread::scope` when a pool is not needed.

use std::{
    any::Any,
    panic,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
};

use anyhow::{Context, anyhow, ensure};

use crate::{
    output,
    pool::{Job, Pool, Worker},
    task::{self, Attempt, Outcome, Task, WorkerId},
};

pub struct ThreadPool {
    threads: threadpool::ThreadPool,
    closed: bool,
    terminated: Arc<AtomicBool>,
}

impl ThreadPool {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the system refuses one of them.
    pub fn new(workers: usize) -> anyhow::Result<Self> {
        // The crate knows no error for this: it panics. And who panics is quoted on stderr, unless
        // there is another hook.
        let hook = panic::take_hook();
        panic::set_hook(Box::new(|_| {}));
        let threads = panic::catch_unwind(|| threadpool::ThreadPool::new(workers));
        panic::set_hook(hook);
        let why = |panic: Box<dyn Any + Send>| task::message(&*panic).to_owned();
        let threads = threads.map_err(|panic| anyhow!(why(panic)));
        Ok(Self {
            threads: threads.with_context(|| format!("cannot start {workers} threads"))?,
            closed: false,
            terminated: Arc::default(),
        })
    }
}

/// The thread that we are in: one of the pool's.
struct ThisThread {
    terminated: Arc<AtomicBool>,
}

impl<T: Task> Worker<T> for ThisThread {
    fn run(&mut self, tasks: &[T]) -> anyhow::Result<Vec<Outcome<T>>> {
        let worker = WorkerId::Thread(thread::current().id());
        let attempt = Attempt {
            worker,
            number: 1,
            print: &|line| output::say!("{line}"),
        };
        let run = |task| {
            // Nobody can end a thread from outside: it must look by itself whether it should.
            ensure!(!self.terminated.load(Relaxed), "the pool was terminated");
            Ok(task::run(task, attempt))
        };
        tasks.iter().map(run).collect()
    }
}

impl<T: Task> Pool<T> for ThreadPool {
    fn workers(&self) -> usize {
        self.threads.max_count()
    }

    fn submit(&self, job: Job<T>) -> anyhow::Result<()> {
        ensure!(!self.closed, "a closed pool takes no task");
        let terminated = Arc::clone(&self.terminated);
        self.threads.execute(move || {
            // Its only error is that the pool was terminated.
            let _ = job(&mut ThisThread { terminated });
        });
        Ok(())
    }

    fn close(&mut self) {
        self.closed = true;
    }

    fn terminate(&mut self) {
        self.closed = true;
        self.terminated.store(true, Relaxed);
    }

    fn join(&mut self) -> anyhow::Result<()> {
        ensure!(self.closed, "a pool must be closed before it can be joined");
        self.threads.join();
        Ok(())
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        self.terminated.store(true, Relaxed);
    }
}
