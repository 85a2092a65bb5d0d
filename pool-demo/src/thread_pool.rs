//! A pool whose workers are threads. It uses the `threadpool` crate.
//!
//! The crate only runs closures. The results, the errors and `close` are added here. The crate has
//! not been developed further for years: new code would use `rayon`, or `std::thread::scope` where
//! it needs no pool.

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
    /// When the system cannot start one of them.
    pub fn new(workers: usize) -> anyhow::Result<Self> {
        // The crate panics if a thread cannot be started. We catch the panic and return an error.
        // By default, a panic also prints its message on stderr. The hook set here prints nothing.
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

/// The thread of the pool in which a job runs.
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
            // A thread cannot be killed. So it checks before each task whether the pool has ended.
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
            // The only error is that the pool was terminated, and then there is nothing to do.
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::map::Echo;

    #[test]
    fn a_pool_that_is_dropped_runs_no_task_that_still_waits() -> anyhow::Result<()> {
        let pool = ThreadPool::new(1)?;
        let (gate, closed) = mpsc::channel::<()>();
        let job: Job<Echo> = Box::new(move |_| {
            let _ = closed.recv();
            Ok(())
        });
        pool.submit(job)?;
        let waiting = pool.apply_async(Echo::Number(7))?;
        drop(pool);
        // Now the first job ends.
        drop(gate);
        assert!(waiting.get().is_err());
        Ok(())
    }
}
