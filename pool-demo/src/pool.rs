//! What both kinds of pool have in common: the words of Python's `multiprocessing.Pool`.

use std::time::Duration;

use anyhow::anyhow;
use crossbeam_channel::{Receiver, Sender, bounded};

use crate::task::Task;

/// Some workers that share one queue of tasks.
pub trait Pool {
    /// Puts a task into the queue. The first worker that is free takes it.
    ///
    /// # Errors
    /// When the pool is closed.
    fn apply_async(&mut self, task: Task) -> anyhow::Result<AsyncResult>;

    /// Says that no task will follow.
    fn close(&mut self);

    /// Waits until every task is done and every worker has ended.
    ///
    /// # Errors
    /// When the pool is not closed: its workers would wait for tasks for ever.
    fn join(&mut self) -> anyhow::Result<()>;
}

/// What a task came to: the time that it took, or why it failed.
pub type Outcome = Result<Duration, String>;

/// A task on its way to a worker, with the place where its outcome is awaited.
pub struct Job {
    pub task: Task,
    pub reply: Sender<Outcome>,
}

/// The outcome of a task, once there is one.
pub struct AsyncResult {
    number: u32,
    outcome: Receiver<Outcome>,
}

impl AsyncResult {
    /// Makes a job of a task, and the result to wait for it by.
    pub fn of(task: Task) -> (Job, Self) {
        let (reply, outcome) = bounded(1);
        let number = task.number;
        (Job { task, reply }, Self { number, outcome })
    }

    /// Waits until the task has ended.
    ///
    /// # Errors
    /// When it failed, and when its worker ended before it.
    pub fn get(self) -> anyhow::Result<Duration> {
        // A worker that is gone took the sending end of this channel with it.
        let lost = || Err("its worker ended before the task did".to_owned());
        let outcome = self.outcome.recv().unwrap_or_else(|_| lost());
        outcome.map_err(|reason| anyhow!("task {} failed: {reason}", self.number))
    }
}
