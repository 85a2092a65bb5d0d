//! What can go wrong with a task or with a pool, and which errors the calls then return.
//!
//! Mirrors Python's `result.get()` and `result.get(timeout=0.05)`, which raise in the master what
//! was raised in the worker. Run it with `cargo run -p pool-demo -- errors`, and again with
//! `--backend thread`.
//!
//! What to notice: a task that fails, or even panics, does not harm the other tasks. Its worker
//! goes on: the same worker runs the tasks before and after it. (On stderr, Rust also prints where
//! the panic happened.)

use std::{fmt, thread, time::Duration};

use anyhow::bail;
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::{
    backend::Backend,
    output::say,
    task::{Attempt, Task},
};

#[derive(Args)]
pub struct Options {
    /// The kind of workers.
    #[arg(long, value_enum, default_value_t = Backend::Process)]
    backend: Backend,
}

/// A task, named after what goes wrong with it.
#[derive(Serialize, Deserialize)]
pub enum Trouble {
    None,
    Fails,
    Panics,
    TakesLong(Duration),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::None => "the good task",
            Self::Fails => "the bad task",
            Self::Panics => "the worse task",
            Self::TakesLong(_) => "the long task",
        })
    }
}

impl Task for Trouble {
    const NAME: &'static str = "trouble";
    /// The worker's id, which shows whether it is still the same worker.
    type Output = String;

    fn run(&self, attempt: Attempt) -> anyhow::Result<String> {
        match self {
            Self::None => {}
            Self::Fails => bail!("what it needs is not there"),
            Self::Panics => panic!("it was not written for this"),
            Self::TakesLong(duration) => thread::sleep(*duration),
        }
        Ok(attempt.worker.to_string())
    }
}

pub fn run(options: &Options) -> anyhow::Result<u8> {
    failing_tasks(options.backend)?;
    late_results(options.backend)?;
    wrong_calls(options.backend)?;
    an_early_end(options.backend)?;
    Ok(0)
}

/// The pool has only one worker, which runs all these tasks.
fn failing_tasks(backend: Backend) -> anyhow::Result<()> {
    let pool = backend.pool(1)?;
    for trouble in [
        Trouble::None,
        Trouble::Fails,
        Trouble::Panics,
        Trouble::None,
    ] {
        match pool.apply_async(trouble)?.get() {
            Ok(worker) => say!("get returned: worker {worker} has done it")?,
            Err(error) => say!("get failed: {error:#}")?,
        }
    }
    // `map` has one result for all tasks. So it is an error if one task fails, though all have run.
    let tasks = vec![Trouble::None, Trouble::Panics, Trouble::None];
    if let Err(error) = pool.map(tasks, None) {
        say!("map failed: {error:#}")?;
    }
    Ok(())
}

/// `get_timeout` waits only for a limited time.
fn late_results(backend: Backend) -> anyhow::Result<()> {
    let pool = backend.pool(1)?;
    let result = pool.apply_async(Trouble::TakesLong(Duration::from_millis(500)))?;
    match result.get_timeout(Duration::from_millis(50))? {
        Some(_) => say!("get_timeout returned already")?,
        None => say!("get_timeout returned nothing yet: 50 ms were too short")?,
    }
    result.get()?;
    say!("get returned after all")
}

/// `join` before `close`, and `apply_async` after it.
fn wrong_calls(backend: Backend) -> anyhow::Result<()> {
    let mut pool = backend.pool(1)?;
    if let Err(error) = pool.join() {
        say!("join failed: {error:#}")?;
    }
    pool.close();
    if let Err(error) = pool.apply_async(Trouble::None) {
        say!("apply_async failed: {error:#}")?;
    }
    pool.join()
}

/// A pool that is terminated does not run the tasks that still wait.
fn an_early_end(backend: Backend) -> anyhow::Result<()> {
    let duration = match backend {
        Backend::Process => Duration::from_secs(3600),
        // A thread cannot be killed, so `join` waits until this task has ended.
        Backend::Thread => Duration::from_millis(200),
    };
    let mut pool = backend.pool(1)?;
    let _running = pool.apply_async(Trouble::TakesLong(duration))?;
    let waiting = pool.apply_async(Trouble::None)?;
    pool.terminate();
    pool.join()?;
    if let Err(error) = waiting.get() {
        say!("get failed: {error:#}")?;
    }
    Ok(())
}
