//! Four writers, each of which adds 1 to a counter many thousand times.
//!
//! Threads share their memory, so there is one counter, and careless threads lose counts. Forked
//! processes have copies of the counter, and the parent's copy stays 0, unless the counter is in
//! memory that they share. A lock in shared memory has a danger of its own: its owner may be
//! killed, and then nobody unlocks it.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
};

use serde::{Deserialize, Serialize};

use super::Experiment;
use crate::{
    finding::{
        Finding,
        figure::Unit,
        table::Table,
        verdict::{self, Verdict},
    },
    lab::{Lab, Measured, role::Role, together::all_at_once, trial},
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

/// What the writers are, and how they count.
struct Way {
    name: &'static str,
    /// Runs all writers. Each of them adds 1 as many times as the argument says. Returns the
    /// counter's last value, and how long they took, in seconds.
    count: fn(u64) -> anyhow::Result<(u64, f64)>,
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
        count: |each| {
            let counter = Mutex::new(0);
            let seconds = by_threads(each, || {
                *counter.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            })?;
            let counted = counter.into_inner().unwrap_or_else(PoisonError::into_inner);
            Ok((counted, seconds))
        },
        lost: Lost::Nothing,
    },
    Way {
        name: "threads, an atomic counter",
        count: |each| {
            let counter = AtomicU64::new(0);
            let seconds = by_threads(each, || {
                counter.fetch_add(1, Relaxed);
            })?;
            Ok((counter.into_inner(), seconds))
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
fn careless(each: u64) -> anyhow::Result<(u64, f64)> {
    let counter = AtomicU64::new(0);
    let seconds = by_threads(each, || {
        let count = counter.load(Relaxed);
        // The system may let another thread run at any moment, also here. Where threads seldom run
        // at the same time, it is asked to do so now and then.
        if count.is_multiple_of(10_000) {
            thread::yield_now();
        }
        counter.store(count + 1, Relaxed);
    })?;
    Ok((counter.into_inner(), seconds))
}

/// Returns how long the writers took, in seconds.
fn by_threads(each: u64, count: impl Fn() + Sync) -> anyhow::Result<f64> {
    // All writers begin together: otherwise the first would be done before the last began.
    let write = |_| {
        for _ in 0..each {
            count();
        }
        Ok(())
    };
    Ok(all_at_once((0..WRITERS).map(|_| write))?.seconds)
}

#[derive(Debug, Serialize, Deserialize)]
struct Run {
    lost: u64,
    /// From when all writers were there until the last had done its work.
    seconds: f64,
}

/// The parameters are the row of [`WAYS`], and how many times each writer adds 1.
static COUNT: Role<(usize, u64), Run> = Role {
    name: "sharing",
    play: |(way, each)| {
        let (counted, seconds) = (WAYS[way].count)(each)?;
        Ok(Run {
            lost: WRITERS * each - counted,
            seconds,
        })
    },
};

fn run(lab: &Lab) -> anyhow::Result<Finding> {
    let each = lab.mode.pick(50_000, 200_000, 200_000);
    let runs = lab.alternate(lab.budget, 0..WAYS.len(), |&way| {
        trial::run(&COUNT, &(way, each))
    })?;
    let all = WRITERS * each;
    let title = format!("{WRITERS} writers count to {each} each, on one counter:");
    let table = Table::of(
        &title,
        &runs,
        &[
            ("writers are", &|it| WAYS[it.variant].name.into()),
            ("counts lost", &|it| {
                it.figure(Unit::Count, |run| run.lost as f64).into()
            }),
            ("time per count", &|it| {
                it.figure(Unit::Seconds, |run| run.seconds / all as f64)
                    .into()
            }),
        ],
    );
    let mut finding = judge(&runs, all);
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

/// Each way must lose what it is expected to lose, of `all` counts.
fn judge(runs: &[Measured<usize, Run>], all: u64) -> Finding {
    let parts = runs.iter().map(|it| {
        let always_lost = |number| it.samples.iter().all(|run| run.lost == number);
        match WAYS[it.variant].lost {
            // A race that never went wrong proves nothing.
            Lost::ByRace if always_lost(0) => Verdict::Unclear,
            Lost::ByRace => Verdict::Holds,
            Lost::Nothing => verdict::is(always_lost(0)),
            #[cfg(unix)]
            Lost::Everything => verdict::is(always_lost(all)),
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
        format!("careless threads lost {careless} of {all} counts"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: u64 = 1000;

    fn lost(variant: usize, lost: [u64; 2]) -> Measured<usize, Run> {
        Measured {
            variant,
            samples: lost.map(|lost| Run { lost, seconds: 1.0 }).into(),
        }
    }

    fn verdict(careless: u64, mutex: u64) -> Verdict {
        judge(&[lost(0, [0, careless]), lost(1, [0, mutex])], ALL).verdict
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
        let verdict = |copies| judge(&[lost(0, [0, 17]), lost(COPIES, copies)], ALL).verdict;
        assert_eq!(verdict([ALL, ALL]), Verdict::Holds);
        assert_eq!(verdict([ALL, ALL - 1]), Verdict::Fails);
    }
}
