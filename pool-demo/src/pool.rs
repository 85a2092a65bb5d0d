//! What both kinds of pool can do, under the names of Python's `multiprocessing.Pool`.
//!
//! A pool is a queue of jobs and some workers. A [`Job`] is a function that is called with the
//! first worker that is free, and gives it tasks. A job of `apply_async` has one task. A job of
//! `map` or `imap_unordered` takes many. These three only put jobs into the queue. So they are
//! written only once, for processes and threads alike.

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

/// What runs tasks: a thread, or a process together with its thread in the master.
pub trait Worker<T: Task> {
    /// Runs tasks, one after the other, and returns the outcome of each.
    ///
    /// # Errors
    /// When the pool has ended, or has to end now. The failure of a task is no such error: it is
    /// the [`Outcome`] of this task.
    fn run(&mut self, tasks: &[T]) -> anyhow::Result<Vec<Outcome<T>>>;
}

/// A function that is called once, with a worker. A job owns the sender of a channel, by which it
/// sends its results. When the pool ends, it drops the jobs that are left, and so their senders:
/// the channel ends, and its receiver does not wait any longer.
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

    /// Ends the pool at once. Tasks that wait in the queue will not run. A worker process is
    /// killed, and the task that it runs is lost. A thread cannot be killed: the task that it runs
    /// goes on to its end.
    fn terminate(&mut self);

    /// Waits until every job is done and every worker process has ended. (Workers that are threads
    /// end when the pool is dropped.)
    ///
    /// # Errors
    /// When the pool is not closed: its workers would wait for jobs for ever, and `join` would wait
    /// for the workers. When the pool has ended because of an error: returns this error.
    fn join(&mut self) -> anyhow::Result<()>;

    /// Gives a task to the pool, and does not wait for its outcome.
    ///
    /// # Errors
    /// When the pool is closed, or has ended.
    fn apply_async(&self, task: T) -> anyhow::Result<AsyncResult<T>> {
        let (reply, outcome) = oneshot::channel();
        self.submit(Box::new(move |worker| {
            // `from_ref` makes a list of this one task. Its outcomes are a list of one, too.
            let outcome = worker.run(slice::from_ref(&task))?.pop();
            let outcome = outcome.context("a worker gave no outcome")?;
            // This fails if the caller has dropped the `AsyncResult`, which is no error.
            let _ = reply.send(outcome);
            Ok(())
        }))?;
        Ok(AsyncResult(outcome))
    }

    /// Runs all tasks, and returns their outputs in the tasks' order.
    ///
    /// A worker gets `chunk_size` tasks at a time, which saves messages. If `chunk_size` is `None`,
    /// [`default_chunk_size`] chooses the size.
    ///
    /// # Errors
    /// When a task has failed. All tasks run nevertheless. If several have failed, it returns the
    /// error of the one that comes first in `tasks`. And when the pool is closed, or has ended.
    fn map(&self, tasks: Vec<T>, chunk_size: Option<usize>) -> anyhow::Result<Vec<T::Output>> {
        let chosen = || default_chunk_size(tasks.len(), self.workers());
        let chunk_size = chunk_size.unwrap_or_else(chosen);
        let shared = Arc::new(SharedTasks::new(tasks, chunk_size));
        // One job for each worker, however many tasks there are. Each job takes chunks of tasks,
        // one after the other, until no chunk is left.
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
            // This fails if the job was dropped before it sent its end.
            end.recv().ok().context(LOST)?;
        }
        let outcomes = mem::take(&mut *shared.outcomes()).into_iter();
        let output = |outcome: Option<Outcome<T>>| outcome.context(LOST)?.map_err(|e| anyhow!(e));
        outcomes.map(output).collect()
    }

    /// Runs all tasks, and returns an iterator over their outputs, in the order in which they come.
    ///
    /// A worker gets `chunk_size` tasks at a time. Their outputs come together, when the last of
    /// these tasks is done.
    ///
    /// # Errors
    /// When the pool is closed, or has ended.
    fn imap_unordered(&self, tasks: Vec<T>, chunk_size: usize) -> anyhow::Result<Unordered<T>> {
        let shared = Arc::new(SharedTasks::new(tasks, chunk_size));
        let (results, outcomes) = mpsc::channel();
        for _ in 0..self.workers() {
            // A sender for each job. Our own sender, `results`, is dropped when this function
            // returns. When all jobs have ended too, the channel has no sender any more. So a
            // receiver that waits for a result that cannot come gets an error.
            let (shared, results) = (Arc::clone(&shared), results.clone());
            self.submit(Box::new(move |worker| {
                while let Some(chunk) = shared.next_chunk() {
                    for outcome in worker.run(&shared.tasks[chunk])? {
                        // This fails if the caller has dropped the iterator, which is no error.
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

/// An iterator over the outputs of tasks, as they come. It gives one result for each task, and then
/// ends. A result is an error if the task failed, or if the pool ended before the task did.
pub struct Unordered<T: Task> {
    outcomes: mpsc::Receiver<Outcome<T>>,
    /// How many results have not come yet.
    left: usize,
}

impl<T: Task> Iterator for Unordered<T> {
    type Item = anyhow::Result<T::Output>;

    fn next(&mut self) -> Option<Self::Item> {
        // The iterator ends by counting, and not by the end of the channel.
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let outcome = self.outcomes.recv().ok().context(LOST);
        Some(outcome.and_then(|outcome| outcome.map_err(|reason| anyhow!(reason))))
    }
}

/// A chunk size with which each worker gets about four chunks. That takes few messages. And the
/// chunks are small enough: at the end, no worker is idle for long while another one finishes its
/// last chunk. (Python's `Pool` has the same rule.)
pub fn default_chunk_size(tasks: usize, workers: usize) -> usize {
    tasks.div_ceil(4 * workers)
}

const LOST: &str = "the pool ended before the task did";

/// The outcome of a task that may not have ended yet.
pub struct AsyncResult<T: Task>(oneshot::Receiver<Outcome<T>>);

impl<T: Task> AsyncResult<T> {
    /// Waits until the task has ended.
    ///
    /// # Errors
    /// When the task failed, and when the pool ended before the task did.
    pub fn get(self) -> anyhow::Result<T::Output> {
        let outcome = self.0.recv().ok().context(LOST)?;
        outcome.map_err(|reason| anyhow!(reason))
    }

    /// Waits until the task has ended, but not longer than `limit`. Returns `None` if it has not
    /// ended by then. The output can be got only once: every later call is an error.
    ///
    /// # Errors
    /// When the task failed, and when the pool ended before the task did.
    pub fn get_timeout(&self, limit: Duration) -> anyhow::Result<Option<T::Output>> {
        match self.0.recv_timeout(limit) {
            Ok(outcome) => outcome.map(Some).map_err(|reason| anyhow!(reason)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(anyhow!(LOST)),
        }
    }
}

/// What the jobs of one `map` or `imap_unordered` share: the tasks, and how many are taken.
struct SharedTasks<T: Task> {
    tasks: Vec<T>,
    chunk_size: usize,
    /// The index of the first task that no job has taken.
    next: AtomicUsize,
    /// For `map` only: a place for each task's outcome, in the tasks' order.
    outcomes: Mutex<Vec<Option<Outcome<T>>>>,
}

impl<T: Task> SharedTasks<T> {
    fn new(tasks: Vec<T>, chunk_size: usize) -> Self {
        Self {
            outcomes: Mutex::new(tasks.iter().map(|_| None).collect()),
            // At least 1: a chunk of 0 tasks would look like the end. And at most as many as there
            // are tasks: `next_chunk` adds this size again and again, and must not overflow.
            chunk_size: chunk_size.clamp(1, tasks.len().max(1)),
            tasks,
            next: AtomicUsize::new(0),
        }
    }

    /// Takes the next chunk, as a range of indices. Returns `None` if no task is left.
    fn next_chunk(&self) -> Option<Range<usize>> {
        // Reads and adds in one step, so no two jobs take the same chunk.
        let first = self.next.fetch_add(self.chunk_size, Relaxed);
        let end = self.tasks.len().min(first + self.chunk_size);
        if first < end { Some(first..end) } else { None }
    }

    /// Stores the outcomes of a chunk.
    fn put(&self, chunk: Range<usize>, outcomes: Vec<Outcome<T>>) {
        for (place, outcome) in self.outcomes()[chunk].iter_mut().zip(outcomes) {
            *place = Some(outcome);
        }
    }

    fn outcomes(&self) -> MutexGuard<'_, Vec<Option<Outcome<T>>>> {
        // `into_inner`: even if another thread has panicked while it held the lock.
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

    #[test]
    fn every_task_is_in_one_chunk_and_no_chunk_is_empty() {
        let tasks = (0..6).map(Echo::Number).collect();
        let shared = SharedTasks::new(tasks, 2);
        // One more than there are.
        let chunks = [(); 4].map(|()| shared.next_chunk());
        assert_eq!(chunks, [Some(0..2), Some(2..4), Some(4..6), None]);
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
        // One of them waits at the gate.
        assert_eq!(Pool::<Gated>::workers(&pool), 2);
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
