//! A pool whose workers are threads, on the `threadpool` crate.
//!
//! The crate runs closures and no more: results, errors and `close` are ours. It is finished rather
//! than kept; new code would take `rayon`, or `std::thread::scope` when a pool is not needed.

use std::thread;

use anyhow::bail;

use crate::{
    pool::{AsyncResult, Job, Pool},
    task::Task,
};

pub struct ThreadPool {
    threads: threadpool::ThreadPool,
    closed: bool,
}

impl ThreadPool {
    pub fn new(workers: usize) -> Self {
        Self {
            threads: threadpool::ThreadPool::new(workers),
            closed: false,
        }
    }
}

impl Pool for ThreadPool {
    fn apply_async(&mut self, task: Task) -> anyhow::Result<AsyncResult> {
        if self.closed {
            bail!("a closed pool takes no task");
        }
        let (Job { task, reply }, result) = AsyncResult::of(task);
        self.threads.execute(move || {
            let worker = format!("{:?}", thread::current().id());
            let _ = reply.send(task.run(worker).map_err(|error| format!("{error:#}")));
        });
        Ok(result)
    }

    fn close(&mut self) {
        self.closed = true;
    }

    fn join(&mut self) -> anyhow::Result<()> {
        if !self.closed {
            bail!("a pool must be closed before it can be joined");
        }
        self.threads.join();
        Ok(())
    }
}
