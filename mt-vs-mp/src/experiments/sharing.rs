//! Four writers, each of which adds 1 to a counter two hundred thousand times.
//!
//! Threads share their memory, so there is one counter, and careless threads lose counts. Forked
//! processes have copies of the counter, and the parent's copy stays 0, unless the counter is in
//! memory that they share. A lock in shared memory has a danger of its own: its owner may be
//! killed, and then nobody unlocks it.

use std::{
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::Instant,
};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::Experiment;
use crate::{
    finding::{
        Finding,
        figure::Unit,
        table::Table,
        verdict::{self, Verdict},
    },
    lab::{Lab, Measured, role::Role, trial},
};

#[cfg(unix)]
mod processes;

pub const EXPERIMENT: Experiment = Experiment {
    name: "sharing",
    claim: "Threads share their process's memory, and processes share none.",
    share: 5,
    run,
    roles: &[
        &COUNT,
        #[cfg(target_os = "linux")]
        &processes::ORPHANED_LOCK,
    ],
    published: &[],
};

const WRITERS: u64 = 4;
const EACH: u64 = 200_000;
const ALL: u64 = WRITERS * EACH;

/// What the writers are, and how they count.
struct Way {
    name: &'static str,
    /// Runs all writers, and returns the counter's last value.
    count: fn(&mut Clock) -> anyhow::Result<u64>,
    lost: Lost,
}

/// Which counts must be lost for the claim to hold.
enum Lost {
    /// Some, in at least one run: a race need not go wrong in every run.
    ByRace,
    Nothing,
    #[cfg(unix)]
    Everything,
}

const WAYS: &[Way] = &[
    Way {
        name: "threads, reading and then writing",
        count: careless,
        lost: Lost::ByRace,
    },
    Way {
        name: "threads, with a mutex",
        count: |clock| {
            let counter = Mutex::new(0);
            by_threads(clock, || {
                *counter.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            })?;
            Ok(counter.into_inner().unwrap_or_else(PoisonError::into_inner))
        },
        lost: Lost::Nothing,
    },
    Way {
        name: "threads, an atomic counter",
        count: |clock| {
            let counter = AtomicU64::new(0);
            by_threads(clock, || {
                counter.fetch_add(1, Relaxed);
            })?;
            Ok(counter.into_inner())
        },
        lost: Lost::Nothing,
    },
    #[cfg(unix)]
    Way {
        name: "processes, as they are",
        count: processes::copies,
        lost: Lost::Everything,
    },
    #[cfg(unix)]
    Way {
        name: "processes, shared memory, atomic",
        count: processes::in_shared_memory,
        lost: Lost::Nothing,
    },
    #[cfg(target_os = "linux")]
    Way {
        name: "processes, shared memory, a robust mutex",
        count: processes::with_a_mutex,
        lost: Lost::Nothing,
    },
];

/// Reads and writes in two steps. Counts that other threads write in between are lost. (Each step
/// is atomic. Otherwise this would be a data race, and the program's behaviour would be undefined.)
fn careless(clock: &mut Clock) -> anyhow::Result<u64> {
    let counter = AtomicU64::new(0);
    by_threads(clock, || {
        let count = counter.load(Relaxed);
        // The system may let another thread run at any moment, also here. Where threads seldom run
        // at the same time, it is asked to do so now and then.
        if count.is_multiple_of(10_000) {
            thread::yield_now();
        }
        counter.store(count + 1, Relaxed);
    })?;
    Ok(counter.into_inner())
}

fn by_threads(clock: &mut Clock, count: impl Fn() + Sync) -> anyhow::Result<()> {
    // All writers begin together: otherwise the first would be done before the last began. So each
    // says that it is there, and waits at the gate until that is opened.
    let (is_there, there) = mpsc::channel();
    let gate = OnceLock::new();
    let started = thread::scope(|scope| {
        let started = (0..WRITERS).try_for_each(|_| {
            let (is_there, gate, count) = (is_there.clone(), &gate, &count);
            let write = move || {
                let _ = is_there.send(());
                gate.wait();
                for _ in 0..EACH {
                    count();
                }
            };
            thread::Builder::new().spawn_scoped(scope, write).map(drop)
        });
        if started.is_ok() {
            there.iter().take(WRITERS as usize).for_each(drop);
        }
        clock.start();
        // Also if a thread could not be started: the others wait for it.
        gate.get_or_init(|| ());
        started
        // Here the scope waits until all writers have ended.
    });
    clock.stop();
    started.context("cannot start a thread")
}

/// The time from when all writers have started until the last has done its work.
struct Clock {
    started: Instant,
    seconds: f64,
}

impl Clock {
    fn start(&mut self) {
        self.started = Instant::now();
    }

    fn stop(&mut self) {
        self.seconds = self.started.elapsed().as_secs_f64();
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Run {
    lost: u64,
    seconds: f64,
}

static COUNT: Role<usize, Run> = Role {
    name: "sharing",
    play: |way| {
        let mut clock = Clock {
            started: Instant::now(),
            seconds: f64::NAN,
        };
        let counted = (WAYS[way].count)(&mut clock)?;
        Ok(Run {
            lost: ALL - counted,
            seconds: clock.seconds,
        })
    },
};

fn run(lab: &Lab) -> anyhow::Result<Finding> {
    let runs = lab.alternate(lab.budget, 0..WAYS.len(), |way| trial::run(&COUNT, way))?;
    let title = format!("{WRITERS} writers count to {EACH} each, on one counter:");
    let table = Table::of(
        &title,
        &runs,
        &[
            ("writers are", &|it| WAYS[it.variant].name.into()),
            ("counts lost", &|it| {
                it.figure(Unit::Count, |run| run.lost as f64).into()
            }),
            ("time per count", &|it| {
                it.figure(Unit::Seconds, |run| run.seconds / ALL as f64)
                    .into()
            }),
        ],
    );
    let mut finding = judge(&runs);
    finding.tables.push(table);
    #[cfg(target_os = "linux")]
    finding.tables.push(orphaned_locks()?);
    if cfg!(not(unix)) {
        let why = "the processes: they need fork, which exists on Unix only";
        finding.left_out.push(why.to_owned());
    } else if cfg!(not(target_os = "linux")) {
        let why = "a mutex between processes: only Linux has robust ones";
        finding.left_out.push(why.to_owned());
    }
    Ok(finding)
}

/// What happens to the process that wants a lock in shared memory after its owner was killed.
#[cfg(target_os = "linux")]
fn orphaned_locks() -> anyhow::Result<Table> {
    let mut found = Vec::new();
    for (name, robust) in [("a mutex", false), ("a robust mutex", true)] {
        found.push((name, trial::run(&processes::ORPHANED_LOCK, &robust)?));
    }
    Ok(Table::of(
        "A process is killed while it owns a lock in shared memory. The next process that wants it:",
        &found,
        &[
            ("the lock is", &|(name, _)| (*name).into()),
            ("the next process", &|(_, next)| next.cell()),
        ],
    ))
}

/// Each way must lose what it is expected to lose.
fn judge(runs: &[Measured<usize, Run>]) -> Finding {
    let parts = runs.iter().map(|it| {
        let always_lost = |number| it.samples.iter().all(|run| run.lost == number);
        match WAYS[it.variant].lost {
            // A race that never went wrong proves nothing.
            Lost::ByRace if always_lost(0) => Verdict::Unclear,
            Lost::ByRace => Verdict::Holds,
            Lost::Nothing => verdict::is(always_lost(0)),
            #[cfg(unix)]
            Lost::Everything => verdict::is(always_lost(ALL)),
        }
    });
    let threads = "threads wrote to the same counter, and lost counts unless they took care";
    let processes = match cfg!(unix) {
        true => {
            "of what processes counted, nothing reached their parent, unless they had asked for shared \
             memory"
        }
        false => "processes were not tried",
    };
    let careless = runs[0].figure(Unit::Count, |run| run.lost as f64);
    Finding::new(
        verdict::every(parts),
        format!("{threads}; {processes}"),
        format!("careless threads lost {careless} of {ALL} counts"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(variant: usize, lost: [u64; 2]) -> Measured<usize, Run> {
        Measured {
            variant,
            samples: lost.map(|lost| Run { lost, seconds: 1.0 }).into(),
        }
    }

    fn verdict(careless: u64, mutex: u64) -> Verdict {
        judge(&[lost(0, [0, careless]), lost(1, [0, mutex])]).verdict
    }

    #[test]
    fn a_race_that_never_went_wrong_leaves_it_unclear() {
        assert_eq!(verdict(17, 0), Verdict::Holds);
        assert_eq!(verdict(0, 0), Verdict::Unclear);
    }

    #[test]
    fn a_mutex_that_loses_one_count_refutes_it() {
        assert_eq!(verdict(17, 1), Verdict::Fails);
    }

    #[cfg(unix)]
    #[test]
    fn a_count_of_a_process_that_reaches_its_parent_refutes_it() {
        const COPIES: usize = 3;
        let verdict = |copies| judge(&[lost(0, [0, 17]), lost(COPIES, copies)]).verdict;
        assert_eq!(verdict([ALL, ALL]), Verdict::Holds);
        assert_eq!(verdict([ALL, ALL - 1]), Verdict::Fails);
    }
}
