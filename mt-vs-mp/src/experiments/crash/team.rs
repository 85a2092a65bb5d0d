//! Four workers, of which one crashes while the others are in the middle of their work.
//!
//! Nothing is left to chance: all workers do half of their work; then the one crashes; only when
//! its end has been seen do the others go on with the second half.

use std::{
    sync::{Barrier, RwLock, mpsc},
    thread,
};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::ending::ENDINGS;
use crate::{
    lab::role::{Answer, Partner, Role, receive_from_parent, tell_parent},
    work::count_primes,
};

/// The workers besides the one that crashes.
pub const OTHERS: usize = 3;

/// What the master saw, if it lived to tell.
#[derive(Debug, Serialize, Deserialize)]
pub struct Seen {
    /// How the worker's end was seen.
    pub end: Option<String>,
    /// How many of the others' results were right and there.
    pub results: usize,
}

/// Threads of this process, one of which comes to an end of this number if there is one.
/// `in_the_middle` is called when all have done half of their work.
pub fn threads(
    workers: usize,
    ending: Option<usize>,
    in_the_middle: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<Seen> {
    #[cfg(windows)]
    if ending.is_some() {
        end_when_stuck();
    }
    let others = workers - usize::from(ending.is_some());
    let half_done = Barrier::new(workers + 1);
    let gate = RwLock::new(());
    let (crash, told_to_crash) = mpsc::channel::<()>();
    thread::scope(|scope| {
        // It opens when this is dropped, also by a panic: nobody waits for ever.
        let closed = gate.write();
        let other = || {
            let half = half();
            half_done.wait();
            drop(gate.read());
            half + other_half()
        };
        let others: Vec<_> = (0..others).map(|_| scope.spawn(other)).collect();
        let crashing = ending.map(|ending| {
            let half_done = &half_done;
            scope.spawn(move || {
                half();
                half_done.wait();
                if told_to_crash.recv().is_ok() {
                    ENDINGS[ending].happen();
                }
            })
        });
        half_done.wait();
        let middle = in_the_middle();
        if middle.is_ok() {
            // Nobody receives it in a team without a crash.
            let _ = crash.send(());
        }
        drop(crash);
        // Only a panic lets this return.
        let end = crashing.and_then(|thread| thread.join().err());
        drop(closed);
        let results = others.into_iter().filter_map(|other| other.join().ok());
        let results = results.filter(|&primes| primes == PRIMES).count();
        middle?;
        let end = end.map(|_| "join: it panicked".to_owned());
        Ok(Seen { end, results })
    })
}

/// Under Wine a stack overflow ends its thread alone, and nobody notices: then this process,
/// which waits for that thread, has to end too. (On Unix every trial has an alarm.)
#[cfg(windows)]
fn end_when_stuck() {
    const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);
    thread::spawn(|| {
        thread::sleep(PATIENCE);
        std::process::exit(124);
    });
}

/// The first of the processes has the worker that crashes.
pub fn processes(processes: usize, threads: usize, ending: usize) -> anyhow::Result<Seen> {
    let mut team = (0..processes)
        .map(|n| WORKER.start(&(threads, (n == 0).then_some(ending))))
        .collect::<anyhow::Result<Vec<Partner>>>()?;
    for process in &mut team {
        process.expect::<()>()?;
    }
    let (first, others) = team.split_first_mut().context("there are some")?;
    first.tell(&())?;
    let mut seen = match first.receive::<Answer<Seen>>()? {
        // A thread of it crashed, and it lives to tell.
        Some(seen) => seen?,
        None => Seen {
            end: Some(format!(
                "wait: {}",
                first.wait().context("cannot wait for it")?
            )),
            results: 0,
        },
    };
    for other in others {
        other.tell(&())?;
        seen.results += other.finish::<Seen>()?.results;
    }
    Ok(seen)
}

/// A process of the team: of one worker, or of several threads.
pub static WORKER: Role<(usize, Option<usize>), Seen> = Role {
    name: "crash-worker",
    play: |(workers, ending)| {
        // Half is done: the master decides when it goes on.
        let in_the_middle = || {
            tell_parent(&())?;
            receive_from_parent::<()>()?.context("the master is gone")
        };
        if workers > 1 {
            return threads(workers, ending, in_the_middle);
        }
        let half = half();
        in_the_middle()?;
        if let Some(ending) = ending {
            ENDINGS[ending].happen();
        }
        let results = usize::from(half + other_half() == PRIMES);
        Ok(Seen { end: None, results })
    },
};

/// How many primes both halves have together: <https://oeis.org/A000720>.
const PRIMES: u32 = 4203;

fn half() -> u32 {
    count_primes(0..20_000)
}

fn other_half() -> u32 {
    count_primes(20_000..40_000)
}
