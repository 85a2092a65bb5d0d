//! What both kinds of pool have in common: the words of Python's `multiprocessing.Pool`.
//!
//! A pool is a queue of jobs and some workers. A [`Job`] is what is done with the first worker that
//! is free. `apply_async` and `map` are two kinds of job, and so each stands here once, for
//! processes and threads alike.

use std::{
    mem,
    ops::Range,
    slice,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    time::Duration,
};

use anyhow::{Context, anyhow};
use oneshot::RecvTimeoutError;

use crate::task::{Outcome, Task};

/// Somebody who runs tasks: a thread, or a process that a thread of ours attends to.
pub trait Worker<T: Task> {
    /// Runs tasks, one after the other, and returns what each came to.
    ///
    /// # Errors
    /// When the pool has ended. What becomes of a task is no error here.
    fn run(&mut self, tasks: &[T]) -> anyhow::Result<Vec<Outcome<T>>>;
}

/// Something to do with a worker. A job that is dropped, because the pool has ended, drops what it
/// owns: whoever waits for its results learns by this that there will be none.
pub type Job<T> = Box<dyn FnOnce(&mut dyn Worker<T>) -> anyhow::Result<()> + Send>;

/// Some workers that share one queue. A pool that is dropped is terminated.
pub trait Pool<T: Task> {
    /// How many workers there are.
    fn workers(&self) -> usize;

    /// Puts a job into the queue.
    ///
    /// # Errors
    /// When the pool is closed, or has ended.
    fn submit(&self, job: Job<T>) -> anyhow::Result<()>;

    /// Says that no job will follow.
    fn close(&mut self);

    /// Ends the pool at once. Tasks that wait in the queue will not run. Those that run are lost
    /// with their processes; threads cannot be ended from outside, so theirs run to their end.
    fn terminate(&mut self);

    /// Waits until every job is done and every worker has ended.
    ///
    /// # Errors
    /// When the pool is not closed: its workers would wait for jobs for ever. And when the pool
    /// has ended early, for a reason of its own.
    fn join(&mut self) -> anyhow::Result<()>;

    /// Has a worker run a task, and does not wait for it.
    ///
    /// # Errors
    /// When the pool is closed, or has ended.
    fn apply_async(&self, task: T) -> anyhow::Result<AsyncResult<T>> {
        let (reply, outcome) = oneshot::channel();
        self.submit(Box::new(move |worker| {
            let outcome = worker.run(slice::from_ref(&task))?.pop();
            let outcome = outcome.context("a worker gave no outcome")?;
            // Nobody may be waiting for it: not every caller wants to know.
            let _ = reply.send(outcome);
            Ok(())
        }))?;
        Ok(AsyncResult(outcome))
    }

    /// Runs all tasks, and returns their outputs in the tasks' order.
    ///
    /// A worker gets `chunk_size` tasks at a time, which saves messages; without a size,
    /// [`default_chunk_size`] chooses one.
    ///
    /// # Errors
    /// The first in the tasks' order that a task came to; all run nevertheless.
    fn map(&self, tasks: Vec<T>, chunk_size: Option<usize>) -> anyhow::Result<Vec<T::Output>> {
        let chosen = || default_chunk_size(tasks.len(), self.workers());
        let chunk_size = chunk_size.unwrap_or_else(chosen);
        let shared = Arc::new(SharedTasks::new(tasks, chunk_size));
        // One job for each worker, whatever the number of tasks: who is free cuts off the next
        // chunk, and none of them waits in the queue.
        let mut ends = Vec::new();
        for _ in 0..self.workers() {
            let (done, end) = oneshot::channel();
            let shared = Arc::clone(&shared);
            self.submit(Box::new(move |worker| {
                while let Some(chunk) = shared.next_chunk() {
                    let outcomes = worker.run(&shared.tasks[chunk.clone()])?;
                    shared.put(chunk, outcomes);
                }
                let _ = done.send(());
                Ok(())
            }))?;
            ends.push(end);
        }
        for end in ends {
            end.recv().ok().context(LOST)?;
        }
        let outcomes = mem::take(&mut *shared.outcomes()).into_iter();
        let output = |outcome: Option<Outcome<T>>| outcome.context(LOST)?.map_err(|e| anyhow!(e));
        outcomes.map(output).collect()
    }

    /// Runs all tasks, and returns their outputs as they come, in whatever order that is.
    ///
    /// A worker gets `chunk_size` tasks at a time; their outputs come when the last of them is done.
    ///
    /// # Errors
    /// When the pool is closed, or has ended.
    fn imap_unordered(&self, tasks: Vec<T>, chunk_size: usize) -> anyhow::Result<Unordered<T>> {
        let shared = Arc::new(SharedTasks::new(tasks, chunk_size));
        let (results, outcomes) = mpsc::channel();
        for _ in 0..self.workers() {
            let (shared, results) = (Arc::clone(&shared), results.clone());
            self.submit(Box::new(move |worker| {
                while let Some(chunk) = shared.next_chunk() {
                    for outcome in worker.run(&shared.tasks[chunk])? {
                        // Nobody may be waiting for it.
                        let _ = results.send(outcome);
                    }
                }
                Ok(())
            }))?;
        }
        Ok(Unordered {
            outcomes,
            left: shared.tasks.len(),
        })
    }
}

/// The outputs of tasks, as they come. Each is an error if its task failed, or if the pool ended
/// before it.
pub struct Unordered<T: Task> {
    outcomes: mpsc::Receiver<Outcome<T>>,
    /// How many have not come yet.
    left: usize,
}

impl<T: Task> Iterator for Unordered<T> {
    type Item = anyhow::Result<T::Output>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let outcome = self.outcomes.recv().ok().context(LOST);
        Some(outcome.and_then(|outcome| outcome.map_err(|reason| anyhow!(reason))))
    }
}

/// The size of chunks by which each worker gets about four of them: few messages, and still no
/// worker waits for long for one that is late with its last chunk. (Python's rule, too.)
pub fn default_chunk_size(tasks: usize, workers: usize) -> usize {
    tasks.div_ceil(4 * workers)
}

const LOST: &str = "the pool ended before the task did";

/// The outcome of a task, once there is one.
pub struct AsyncResult<T: Task>(oneshot::Receiver<Outcome<T>>);

impl<T: Task> AsyncResult<T> {
    /// Waits until the task has ended.
    ///
    /// # Errors
    /// When it failed, and when the pool ended before it.
    pub fn get(self) -> anyhow::Result<T::Output> {
        let outcome = self.0.recv().ok().context(LOST)?;
        outcome.map_err(|reason| anyhow!(reason))
    }

    /// Waits until the task has ended, but not longer than `limit`: `None` when it has not. Its
    /// output can be got only once.
    ///
    /// # Errors
    /// When it failed, and when the pool ended before it.
    pub fn get_timeout(&self, limit: Duration) -> anyhow::Result<Option<T::Output>> {
        match self.0.recv_timeout(limit) {
            Ok(outcome) => outcome.map(Some).map_err(|reason| anyhow!(reason)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(anyhow!(LOST)),
        }
    }
}

/// What the workers of a `map` share: the tasks, and a place for the outcome of each.
struct SharedTasks<T: Task> {
    tasks: Vec<T>,
    chunk_size: usize,
    /// The first task that nobody has taken.
    next: AtomicUsize,
    outcomes: Mutex<Vec<Option<Outcome<T>>>>,
}

impl<T: Task> SharedTasks<T> {
    fn new(tasks: Vec<T>, chunk_size: usize) -> Self {
        Self {
            outcomes: Mutex::new(tasks.iter().map(|_| None).collect()),
            // At least one, or nobody would ever come to the end.
            chunk_size: chunk_size.clamp(1, tasks.len().max(1)),
            tasks,
            next: AtomicUsize::new(0),
        }
    }

    /// Cuts off the next tasks, if some are left, for the one who asks.
    fn next_chunk(&self) -> Option<Range<usize>> {
        let first = self.next.fetch_add(self.chunk_size, Relaxed);
        let end = self.tasks.len().min(first + self.chunk_size);
        (first < end).then_some(first..end)
    }

    fn put(&self, chunk: Range<usize>, outcomes: Vec<Outcome<T>>) {
        for (place, outcome) in self.outcomes()[chunk].iter_mut().zip(outcomes) {
            *place = Some(outcome);
        }
    }

    fn outcomes(&self) -> MutexGuard<'_, Vec<Option<Outcome<T>>>> {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{fmt, sync::Condvar};

    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::{map::Echo, task::Attempt, thread_pool::ThreadPool};

    #[test]
    fn each_worker_gets_about_four_chunks() {
        // As `divmod(tasks, 4 * workers)`, rounded up, in Python's `Pool._map_async`.
        for (tasks, workers, size) in [(0, 4, 0), (1, 4, 1), (16, 4, 1), (17, 4, 2), (1000, 1, 250)]
        {
            assert_eq!(
                default_chunk_size(tasks, workers),
                size,
                "{tasks}, {workers}"
            );
        }
    }

    #[test]
    fn outputs_are_in_the_tasks_order_whatever_the_size_of_chunks() -> anyhow::Result<()> {
        let pool = ThreadPool::new(3)?;
        for size in [None, Some(0), Some(1), Some(7), Some(100), Some(usize::MAX)] {
            let tasks: Vec<Echo> = (0..100).map(Echo::Number).collect();
            assert!(pool.map(tasks.clone(), size)? == tasks, "{size:?}");
        }
        assert!(pool.map(Vec::<Echo>::new(), None)?.is_empty());
        Ok(())
    }

    /// A task that returns its number. Task 0 waits until another thread opens the gate.
    #[derive(Serialize, Deserialize)]
    struct Gated(u32);

    static GATE: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

    impl fmt::Display for Gated {
        fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
            write!(f, "task {}", self.0)
        }
    }

    impl Task for Gated {
        const NAME: &'static str = "gated";
        type Output = u32;

        fn run(&self, _: Attempt) -> anyhow::Result<u32> {
            let (open, opened) = &GATE;
            let closed = |open: &mut bool| self.0 == 0 && !*open;
            let long = Duration::from_secs(60);
            let open = open.lock().expect("nobody panics");
            let waited = opened.wait_timeout_while(open, long, closed);
            let (_open, timeout) = waited.expect("nobody panics");
            anyhow::ensure!(!timeout.timed_out(), "the gate stays closed");
            Ok(self.0)
        }
    }

    #[test]
    fn outputs_come_before_that_of_a_task_that_takes_longer() -> anyhow::Result<()> {
        let pool = ThreadPool::new(2)?;
        let mut outputs = pool.imap_unordered((0..5).map(Gated).collect(), 1)?;
        for number in 1..5 {
            assert_eq!(outputs.next().transpose()?, Some(number));
        }
        *GATE.0.lock().expect("nobody panics") = true;
        GATE.1.notify_all();
        assert_eq!(outputs.next().transpose()?, Some(0));
        assert!(outputs.next().is_none());
        Ok(())
    }

    #[test]
    fn an_output_can_be_got_once() -> anyhow::Result<()> {
        let pool = ThreadPool::new(1)?;
        let result = pool.apply_async(Echo::Number(7))?;
        let long = Duration::from_secs(60);
        assert!(result.get_timeout(long)? == Some(Echo::Number(7)));
        assert!(result.get_timeout(long).is_err());
        Ok(())
    }
}
