//! The writers as processes: each with its own copy of the counter, or all with one counter in
//! shared memory.

use std::{
    num::NonZeroUsize,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use anyhow::Context;

use super::WRITERS;
use crate::lab::{mapping::Mapping, team::Team};

/// Each child counts in its own copy of the parent's memory. The parent's counter stays 0.
pub fn copies(each: u64) -> anyhow::Result<(u64, f64)> {
    let counter = AtomicU64::new(0);
    let seconds = by_processes(each, || {
        counter.fetch_add(1, Relaxed);
    })?;
    Ok((counter.into_inner(), seconds))
}

/// The system is asked for memory that is not copied when the process forks.
pub fn in_shared_memory(each: u64) -> anyhow::Result<(u64, f64)> {
    let memory = shared::<AtomicU64>()?;
    // SAFETY: the memory is large enough, aligned to a page, and zeroed, which is an atomic zero.
    // It outlives `counter`, and all processes that share it use it as an atomic.
    let counter = unsafe { memory.start::<AtomicU64>().as_ref() };
    let seconds = by_processes(each, || {
        counter.fetch_add(1, Relaxed);
    })?;
    Ok((counter.load(Relaxed), seconds))
}

fn shared<T>() -> anyhow::Result<Mapping> {
    Mapping::shared(NonZeroUsize::new(size_of::<T>()).context("it has a size")?)
}

/// Returns how long the writers took, in seconds.
fn by_processes(each: u64, count: impl Fn()) -> anyhow::Result<f64> {
    // When each writer was done, in nanoseconds after `origin`.
    // SAFETY: these numbers are atomics.
    let ends = unsafe { Mapping::shared_atomics::<AtomicU64>(WRITERS as usize) }?;
    let origin = Instant::now();
    let write = |number: usize| {
        for _ in 0..each {
            count();
        }
        ends[number].store(origin.elapsed().as_nanos() as u64, Relaxed);
        Ok(())
    };
    // SAFETY: this trial has started no thread.
    let team = unsafe { Team::processes(WRITERS as usize, write) }?;
    let begin = origin.elapsed();
    team.begin().join()?;
    let last = ends.iter().map(|end| end.load(Relaxed)).max();
    let end = Duration::from_nanos(last.context("there are writers")?);
    Ok((end - begin).as_secs_f64())
}

#[cfg(target_os = "linux")]
pub use robust::{ORPHANED_LOCK, with_a_mutex};

/// A mutex of the system in shared memory. It outlives the process that has locked it.
#[cfg(target_os = "linux")]
mod robust {
    use std::{cell::UnsafeCell, mem::MaybeUninit};

    use anyhow::{Context, bail, ensure};
    use nix::libc;
    use serde::{Deserialize, Serialize};

    use super::{by_processes, shared};
    use crate::{
        finding::table::Cell,
        lab::{fork, mapping::Mapping, role::Role},
    };

    /// A counter and its lock.
    struct Locked {
        mutex: UnsafeCell<libc::pthread_mutex_t>,
        counter: UnsafeCell<u64>,
    }

    pub fn with_a_mutex(each: u64) -> anyhow::Result<(u64, f64)> {
        let memory = shared::<Locked>()?;
        let locked = initialise(&memory, true)?;
        let seconds = by_processes(each, || {
            // SAFETY: the mutex is initialised, and the process that locks it unlocks it. Only the
            // process that has locked it uses the counter.
            unsafe {
                libc::pthread_mutex_lock(locked.mutex.get());
                *locked.counter.get() += 1;
                libc::pthread_mutex_unlock(locked.mutex.get());
            }
        })?;
        // SAFETY: all writers have ended.
        Ok((unsafe { *locked.counter.get() }, seconds))
    }

    /// Initialises the mutex. All processes that share the memory may use it.
    fn initialise(memory: &Mapping, robust: bool) -> anyhow::Result<&Locked> {
        // SAFETY: the memory is large enough, aligned to a page, and zeroed.
        let locked = unsafe { memory.start::<Locked>().as_ref() };
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: the first call initialises the attributes, and nobody uses the mutex yet.
        let error = unsafe {
            libc::pthread_mutexattr_init(attributes.as_mut_ptr());
            let attributes = attributes.as_mut_ptr();
            libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED);
            if robust {
                libc::pthread_mutexattr_setrobust(attributes, libc::PTHREAD_MUTEX_ROBUST);
            }
            libc::pthread_mutex_init(locked.mutex.get(), attributes)
        };
        ensure!(error == 0, "cannot make a mutex: error {error}");
        Ok(locked)
    }

    /// What happens to a process that wants the lock after its owner was killed.
    #[derive(Clone, Copy, Serialize, Deserialize)]
    pub enum Next {
        IsTold,
        Waits,
    }

    impl Next {
        pub fn cell(self) -> Cell {
            match self {
                Self::IsTold => {
                    let text = "is told (EOWNERDEAD), gets the lock, and can repair the data";
                    Cell::outcome(text, true)
                }
                Self::Waits => {
                    let text = "waits for ever: the lock's owner is gone";
                    Cell::outcome(text, false)
                }
            }
        }
    }

    /// The parameter is whether the mutex is robust.
    pub static ORPHANED_LOCK: Role<bool, Next> = Role {
        name: "sharing-orphaned-lock",
        play: |robust| {
            let memory = shared::<Locked>()?;
            let mutex = initialise(&memory, robust)?.mutex.get();
            let lock_and_die = || {
                // SAFETY: the mutex is initialised.
                unsafe { libc::pthread_mutex_lock(mutex) };
                nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL)?;
                Ok(())
            };
            // SAFETY: this trial has started no thread.
            let owner = unsafe { fork::child(lock_and_die) }?;
            ensure!(owner.join().is_err(), "the owner was not killed");
            // This only tries, because the owner can never unlock it: if the mutex is still locked
            // (EBUSY), a wait for it would never end.
            // SAFETY: the mutex is initialised.
            match unsafe { libc::pthread_mutex_trylock(mutex) } {
                libc::EOWNERDEAD => {}
                libc::EBUSY => return Ok(Next::Waits),
                error => bail!("the lock cannot be tried: error {error}"),
            }
            // SAFETY: this process owns the mutex.
            let error = unsafe {
                libc::pthread_mutex_consistent(mutex);
                libc::pthread_mutex_unlock(mutex);
                libc::pthread_mutex_lock(mutex)
            };
            (error == 0)
                .then_some(Next::IsTold)
                .context("the lock cannot be used any more")
        },
    };
}
