//! Master–Worker: one holds the tasks and adds up the results, the others work.
//!
//! Who is done with a task takes the next one from the common pile, so that all are busy until the
//! pile is empty.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    thread,
};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::{
    lab::role::{Peer, Process, hear_parent, tell_parent},
    work::{Kind, Size, Task},
};

/// Who does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Crew {
    /// The master itself, one task after the other: what the others are measured against.
    Serial,
    Threads(usize),
    Processes(usize),
    /// Processes of several threads each.
    Hybrid {
        processes: usize,
        threads: usize,
    },
}

impl Crew {
    /// So many workers by so many processes as come next to as many threads in each.
    pub fn hybrid(workers: usize) -> Self {
        let divides = |n: &usize| workers.is_multiple_of(*n) && n * n <= workers;
        let processes = (1..=workers).rev().find(divides).unwrap_or(1);
        Self::Hybrid {
            processes,
            threads: workers / processes,
        }
    }

    pub fn model(self) -> &'static str {
        match self {
            Self::Serial => "serial",
            Self::Threads(_) => "threads",
            Self::Processes(_) => "processes",
            Self::Hybrid { .. } => "hybrid",
        }
    }

    pub fn workers(self) -> usize {
        match self {
            Self::Serial => 1,
            Self::Threads(workers) | Self::Processes(workers) => workers,
            Self::Hybrid { processes, threads } => processes * threads,
        }
    }

    /// Does the whole job, and returns the sum of the results.
    pub fn work(self, kind: Kind, size: Size) -> anyhow::Result<u32> {
        match self {
            Self::Serial => Ok(kind.tasks(size).map(|task| kind.work(task)).sum()),
            Self::Threads(workers) => by_threads(workers, kind, size),
            Self::Processes(processes) => by_processes(processes, 1, kind, size),
            Self::Hybrid { processes, threads } => by_processes(processes, threads, kind, size),
        }
    }
}

impl fmt::Display for Crew {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Hybrid { processes, threads } => write!(f, "hybrid, {processes} × {threads}"),
            other => write!(f, "{}", other.model()),
        }
    }
}

/// The tasks that nobody has taken yet.
struct Pile<T>(Mutex<T>);

impl<T: Iterator<Item = Task>> Pile<T> {
    fn take(&self) -> Option<Task> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).next()
    }
}

fn by_threads(workers: usize, kind: Kind, size: Size) -> anyhow::Result<u32> {
    let pile = Pile(Mutex::new(kind.tasks(size)));
    let work = || {
        let mut sum = 0;
        while let Some(task) = pile.take() {
            sum += kind.work(task);
        }
        Ok(sum)
    };
    all_together((0..workers).map(|_| &work))
}

fn by_processes(processes: usize, threads: usize, kind: Kind, size: Size) -> anyhow::Result<u32> {
    let pile = Pile(Mutex::new(kind.tasks(size)));
    let workers = (1..=processes)
        .map(|n| {
            Process::start(&WORKER, &(kind, threads))
                .with_context(|| format!("cannot start worker {n} of {processes}"))
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    // A thread stands by each of them, and does nothing but wait for it.
    let attend = |mut worker: Process| {
        let pile = &pile;
        move || {
            let (mut sum, mut under_way) = (0, 0);
            // Twice as many tasks as it has threads: with one each, they would idle while a result
            // and the next task are on their way.
            while let Some(task) = (under_way < 2 * threads).then(|| pile.take()).flatten() {
                worker.tell(&task)?;
                under_way += 1;
            }
            while under_way > 0 {
                sum += worker.expect::<u32>()?;
                match pile.take() {
                    Some(task) => worker.tell(&task)?,
                    None => under_way -= 1,
                }
            }
            Ok(sum)
        }
    };
    all_together(workers.into_iter().map(attend))
}

/// Runs each in a thread of its own, and adds up what they return.
fn all_together<W>(workers: impl Iterator<Item = W>) -> anyhow::Result<u32>
where
    W: FnOnce() -> anyhow::Result<u32> + Send,
{
    thread::scope(|scope| {
        // All are started before the first is waited for.
        let threads = workers
            .map(|work| thread::Builder::new().spawn_scoped(scope, work))
            .collect::<Result<Vec<_>, _>>()
            .context("cannot start a thread")?;
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no worker panics"))
            .sum()
    })
}

/// A worker process: its threads do the tasks that arrive, until no more can come.
pub static WORKER: Peer<(Kind, usize)> = Peer {
    name: "worker",
    play: |(kind, threads)| {
        let serve = || {
            while let Some(task) = hear_parent()? {
                tell_parent(&kind.work(task))?;
            }
            Ok(0)
        };
        match threads {
            1 => serve()?,
            _ => all_together((0..threads).map(|_| &serve))?,
        };
        Ok(())
    },
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hybrid_crew_has_as_many_workers_as_it_should() {
        for workers in 1..=50 {
            assert_eq!(Crew::hybrid(workers).workers(), workers);
        }
        let four = Crew::Hybrid {
            processes: 2,
            threads: 2,
        };
        assert_eq!(Crew::hybrid(4), four);
    }
}
