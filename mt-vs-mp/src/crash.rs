//! One of four workers aborts while the other three are in the middle of their work.
//!
//! The notes say that a crashed child process leaves the others alone, and that a crashed thread
//! takes the whole process with it.
//!
//! The master runs in a process of its own, for it may not survive. It prints a line for each
//! result that reaches it.

use std::{process, thread};

use anyhow::{bail, ensure};
use comfy_table::{Table, presets};

use crate::{
    job,
    lab::{self, Trial},
    output::say,
    worker::Worker,
};

/// The workers besides the one that aborts.
const OTHERS: u32 = 3;

pub const TRIAL: (&str, Trial) = ("crash", |variant| match variant {
    "threads" => threads(),
    "processes" => processes(),
    "abort" => process::abort(),
    _ => bail!("the workers are threads or processes, not {variant:?}"),
});

pub fn run() -> anyhow::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["workers are", "the master", "results of the others"]);
    for variant in ["threads", "processes"] {
        let trial = lab::try_out(TRIAL.0, variant)?;
        let results = String::from_utf8_lossy(&trial.stdout).lines().count();
        let master = match trial.status.code() {
            Some(0) => "goes on".to_owned(),
            Some(1) => bail!(
                "the trial failed: {}",
                String::from_utf8_lossy(&trial.stderr)
            ),
            // "signal: 6 (SIGABRT)"; on Windows, a code of many digits.
            _ => format!("died: {}", trial.status),
        };
        table.add_row([variant.to_owned(), master, format!("{results} of {OTHERS}")]);
    }
    say!(
        "One of {} workers aborts: does it take the others with it? The notes: a thread does.",
        OTHERS + 1
    )?;
    say!("{table}")
}

/// The master's work when its workers are threads.
fn threads() -> anyhow::Result<u8> {
    thread::scope(|scope| {
        let others: Vec<_> = tasks()
            .map(|task| scope.spawn(|| job::count_primes(task)))
            .collect();
        // The crash. No thread comes back from it, this one included.
        let crashed = scope.spawn(|| process::abort()).join();
        ensure!(crashed.is_err(), "the worker should have aborted");
        for other in others {
            say!("{}", other.join().expect("counting does not panic"))?;
        }
        Ok(0)
    })
}

/// The same when they are processes.
fn processes() -> anyhow::Result<u8> {
    let mut others = tasks()
        .map(Worker::start_with)
        .collect::<anyhow::Result<Vec<_>>>()?;
    let crashed = lab::try_out(TRIAL.0, "abort")?;
    ensure!(!crashed.status.success(), "the worker should have aborted");
    for other in &mut others {
        say!("{}", other.result()?)?;
    }
    Ok(0)
}

/// What the other workers are busy with when it happens.
fn tasks() -> impl Iterator<Item = job::Task> {
    job::tasks().take(OTHERS as usize)
}
