//! One counter and four writers, each of which counts to two hundred thousand.
//!
//! Threads have the same memory: the counter is one, and who does not take care loses counts.
//! Processes have each their own: the parent's counter stays where it was, unless they ask the
//! system for a piece of memory that they share.

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
    lab::{
        Lab,
        statistics::Interval,
        trial::Trial,
        verdict::{self, Judgement, Verdict},
    },
    report::{
        Finding, Table,
        figure::{Figure, Unit},
    },
};

pub const EXPERIMENT: Experiment = Experiment {
    name: "sharing",
    claim: "Threads share their process's memory, and processes share none.",
    share: 5,
    run,
    roles: &[&COUNT],
};

const WRITERS: u64 = 4;
const EACH: u64 = 200_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Way {
    Careless,
    Mutex,
    Atomic,
    Copies,
    SharedMemory,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Careless => "threads, reading and then writing",
            Self::Mutex => "threads, with a mutex",
            Self::Atomic => "threads, an atomic counter",
            Self::Copies => "processes, as they are",
            Self::SharedMemory => "processes, shared memory, atomic",
        }
    }
}

fn run(lab: &Lab) -> anyhow::Result<(Finding, Judgement)> {
    let mut finding = Finding::default();
    let mut ways = vec![Way::Careless, Way::Mutex, Way::Atomic];
    if cfg!(unix) {
        ways.extend([Way::Copies, Way::SharedMemory]);
    } else {
        finding
            .left_out
            .push("the processes: they need fork, which exists on Unix only".to_owned());
    }

    let mut lost = vec![Vec::new(); ways.len()];
    let times = lab.alternate(lab.budget, &ways, |way| {
        let (counted, seconds) = COUNT.run(way)?;
        let place = ways.iter().position(|w| w == way).unwrap_or_default();
        lost[place].push((WRITERS * EACH - counted) as f64);
        Ok(seconds / (WRITERS * EACH) as f64)
    })?;

    let title = format!("{WRITERS} writers count to {EACH} each, on one counter:");
    let mut table = Table::new(&title, ["writers are", "counts lost", "time per count"]);
    for (place, way) in ways.iter().enumerate() {
        table.rows.push(vec![
            way.name().into(),
            Figure::new(Interval::of(&lost[place]), Unit::Count).into(),
            Figure::seconds(&times[place]).into(),
        ]);
    }
    finding.tables.push(table);
    let careless = Figure::new(Interval::of(&lost[0]), Unit::Count);
    finding.headline = format!(
        "careless threads lost {careless} of {} counts",
        WRITERS * EACH
    );
    let judgement = judge(&ways, &lost);
    Ok((finding, judgement))
}

fn judge(ways: &[Way], lost: &[Vec<f64>]) -> Judgement {
    let all = (WRITERS * EACH) as f64;
    let cases = ways.iter().zip(lost).map(|(way, lost)| match way {
        // A race need not go wrong every time, but one that never did shows nothing.
        Way::Careless if lost.iter().all(|&lost| lost == 0.0) => Verdict::Unclear,
        Way::Careless => Verdict::Holds,
        Way::Mutex | Way::Atomic | Way::SharedMemory => {
            verdict::is(lost.iter().all(|&lost| lost == 0.0))
        }
        Way::Copies => verdict::is(lost.iter().all(|&lost| lost == all)),
    });
    Judgement::new(
        verdict::all(cases),
        "threads wrote to the same counter, and lost counts unless they took care; of what processes \
         counted, nothing reached their parent, unless the memory was shared by intent",
    )
}

/// What the counter came to, and the seconds that it took.
static COUNT: Trial<Way, (u64, f64)> = Trial {
    name: "sharing",
    body: |way| {
        let counter = AtomicU64::new(0);
        let guarded = Mutex::new(0_u64);
        let start = Instant::now();
        let counted = match way {
            Way::Careless => {
                // Two steps, between which another thread's count gets lost. (Were these not atomic,
                // it would be a data race, and the program would mean nothing at all.)
                by_threads(|| {
                    let count = counter.load(Relaxed);
                    // The system may let another thread run at any moment, also here. Asked to now
                    // and then, it does so even where threads seldom run at the same time.
                    if count.is_multiple_of(10_000) {
                        thread::yield_now();
                    }
                    counter.store(count + 1, Relaxed);
                });
                counter.into_inner()
            }
            Way::Mutex => {
                by_threads(|| *guarded.lock().unwrap_or_else(PoisonError::into_inner) += 1);
                guarded.into_inner().unwrap_or_else(PoisonError::into_inner)
            }
            Way::Atomic => {
                by_threads(|| {
                    counter.fetch_add(1, Relaxed);
                });
                counter.into_inner()
            }
            Way::Copies => {
                by_processes(&counter)?;
                counter.into_inner()
            }
            Way::SharedMemory => in_shared_memory()?,
        };
        Ok((counted, start.elapsed().as_secs_f64()))
    },
};

fn by_threads(count: impl Fn() + Sync) {
    // Otherwise the first would be done before the last had begun.
    let start = Barrier::new(WRITERS as usize);
    thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                start.wait();
                (0..EACH).for_each(|_| count());
            });
        }
    });
}

#[cfg(unix)]
fn by_processes(counter: &AtomicU64) -> anyhow::Result<()> {
    use crate::lab::fork;
    let count = || {
        for _ in 0..EACH {
            counter.fetch_add(1, Relaxed);
        }
        Ok(())
    };
    let children = (0..WRITERS)
        // SAFETY: this trial has started no thread.
        .map(|_| unsafe { fork::child(count) })
        .collect::<Vec<_>>();
    // Those that were started are waited for, whatever became of the others.
    let ends = children
        .into_iter()
        .map(|child| fork::join(child?))
        .collect::<Vec<_>>();
    ends.into_iter().collect()
}

#[cfg(unix)]
fn in_shared_memory() -> anyhow::Result<u64> {
    use std::num::NonZeroUsize;

    use anyhow::Context;
    use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};
    const SIZE: NonZeroUsize = NonZeroUsize::new(size_of::<AtomicU64>()).expect("it has a size");
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: the system chooses a place where nothing is.
    let memory = unsafe { mmap_anonymous(None, SIZE, protection, MapFlags::MAP_SHARED) }
        .context("cannot get shared memory")?;
    // SAFETY: the memory is large enough, aligned to a page and zeroed, which is an atomic zero. It
    // stays mapped while `counter` is used, and all who share it use it as an atomic.
    let counter = unsafe { memory.cast::<AtomicU64>().as_ref() };
    let done = by_processes(counter);
    let counted = counter.load(Relaxed);
    // SAFETY: `counter` is not used any more.
    unsafe { munmap(memory, SIZE.get()) }.context("cannot give the shared memory back")?;
    done.map(|()| counted)
}

#[cfg(not(unix))]
fn by_processes(_: &AtomicU64) -> anyhow::Result<()> {
    anyhow::bail!("fork exists on Unix only")
}

#[cfg(not(unix))]
fn in_shared_memory() -> anyhow::Result<u64> {
    anyhow::bail!("fork exists on Unix only")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_race_that_never_went_wrong_leaves_it_unclear() {
        let ways = [Way::Careless, Way::Atomic, Way::Copies];
        let all = (WRITERS * EACH) as f64;
        let verdict = |careless, atomic| {
            judge(
                &ways,
                &[vec![0.0, careless], vec![0.0, atomic], vec![all, all]],
            )
            .verdict
        };
        assert_eq!(verdict(17.0, 0.0), Verdict::Holds);
        assert_eq!(verdict(0.0, 0.0), Verdict::Unclear);
        assert_eq!(verdict(17.0, 1.0), Verdict::Depends);
    }
}
