//! What a worker is: a process or a thread. A lesson that works with both asks here for its pool.

use clap::ValueEnum;

use crate::{pool::Pool, process_pool::ProcessPool, task::Task, thread_pool::ThreadPool};

#[derive(Clone, Copy, ValueEnum)]
pub enum Backend {
    Process,
    Thread,
}

impl Backend {
    /// Starts a pool for tasks of a type.
    ///
    /// # Errors
    /// When the system refuses a worker.
    pub fn pool<T: Task>(self, workers: usize) -> anyhow::Result<Box<dyn Pool<T>>> {
        Ok(match self {
            Self::Process => Box::new(ProcessPool::new(workers)?),
            Self::Thread => Box::new(ThreadPool::new(workers)?),
        })
    }
}
