//! Workers on many machines. Only the command that starts a worker is different.
//!
//! A worker reads tasks from its stdin and writes replies to its stdout. So it can run on any
//! machine on which a command can start it with these two streams connected. There are many such
//! commands:
//!
//! ```text
//! pool-demo remote --via "ssh node1" --via "ssh node2" --workers 4
//! pool-demo remote --via "srun -n1 -w node1" --via "docker exec -i box" --via ""
//! ```
//!
//! Python's `Pool` has no such option: its workers run on the master's machine.
//!
//! What to notice: a message to the worker and its reply may need 40 ms on the link. Then one task
//! at a time (`--chunk 1`) is at most 25 tasks a second, even if the worker is much faster. Without
//! `--chunk`, two things hide the link. Chunks grow until one takes 50 ms or more. And while the
//! worker works on one chunk, the next one is already under way.
//!
//! When a link is cut or silent, its tasks go back to the queue, and another worker runs them. The
//! master cannot know whether they have already run. So a task can run twice, and its effects must
//! be idempotent (see `crash`). But its result is counted only once. The master gives up the link
//! before it puts the tasks back, and then reads no more replies from it.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt, io,
    process::{Child, Command},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, bail, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::{
    apply_async::seconds,
    connection,
    output::{report_error, say},
    task::{Attempt, Task},
    timeline::{self, Bar},
    worker::{self, Reply},
};

/// The size of chunks is doubled while a chunk takes less than half of this time.
const CHUNK_TIME: Duration = Duration::from_millis(100);
/// The largest number of tasks in a chunk. Two such chunks fit into a pipe. So the master never
/// waits while it sends tasks, even if nothing reads them at the other end.
const MAX_CHUNK: usize = 2048;
/// How many chunks a worker has at once: one that it works on, and the next one.
const CHUNKS_UNDER_WAY: usize = 2;
/// At this failure, a link is given up. If a worker has finished a chunk before it fails, its
/// failure counts as the first.
const MAX_FAILURES: u32 = 3;

#[derive(Args)]
pub struct Options {
    /// A command that starts the program whose name is added to it, for example "ssh node1". With
    /// "", the worker is started on this machine. May be given several times.
    #[arg(long, default_value = "")]
    via: Vec<String>,

    /// How many workers are started by each --via.
    #[arg(long, default_value_t = 1, allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1000))]
    workers: u16,

    /// The path of pool-demo on the other machine [default: its path on this machine].
    #[arg(long)]
    program: Option<String>,

    /// How many tasks there are. Each counts the primes in a range of numbers.
    #[arg(long, default_value_t = 1000, allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    tasks: u32,

    /// How many numbers are in the range of each task.
    #[arg(long, default_value_t = 1000, allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    numbers: u32,

    /// How many tasks make a chunk [default: doubled while a chunk takes less than 50 ms].
    #[arg(long, allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=2048))]
    chunk: Option<u16>,

    /// A worker that sends nothing for this long is given up, even if it still works on a chunk.
    #[arg(long, default_value = "30", allow_negative_numbers = true, value_parser = seconds)]
    task_timeout: Duration,
}

/// A task: counts the primes in the `numbers` numbers from `first` on.
#[derive(Clone, Serialize, Deserialize)]
pub struct Primes {
    first: u32,
    numbers: u32,
}

impl fmt::Display for Primes {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "primes from {}", self.first)
    }
}

impl Task for Primes {
    const NAME: &'static str = "primes";
    type Output = u32;

    fn run(&self, _: Attempt) -> anyhow::Result<u32> {
        let end = self.first.saturating_add(self.numbers);
        // Not `d * d <= n`: the product may be larger than the largest `u32`.
        let prime = |&n: &u32| n > 1 && (2..).take_while(|d| *d <= n / d).all(|d| n % d != 0);
        Ok((self.first..end).filter(prime).count() as u32)
    }
}

pub fn run(options: &Options) -> anyhow::Result<u8> {
    let start = Instant::now();
    let job = Arc::new(Job::new(options));
    let mut threads = Vec::new();
    for via in &options.via {
        let words = words(via, options.program.as_deref())
            .with_context(|| format!("cannot start workers via {via:?}"))?;
        for _ in 0..options.workers {
            let (job, via, words) = (Arc::clone(&job), via.clone(), words.clone());
            let (chunk, task_timeout) = (options.chunk.map(usize::from), options.task_timeout);
            let run = move || {
                Link {
                    job,
                    via,
                    words,
                    chunk,
                    task_timeout,
                }
                .run()
            };
            threads.push(
                thread::Builder::new()
                    .spawn(run)
                    .context("cannot start a thread for a worker")?,
            );
        }
    }
    // Each thread ends when the job is done, or after too many failures.
    for thread in threads {
        thread.join().expect("a worker's thread does not panic");
    }
    report(&job.lock(), start.elapsed())
}

/// Prints the share of each worker, the timeline, and the sum of all results.
fn report(state: &State, took: Duration) -> anyhow::Result<u8> {
    let counts: Option<Vec<u32>> = state.results.iter().copied().collect();
    let (bars, tasks) = (&state.bars, state.results.len());
    let mut done: BTreeMap<&str, u32> = BTreeMap::new();
    state
        .shares
        .iter()
        .for_each(|(worker, tasks)| *done.entry(worker).or_default() += tasks);
    for (worker, done) in done {
        let rate = f64::from(done) / took.as_secs_f64();
        say!("{worker}: {done} tasks, {rate:.1} tasks per second")?;
    }
    timeline::draw(bars)?;
    let Some(counts) = counts else {
        let lost = state.results.iter().filter(|count| count.is_none()).count();
        bail!("{lost} of {tasks} tasks were not done: no worker is left");
    };
    let primes: u64 = counts.into_iter().map(u64::from).sum();
    let rate = tasks as f64 / took.as_secs_f64();
    say!("{tasks} tasks, each counted once: {primes} primes. {rate:.1} tasks per second.")?;
    Ok(0)
}

/// The words of the command that starts a worker. They are split as a shell would split them, but
/// no shell is used here. (`ssh` gives its words to a shell on the other machine.)
fn words(via: &str, program: Option<&str>) -> anyhow::Result<Vec<String>> {
    let mut words = shell_words::split(via)?;
    let local = std::env::current_exe()?;
    let program = program.map_or_else(|| local.to_string_lossy().into_owned(), str::to_owned);
    words.push(program);
    words.extend(worker::arguments(Primes::NAME).map(str::to_owned));
    Ok(words)
}

/// The size of the next chunks, after a chunk of `done` tasks has taken a time `took`.
fn next_size(size: usize, done: usize, took: Duration) -> usize {
    // A chunk with fewer tasks than `size` does not show how long a full one takes.
    if done == size && took < CHUNK_TIME / 2 {
        (size * 2).min(MAX_CHUNK)
    } else {
        size
    }
}

/// Counts a failure of a link, and returns the pause before the link is used once more: 400 ms after
/// the first failure, 1.6 s after the second. `None`: the link is given up.
fn pause_after_failure(failures: &mut u32, done_something: bool) -> Option<Duration> {
    *failures = if done_something { 1 } else { *failures + 1 };
    (*failures < MAX_FAILURES).then(|| Duration::from_millis(100 << (2 * *failures)))
}

/// What all links share: the tasks, which of them wait for a worker, and the results.
struct Job {
    tasks: Vec<Primes>,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// The queue: the indices of the tasks that no link has.
    waiting: VecDeque<usize>,
    /// How many tasks have no result yet.
    left: usize,
    /// The result of each task, in the tasks' order.
    results: Vec<Option<u32>>,
    bars: Vec<Bar>,
    /// For each chunk that is done: the worker, and how many tasks the chunk had.
    shares: Vec<(String, u32)>,
}

impl Job {
    fn new(options: &Options) -> Self {
        let numbers = options.numbers;
        let first = |n: u32| n.saturating_mul(numbers);
        let tasks = (0..options.tasks).map(|n| Primes {
            first: first(n),
            numbers,
        });
        let count = options.tasks as usize;
        Self {
            tasks: tasks.collect(),
            state: Mutex::new(State {
                waiting: (0..count).collect(),
                left: count,
                results: vec![None; count],
                bars: Vec::new(),
                shares: Vec::new(),
            }),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // `into_inner`: even if another thread has panicked while it held the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up to `size` tasks from the queue.
    fn take(&self, size: usize) -> Vec<usize> {
        let waiting = &mut self.lock().waiting;
        let size = size.min(waiting.len());
        waiting.drain(..size).collect()
    }

    /// Puts back into the queue the chunks that a worker did not finish.
    fn put_back(&self, chunks: impl IntoIterator<Item = Vec<usize>>) {
        self.lock().waiting.extend(chunks.into_iter().flatten());
        self.changed.notify_all();
    }

    /// Waits until a worker is needed, or until all tasks are done. Returns `true` when the time
    /// `pause` is over and the queue has a task. Returns `false` as soon as all tasks are done. An
    /// empty queue is not enough for that: tasks that other links have may be put back.
    fn wait(&self, pause: Duration) -> bool {
        let end = Instant::now() + pause;
        let mut state = self.lock();
        loop {
            let rest = end.saturating_duration_since(Instant::now());
            if state.left == 0 || (rest.is_zero() && !state.waiting.is_empty()) {
                return state.left > 0;
            }
            // After the pause, only `notify_all` ends the wait. But `wait_timeout` needs a limit:
            // an hour. After it, the loop waits again.
            let rest = if rest.is_zero() {
                Duration::from_secs(3600)
            } else {
                rest
            };
            let woken = self.changed.wait_timeout(state, rest);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Stores the results of a chunk. This is the only place that counts a task as done.
    fn finish(
        &self,
        worker: &str,
        chunk: &[usize],
        outcomes: Vec<Result<u32, String>>,
        took: Duration,
    ) -> anyhow::Result<()> {
        ensure!(outcomes.len() == chunk.len(), "it replied to other tasks");
        let counts: Result<Vec<u32>, String> = outcomes.into_iter().collect();
        let counts = counts.map_err(anyhow::Error::msg)?;
        let mut state = self.lock();
        for (&task, count) in chunk.iter().zip(counts) {
            state.results[task] = Some(count);
        }
        state.left -= chunk.len();
        state.shares.push((worker.to_owned(), chunk.len() as u32));
        state.bars.push(Bar {
            worker: worker.to_owned(),
            task: chunk[0] as u32,
            // By the master's clock, because the clock of the other machine may be wrong.
            began: SystemTime::now() - took,
            took,
        });
        if state.left == 0 {
            self.changed.notify_all();
        }
        Ok(())
    }
}

/// The command that starts a worker: `ssh`, for example. Dropping it kills and reaps the command.
///
/// A worker on another machine is not killed by this. There, `sshd` closes the worker's stdin when
/// it sees the end of the connection, and the worker ends. If the network is dead, `sshd` sees no
/// end. Then the worker stays until `sshd` itself gives up the connection (option
/// `ClientAliveInterval`).
struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the thread that reads from a worker has read.
enum Message {
    /// The greeting: the worker's host and process id.
    Ready(anyhow::Result<(String, u32)>),
    Reply(io::Result<Option<Reply<u32>>>),
}

/// The connection to one worker at a time, and all that is needed to start this worker.
struct Link {
    job: Arc<Job>,
    via: String,
    words: Vec<String>,
    chunk: Option<usize>,
    task_timeout: Duration,
}

impl Link {
    /// Starts a worker and gives it tasks. Starts another one when the worker or the link to it
    /// fails. Ends when the job is done, or after [`MAX_FAILURES`].
    fn run(&self) {
        let mut failures = 0;
        let mut pause = Duration::ZERO;
        while self.job.wait(pause) {
            // The chunks that were sent and have no outcome yet.
            let mut under_way = VecDeque::new();
            let mut done_something = false;
            let served = self.serve(&mut under_way, &mut done_something);
            let Err(error) = served else {
                continue;
            };
            // `serve` has returned, so a late reply of this worker is not read and cannot be
            // counted.
            self.job.put_back(under_way);
            let via = &self.via;
            let Some(next) = pause_after_failure(&mut failures, done_something) else {
                report_error(format_args!(
                    "via {via:?}: {error:#}; given up after {failures} failures"
                ));
                return;
            };
            pause = next;
            report_error(format_args!(
                "via {via:?}: {error:#}; once more in {pause:?}"
            ));
        }
    }

    /// Starts a worker and gives it tasks. Returns when the queue is empty and the worker has done
    /// all that it was sent.
    ///
    /// # Errors
    /// When the worker or the link to it fails. `under_way` then holds the chunks that are not
    /// done.
    fn serve(&self, under_way: &mut VecDeque<Vec<usize>>, done: &mut bool) -> anyhow::Result<()> {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]);
        let (child, connection) = connection::start(&mut command)
            .with_context(|| format!("cannot start {:?}", self.words[0]))?;
        // The command is killed when this function returns. (With `let _ = …`, it would be killed
        // here and now.)
        let _command = KillOnDrop(child);
        let (mut reader, mut writer) = connection.split();
        // A read from a pipe cannot have a time limit. A receive from a channel can. So another
        // thread reads, and sends what it has read through a channel.
        let (sender, messages) = mpsc::channel();
        let read = move || {
            let greeting = reader.receive_greeting(Primes::NAME);
            let mut more = greeting.is_ok();
            // A send fails if `serve` has returned. Then the command is killed, so its stdout ends.
            let _ = sender.send(Message::Ready(greeting));
            while more {
                let reply = reader.receive::<Reply<u32>>();
                more = matches!(reply, Ok(Some(_)));
                let _ = sender.send(Message::Reply(reply));
            }
        };
        thread::Builder::new()
            .spawn(read)
            .context("cannot start a thread")?;
        let receive = || match messages.recv_timeout(self.task_timeout) {
            Ok(message) => Ok(message),
            Err(RecvTimeoutError::Timeout) => bail!("silent for {:?}", self.task_timeout),
            Err(RecvTimeoutError::Disconnected) => bail!("the connection ended"),
        };
        let Message::Ready(greeting) = receive()? else {
            bail!("a reply came before the greeting");
        };
        let (host, id) = greeting?;
        let worker = format!("{host}/{id}");

        let mut size = self.chunk.unwrap_or(1);
        // With `--chunk`, a chunk is sent only after the outcomes of the one before.
        let at_once = if self.chunk.is_some() {
            1
        } else {
            CHUNKS_UNDER_WAY
        };
        loop {
            for _ in under_way.len()..at_once {
                let tasks = self.job.take(size);
                if tasks.is_empty() {
                    break;
                }
                let message: Vec<&Primes> = tasks.iter().map(|&n| &self.job.tasks[n]).collect();
                let sent = writer.send(&(1u8, message));
                // The chunk is added before `?` returns an error, so that `run` puts it back too.
                under_way.push_back(tasks);
                sent.with_context(|| format!("worker {worker} is lost"))?;
            }
            if under_way.is_empty() {
                // This closes the worker's stdin, so the worker ends. The next message is the end
                // of its stdout.
                drop(writer);
                receive()?;
                return Ok(());
            }
            match receive()? {
                Message::Reply(Ok(Some(Reply::Line(line)))) => say!("{line}")?,
                Message::Reply(Ok(Some(Reply::Outcomes(outcomes, took)))) => {
                    let chunk = under_way.front().context("it replied to no task")?;
                    self.job.finish(&worker, chunk, outcomes, took)?;
                    if self.chunk.is_none() {
                        size = next_size(size, chunk.len(), took);
                    }
                    under_way.pop_front();
                    *done = true;
                }
                Message::Reply(Ok(None)) => bail!("worker {worker} is gone"),
                Message::Reply(Err(error)) => {
                    return Err(error).with_context(|| format!("worker {worker} is lost"));
                }
                Message::Ready(_) => bail!("a second greeting"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::WorkerId;

    fn job(tasks: u32) -> Job {
        Job::new(&Options {
            via: Vec::new(),
            workers: 1,
            program: None,
            tasks,
            numbers: 1,
            chunk: None,
            task_timeout: Duration::ZERO,
        })
    }

    const SHORT: Duration = Duration::from_millis(1);

    /// Long enough for a slow and busy machine.
    const LIMIT: Duration = Duration::from_secs(20);

    /// Calls [`Job::wait`] in another thread. If it does not return, that is a failure of the test,
    /// and no hang.
    fn wait(job: &Arc<Job>, pause: Duration) -> mpsc::Receiver<bool> {
        let (begins, begun) = mpsc::channel();
        let (sender, goes_on) = mpsc::channel();
        let job = Arc::clone(job);
        thread::spawn(move || {
            begins.send(()).expect("the test waits");
            sender.send(job.wait(pause))
        });
        begun.recv().expect("the thread is started");
        goes_on
    }

    #[test]
    fn the_largest_prime_number_of_32_bits_is_found() {
        let attempt = Attempt {
            worker: WorkerId::Process(1),
            number: 1,
            print: &|_| Ok(()),
        };
        let count = |first, numbers| Primes { first, numbers }.run(attempt).ok();
        assert_eq!(count(0, 30), Some(10));
        assert_eq!(count(u32::MAX - 4, 9), Some(1));
    }

    #[test]
    fn a_link_is_given_up_at_its_third_failure_in_a_row() {
        let pauses = |done: &[bool]| {
            let mut failures = 0;
            let pause = |&done| pause_after_failure(&mut failures, done);
            let pauses = done.iter().map(pause);
            Vec::from_iter(pauses.map(|pause| pause.map_or(0, |pause| pause.as_millis())))
        };
        assert_eq!(pauses(&[false; 3]), [400, 1600, 0]);
        // If a chunk was done, this is the first failure again.
        let done = [false, false, true, false, true, false, false];
        assert_eq!(pauses(&done), [400, 1600, 400, 1600, 400, 1600, 0]);
    }

    #[test]
    fn a_link_whose_command_cannot_be_started_fails() {
        let link = Link {
            job: Arc::new(job(1)),
            via: "no-such-command-here".to_owned(),
            words: vec!["no-such-command-here".to_owned()],
            chunk: None,
            task_timeout: LIMIT,
        };
        let served = link.serve(&mut VecDeque::new(), &mut false);
        let error = served.expect_err("there is no such command");
        assert_eq!(error.to_string(), r#"cannot start "no-such-command-here""#);
    }

    #[test]
    fn a_chunk_doubles_until_it_takes_long_or_is_very_large() {
        assert_eq!(next_size(1, 1, SHORT), 2);
        assert_eq!(next_size(64, 64, CHUNK_TIME / 3), 128);
        assert_eq!(next_size(64, 64, CHUNK_TIME / 2), 64);
        assert_eq!(next_size(64, 7, SHORT), 64, "it was not full");
        assert_eq!(next_size(MAX_CHUNK, MAX_CHUNK, SHORT), MAX_CHUNK);
    }

    #[test]
    fn tasks_are_taken_in_order_and_what_is_put_back_is_taken_again() {
        let job = job(5);
        let first = job.take(2);
        assert_eq!(first, [0, 1]);
        assert_eq!(job.take(2), [2, 3]);
        job.put_back([first]);
        assert_eq!(job.take(9), [4, 0, 1]);
        assert_eq!(job.take(9), [0; 0]);
    }

    #[test]
    fn a_job_waits_for_the_pause_and_for_tasks_and_is_over_when_all_are_done() {
        let job = Arc::new(job(2));
        let (start, pause) = (Instant::now(), Duration::from_millis(50));
        let goes_on = wait(&job, pause).recv_timeout(LIMIT);
        assert_eq!(goes_on, Ok(true), "there is something to take");
        assert!(start.elapsed() >= pause);
        let chunk = job.take(2);
        let wrong = job.finish("worker", &chunk, vec![Ok(1)], SHORT);
        assert!(wrong.is_err(), "two tasks have one outcome");
        job.finish("worker", &chunk, vec![Ok(7), Ok(8)], SHORT)
            .expect("each has its outcome");
        assert_eq!(job.lock().left, 0);
        assert!(!job.wait(Duration::ZERO), "all is done");
        let state = job.lock();
        assert_eq!(state.results, [Some(7), Some(8)]);
        assert_eq!(state.shares, [("worker".to_owned(), 2)]);
        assert!(state.bars[0].began + SHORT <= SystemTime::now());
    }

    #[test]
    fn a_link_that_waits_for_tasks_learns_that_all_are_done() {
        let job = Arc::new(job(2));
        let chunk = job.take(2);
        let goes_on = wait(&job, Duration::ZERO);
        // The link waits soon, if not now.
        (0..1000).for_each(|_| thread::yield_now());
        job.finish("worker", &chunk, vec![Ok(1), Ok(2)], SHORT)
            .expect("each has its outcome");
        assert_eq!(goes_on.recv_timeout(LIMIT), Ok(false));
    }
}
