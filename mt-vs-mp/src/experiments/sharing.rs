//! One counter and four writers, each of which counts to two hundred thousand.
//!
//! Threads have the same memory: there is one counter, and who takes no care loses counts. Processes
//! have a counter each: the parent's stays where it was, unless they ask the system for a piece of
//! memory that they share. What they share can be left half done: a lock whose owner was killed.

use std::{
    sync::{
        Barrier, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Instant,
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

/// Who writes, and how.
struct Way {
    name: &'static str,
    /// Counts, and returns what the counter came to.
    count: fn(&mut Clock) -> anyhow::Result<u64>,
    lost: Lost,
}

/// Which counts are lost if the claim is true.
enum Lost {
    /// Some, by a race, which need not go wrong every time.
    ByRace,
    Nothing,
    /// By processes, which are forked.
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
            });
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
            });
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

/// Two steps, between which another thread's count gets lost. (Were these not atomic, it would be a
/// data race, and the program would mean nothing at all.)
fn careless(clock: &mut Clock) -> anyhow::Result<u64> {
    let counter = AtomicU64::new(0);
    by_threads(clock, || {
        let count = counter.load(Relaxed);
        // The system may let another thread run at any moment, also here. Asked to now and then, it
        // does so even where threads seldom run at the same time.
        if count.is_multiple_of(10_000) {
            thread::yield_now();
        }
        counter.store(count + 1, Relaxed);
    });
    Ok(counter.into_inner())
}

fn by_threads(clock: &mut Clock, count: impl Fn() + Sync) {
    // Otherwise the first would be done before the last had begun. The second barrier opens when
    // the clock runs.
    let [there, go] = [(); 2].map(|()| Barrier::new(WRITERS as usize + 1));
    thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                there.wait();
                go.wait();
                (0..EACH).for_each(|_| count());
            });
        }
        there.wait();
        clock.start();
        go.wait();
    });
    clock.stop();
}

/// The time from when all writers are there until the last has counted to its end. What it takes to
/// start them is another experiment's.
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

/// One run.
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

/// What the next process finds when the owner of a lock in shared memory was killed.
#[cfg(target_os = "linux")]
fn orphaned_locks() -> anyhow::Result<Table> {
    let mut found = Vec::new();
    for (name, robust) in [("a mutex", false), ("a robust mutex", true)] {
        found.push((name, trial::run(&processes::ORPHANED_LOCK, &robust)?));
    }
    Ok(Table::of(
        "A process is killed while it owns a lock in shared memory. The next one that wants it:",
        &found,
        &[
            ("the lock is", &|(name, _)| (*name).into()),
            ("the next one", &|(_, next)| next.cell()),
        ],
    ))
}

/// Each way of writing must come out as expected.
fn judge(runs: &[Measured<usize, Run>]) -> Finding {
    let parts = runs.iter().map(|it| {
        let each_time = |number| it.samples.iter().all(|run| run.lost == number);
        match WAYS[it.variant].lost {
            // A race that never went wrong shows nothing.
            Lost::ByRace if each_time(0) => Verdict::Unclear,
            Lost::ByRace => Verdict::Holds,
            Lost::Nothing => verdict::is(each_time(0)),
            #[cfg(unix)]
            Lost::Everything => verdict::is(each_time(ALL)),
        }
    });
    let threads = "threads wrote to the same counter, and lost counts unless they took care";
    let processes = match cfg!(unix) {
        true => {
            "of what processes counted, nothing reached their parent, unless the memory was shared by \
             intent"
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

    fn verdict(careless: u64, mutex: u64) -> Verdict {
        let run = |variant, lost: [u64; 2]| Measured {
            variant,
            samples: lost.map(|lost| Run { lost, seconds: 1.0 }).into(),
        };
        judge(&[run(0, [0, careless]), run(1, [0, mutex])]).verdict
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
}
