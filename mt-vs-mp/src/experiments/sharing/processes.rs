//! The writers as processes: each with a copy of the counter, or all with one in shared memory.

use std::{
    num::NonZeroUsize,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use anyhow::Context;

use super::{Clock, EACH, WRITERS};
use crate::lab::{mapping::Mapping, team::Team};

/// Each child counts in its own copy of the memory, and the parent's stays as it was.
pub fn copies(clock: &mut Clock) -> anyhow::Result<u64> {
    let counter = AtomicU64::new(0);
    by_processes(clock, || {
        counter.fetch_add(1, Relaxed);
    })?;
    Ok(counter.into_inner())
}

/// The memory is asked for in one piece that stays one when the process forks.
pub fn in_shared_memory(clock: &mut Clock) -> anyhow::Result<u64> {
    let memory = shared::<AtomicU64>()?;
    // SAFETY: the memory is large enough, aligned to a page and zeroed, which is an atomic zero. It
    // outlives `counter`, and all who share it use it as an atomic.
    let counter = unsafe { memory.start::<AtomicU64>().as_ref() };
    by_processes(clock, || {
        counter.fetch_add(1, Relaxed);
    })?;
    Ok(counter.load(Relaxed))
}

fn shared<T>() -> anyhow::Result<Mapping> {
    Mapping::shared(NonZeroUsize::new(size_of::<T>()).context("it has a size")?)
}

fn by_processes(clock: &mut Clock, count: impl Fn()) -> anyhow::Result<()> {
    let write = |_| {
        (0..EACH).for_each(|_| count());
        Ok(())
    };
    // SAFETY: this trial has started no thread.
    let team = unsafe { Team::processes(WRITERS as usize, write) }?;
    clock.start();
    let writing = team.begin();
    writing.until_done()?;
    clock.stop();
    writing.join()
}

#[cfg(target_os = "linux")]
pub use robust::{ORPHANED_LOCK, with_a_mutex};

/// A mutex of the system's in shared memory, which outlives its owner.
#[cfg(target_os = "linux")]
mod robust {
    use std::{cell::UnsafeCell, mem::MaybeUninit};

    use anyhow::{Context, bail, ensure};
    use nix::libc;
    use serde::{Deserialize, Serialize};

    use super::{super::Clock, by_processes, shared};
    use crate::{
        finding::table::Cell,
        lab::{fork, mapping::Mapping, role::Role},
    };

    /// A counter and its lock.
    struct Locked {
        mutex: UnsafeCell<libc::pthread_mutex_t>,
        counter: UnsafeCell<u64>,
    }

    pub fn with_a_mutex(clock: &mut Clock) -> anyhow::Result<u64> {
        let memory = shared::<Locked>()?;
        let locked = new(&memory, true)?;
        by_processes(clock, || {
            // SAFETY: the mutex was made, and is unlocked by who locked it; the counter is used by
            // its owner alone.
            unsafe {
                libc::pthread_mutex_lock(locked.mutex.get());
                *locked.counter.get() += 1;
                libc::pthread_mutex_unlock(locked.mutex.get());
            }
        })?;
        // SAFETY: all writers have ended.
        Ok(unsafe { *locked.counter.get() })
    }

    /// Makes the mutex. It may be used by all processes that share the memory.
    fn new(memory: &Mapping, robust: bool) -> anyhow::Result<&Locked> {
        // SAFETY: the memory is large enough, aligned to a page and zeroed.
        let locked = unsafe { memory.start::<Locked>().as_ref() };
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: each of the calls is given what the one before has made, and nobody uses the mutex
        // yet.
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

    /// What the next process finds whose predecessor was killed as the lock's owner.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub enum Next {
        IsTold,
        Waits,
    }

    impl Next {
        pub fn cell(self) -> Cell {
            match self {
                Self::IsTold => {
                    let text = "is told (EOWNERDEAD), has the lock, and can put things right";
                    Cell::outcome(text, true)
                }
                Self::Waits => {
                    let text = "waits for ever: the lock has an owner, and that is gone";
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
            let mutex = new(&memory, robust)?.mutex.get();
            let lock_and_die = || {
                // SAFETY: the mutex was made.
                unsafe { libc::pthread_mutex_lock(mutex) };
                nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL)?;
                Ok(())
            };
            // SAFETY: this trial has started no thread.
            let owner = unsafe { fork::child(lock_and_die) }?;
            ensure!(owner.join().is_err(), "the owner was not killed");
            // It has no owner that could ever unlock it: who finds it locked would wait for ever.
            // SAFETY: the mutex was made.
            match unsafe { libc::pthread_mutex_trylock(mutex) } {
                libc::EOWNERDEAD => {}
                libc::EBUSY => return Ok(Next::Waits),
                error => bail!("the next one got {error} and not the lock"),
            }
            // SAFETY: we own the mutex.
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
