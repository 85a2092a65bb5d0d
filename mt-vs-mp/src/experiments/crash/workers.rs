//! Four workers, one of which crashes while the others are in the middle of their work.
//!
//! Nothing is left to chance:
//!
//! ```text
//!                      half done   may crash                  may go on
//! the crashing worker  waits       waits, then crashes
//! the others           wait                                   wait, then do the second half
//! the master           waits       waits, then sees that end  waits, then counts the results
//! ```
//!
//! Each worker tells the master that half of its work is done: a thread by a channel, a process by
//! its stdout. The master's answer means "may crash" to the first worker and "may go on" to the
//! others.

use std::{process, sync::mpsc, thread};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::ending::ENDINGS;
use crate::{
    lab::role::{Answer, Partner, Role, receive_from_parent, tell_parent},
    work::count_primes,
};

/// How many workers there are besides the one that crashes.
pub const OTHERS: usize = 3;

/// What a process saw of its workers: the master, or a worker process.
#[derive(Serialize, Deserialize)]
pub struct Seen {
    /// How the crashed worker's end was seen.
    pub end: Option<String>,
    /// How many of the others' results were right.
    pub results: usize,
}

/// Runs the workers of this process, each as a thread: `others` that do not crash, and one that
/// crashes, if `crash` is a row of [`ENDINGS`]. When all have done half of their work, it calls
/// `in_the_middle`. The crash comes after that. (The master of threads calls this, and so does each
/// worker process of several threads.)
pub fn threads(others: usize, crash: Option<usize>, in_the_middle: fn()) -> anyhow::Result<Seen> {
    #[cfg(windows)]
    if crash.is_some() {
        end_when_stuck();
    }
    let (half_done, halves) = mpsc::channel();
    thread::scope(|scope| {
        // If this fails for one worker, the channels of those before it are closed: they end.
        let start = |crash: Option<usize>| {
            let half_done = half_done.clone();
            let (go_on, may_go_on) = mpsc::channel();
            let work = move || {
                let primes = first_half();
                half_done.send(()).ok()?;
                may_go_on.recv().ok()?;
                if let Some(ending) = crash {
                    ENDINGS[ending].happen();
                }
                Some(primes + second_half())
            };
            let thread = thread::Builder::new().spawn_scoped(scope, work);
            anyhow::Ok((go_on, thread.context("cannot start a thread")?))
        };
        let crashing = crash.map(|ending| start(Some(ending))).transpose()?;
        let others: Vec<_> = (0..others).map(|_| start(None)).collect::<Result<_, _>>()?;
        for _ in crashing.iter().chain(&others) {
            halves.recv()?;
        }
        in_the_middle();
        let mut end = None;
        if let Some((may_crash, thread)) = crashing {
            may_crash.send(())?;
            // This process survives only a panic. After any other crash, nothing below is done.
            if thread.join().is_err() {
                end = Some("join: it panicked".to_owned());
            }
        }
        for (may_go_on, _) in &others {
            may_go_on.send(())?;
        }
        let sums = others.into_iter().map(|(_, thread)| thread.join().ok());
        let results = sums.filter(|&sum| sum == Some(Some(PRIMES))).count();
        Ok(Seen { end, results })
    })
}

/// Under Wine, a stack overflow ends only its thread, and the thread that waits for it is not told.
/// So the process ends itself. (On Unix every trial has an alarm.)
#[cfg(windows)]
fn end_when_stuck() {
    const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);
    thread::spawn(|| {
        thread::sleep(PATIENCE);
        process::exit(124);
    });
}

/// Starts a worker process for each number in `others_in_each`: so many workers of that process do
/// not crash. The first process has one more worker, which crashes: `ending` is the row of
/// [`ENDINGS`].
pub fn processes(others_in_each: &[usize], ending: usize) -> anyhow::Result<Seen> {
    let mut partners: Vec<Partner> = Vec::new();
    for (number, &others) in others_in_each.iter().enumerate() {
        let crash = (number == 0).then_some(ending);
        partners.push(WORKER.start(&Part { others, crash })?);
    }
    for partner in &mut partners {
        // It says that half of its work is done.
        partner.expect::<()>()?;
    }
    let (first, rest) = partners.split_first_mut().context("there is no process")?;
    // It may crash.
    first.tell(&())?;
    let mut seen = match first.receive::<Answer<Seen>>()? {
        // A thread of it crashed, and the process lives on.
        Some(answer) => answer?,
        None => {
            let status = first.wait().context("cannot wait for the first process")?;
            let end = Some(format!("wait: {status}"));
            Seen { end, results: 0 }
        }
    };
    for other in rest {
        // It may go on.
        other.tell(&())?;
        seen.results += other.finish::<Seen>()?.results;
    }
    Ok(seen)
}

/// The workers of one process: see [`threads`].
#[derive(Serialize, Deserialize)]
pub struct Part {
    others: usize,
    crash: Option<usize>,
}

/// A worker process. A single worker is the process itself; several workers are its threads.
pub static WORKER: Role<Part, Seen> = Role {
    name: "crash-worker",
    play: |Part { others, crash }| {
        if others + usize::from(crash.is_some()) > 1 {
            return threads(others, crash, wait_for_the_master);
        }
        let primes = first_half();
        wait_for_the_master();
        if let Some(ending) = crash {
            ENDINGS[ending].happen();
        }
        let results = usize::from(primes + second_half() == PRIMES);
        Ok(Seen { end: None, results })
    },
};

/// Tells the master that half of the work is done, and waits until the master answers.
fn wait_for_the_master() {
    let answer = tell_parent(&()).and_then(|()| receive_from_parent::<()>());
    if !matches!(answer, Ok(Some(()))) {
        // The master is gone, and nobody else wants the results.
        process::exit(1);
    }
}

/// How many primes both halves have together: <https://oeis.org/A000720>.
const PRIMES: u32 = 4203;

fn first_half() -> u32 {
    count_primes(0..20_000)
}

fn second_half() -> u32 {
    count_primes(20_000..40_000)
}
