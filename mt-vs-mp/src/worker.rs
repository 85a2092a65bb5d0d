//! A worker process: this same program, started again to do the tasks that arrive on its stdin.
//!
//! A task is a line with two numbers, its result a line with one: nothing that could not be typed
//! by hand. When its stdin ends, because the master is done with it or dead, the worker ends.

use std::{
    env,
    ffi::OsStr,
    io::{self, BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, anyhow, ensure};

use crate::job::{self, Task};

/// As the first argument, it tells this program that it is a worker.
const WORKER: &str = "--worker";

/// The master's side of a worker process. Dropping it ends the worker, and waits for that.
pub struct Worker {
    child: Child,
    /// `None` only while the worker is being ended.
    tasks: Option<ChildStdin>,
    results: BufReader<ChildStdout>,
}

impl Worker {
    pub fn start() -> anyhow::Result<Self> {
        let mut child = Command::new(env::current_exe()?)
            .arg(WORKER)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let tasks = child.stdin.take();
        let results = BufReader::new(child.stdout.take().context("its output is a pipe")?);
        Ok(Self {
            child,
            tasks,
            results,
        })
    }

    /// Starts a worker, with a task to begin with.
    pub fn start_with(task: Task) -> anyhow::Result<Self> {
        let mut worker = Self::start().context("cannot start a worker")?;
        worker.begin(task)?;
        Ok(worker)
    }

    /// Has the worker do a task, and waits for the result.
    ///
    /// # Errors
    /// When the worker dies first.
    pub fn run(&mut self, task: Task) -> anyhow::Result<u32> {
        self.begin(task)?;
        self.result()
    }

    fn begin(&mut self, task: Task) -> anyhow::Result<()> {
        let mut tasks = self.tasks.as_ref().context("the worker is being ended")?;
        writeln!(tasks, "{} {}", task.start, task.end).with_context(|| self.died())
    }

    /// Waits for the result of the task that the worker has begun.
    pub fn result(&mut self) -> anyhow::Result<u32> {
        let mut line = String::new();
        self.results
            .read_line(&mut line)
            .with_context(|| self.died())?;
        line.trim_end().parse().with_context(|| self.died())
    }

    fn died(&self) -> String {
        format!("worker {} ended in the middle of its work", self.child.id())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // In this order: the worker ends when its input does, and not before.
        self.tasks = None;
        let _ = self.child.wait();
    }
}

/// In a worker process: does the tasks that come, until no more can come. Anywhere else: `None`.
pub fn serve_if_worker() -> Option<anyhow::Result<u8>> {
    (env::args_os().nth(1).as_deref() == Some(OsStr::new(WORKER))).then(serve)
}

fn serve() -> anyhow::Result<u8> {
    for line in io::stdin().lines() {
        let task = parse(&line.context("cannot receive a task")?)?;
        let result = job::count_primes(task);
        // A master that is gone waits for no result.
        if writeln!(io::stdout(), "{result}").is_err() {
            break;
        }
    }
    Ok(0)
}

fn parse(line: &str) -> anyhow::Result<Task> {
    let (start, end) = line
        .split_once(' ')
        .with_context(|| format!("{line:?} is no task"))?;
    let task = start.parse()?..end.parse()?;
    ensure!(task.start <= task.end, anyhow!("{line:?} is no task"));
    Ok(task)
}
