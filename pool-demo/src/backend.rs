//! The two kinds of workers: processes and threads. A lesson that works with both gets its pool
//! here.

use clap::ValueEnum;

use crate::{pool::Pool, process_pool::ProcessPool, task::Task, thread_pool::ThreadPool};

#[derive(Clone, Copy, ValueEnum)]
pub enum Backend {
    Process,
    Thread,
}

impl Backend {
    /// Starts a pool that runs tasks of type `T`.
    ///
    /// # Errors
    /// When a worker cannot be started.
    pub fn pool<T: Task>(self, workers: usize) -> anyhow::Result<Box<dyn Pool<T>>> {
        Ok(match self {
            Self::Process => Box::new(ProcessPool::new(workers)?),
            Self::Thread => Box::new(ThreadPool::new(workers)?),
        })
    }
}
