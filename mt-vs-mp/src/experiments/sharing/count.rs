//! One run of the four writers, in each of the ways.

use std::{
    sync::{
        Barrier, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Instant,
};

use serde::{Deserialize, Serialize};

use super::{EACH, WRITERS, Way};
use crate::lab::trial::Trial;

/// One run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Run {
    /// What the counter came to.
    pub counted: u64,
    pub seconds: f64,
}

pub static COUNT: Trial<Way, Run> = Trial {
    name: "sharing",
    body: |way| {
        let counter = AtomicU64::new(0);
        let guarded = Mutex::new(0_u64);
        let start = Instant::now();
        let counted = match way {
            Way::Careless => {
                // Two steps, between which another thread's count gets lost. (Were these not
                // atomic, it would be a data race, and the program would mean
                // nothing at all.)
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
        Ok(Run {
            counted,
            seconds: start.elapsed().as_secs_f64(),
        })
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

    use crate::lab::mapping::Mapping;
    const SIZE: NonZeroUsize = NonZeroUsize::new(size_of::<AtomicU64>()).expect("it has a size");
    let memory = Mapping::shared(SIZE)?;
    // SAFETY: the memory is large enough, aligned to a page and zeroed, which is an atomic zero. It
    // outlives `counter`, and all who share it use it as an atomic.
    let counter = unsafe { memory.start::<AtomicU64>().as_ref() };
    by_processes(counter)?;
    Ok(counter.load(Relaxed))
}

#[cfg(not(unix))]
fn by_processes(_: &AtomicU64) -> anyhow::Result<()> {
    anyhow::bail!("fork exists on Unix only")
}

#[cfg(not(unix))]
fn in_shared_memory() -> anyhow::Result<u64> {
    anyhow::bail!("fork exists on Unix only")
}
