//! The owner of a lock dies, and the next one is told: a robust mutex. (Linux)
//!
//! Python has none. A mutex of POSIX threads may lie in shared memory, and then threads of several
//! processes can lock it. If it is *robust*, the system sees to it that the death of its owner
//! unlocks it, and the next owner's `pthread_mutex_lock` returns `EOWNERDEAD`: "you have the lock,
//! but its last owner died with it". The next owner puts right what the lock protects, and says so by
//! `pthread_mutex_consistent`. (<https://man7.org/linux/man-pages/man3/pthread_mutexattr_setrobust.3.html>)
//!
//! What to notice: nobody had to see the death. Without `setrobust` the next one waits for ever.

use std::{mem::MaybeUninit, process::Stdio};

use anyhow::{bail, ensure};
use ipc_channel::ipc::IpcSharedMemory;
use nix::{errno::Errno, libc};

use crate::{
    child::{self, Child},
    hangup::die,
    output::say,
};

/// What the processes share: a mutex, and a pair of numbers that it protects. The numbers are equal,
/// but not while an owner of the mutex changes them.
struct Pair {
    mutex: libc::pthread_mutex_t,
    numbers: [u64; 2],
}

pub fn run() -> anyhow::Result<()> {
    let mut memory = IpcSharedMemory::from_byte(0, size_of::<Pair>());
    make_mutex(pair(&mut memory))?;
    say!("Now the lock is a robust mutex, which protects two equal numbers.")?;
    let start = |dies| Child::start("mutex-owner", Stdio::null(), (memory.clone(), dies));
    let status = start(true)?.wait()?;
    say!("It has changed one of them and died ({status}).")?;
    for _ in 0..2 {
        start(false)?.join()?;
    }
    Ok(())
}

/// A child: locks the mutex, changes both numbers, and unlocks it; or dies in between.
pub fn change(server: String) -> anyhow::Result<u8> {
    let (mut memory, dies): (IpcSharedMemory, bool) = child::arguments(server)?;
    let pair = pair(&mut memory);
    let owner_died = lock(pair)?;
    // SAFETY: this process has the mutex.
    let numbers = unsafe { &mut (*pair).numbers };
    say!("A process has the lock, and finds {numbers:?}.")?;
    if owner_died {
        numbers[1] = numbers[0];
        say!("It is told that the last owner died with the lock, and makes them equal.")?;
        // SAFETY: the mutex was made, and this process has it.
        unsafe { libc::pthread_mutex_consistent(&raw mut (*pair).mutex) };
    }
    numbers[0] += 1;
    if dies {
        die();
    }
    numbers[1] += 1;
    // SAFETY: the mutex was made, and this process has it.
    unsafe { libc::pthread_mutex_unlock(&raw mut (*pair).mutex) };
    Ok(0)
}

/// Locks the mutex. Returns whether its last owner died with it.
fn lock(pair: *mut Pair) -> anyhow::Result<bool> {
    // SAFETY: the parent has made the mutex, and its memory lives as long as this process.
    match unsafe { libc::pthread_mutex_lock(&raw mut (*pair).mutex) } {
        0 => Ok(false),
        libc::EOWNERDEAD => Ok(true),
        error => bail!("cannot lock the mutex: {}", Errno::from_raw(error).desc()),
    }
}

fn pair(memory: &mut IpcSharedMemory) -> *mut Pair {
    // SAFETY: what is behind the pointer is used under the mutex alone.
    unsafe { memory.deref_mut() }.as_mut_ptr().cast()
}

/// Makes the mutex: shared by processes, and robust.
fn make_mutex(pair: *mut Pair) -> anyhow::Result<()> {
    let mut attributes = MaybeUninit::uninit();
    let attributes = attributes.as_mut_ptr();
    // SAFETY: each call is given what the one before it has made. The memory is large enough, it
    // begins with a page, so all in it is aligned, and no other process has it yet.
    let error = unsafe {
        libc::pthread_mutexattr_init(attributes);
        libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED);
        libc::pthread_mutexattr_setrobust(attributes, libc::PTHREAD_MUTEX_ROBUST);
        libc::pthread_mutex_init(&raw mut (*pair).mutex, attributes)
    };
    ensure!(
        error == 0,
        "cannot make a mutex: {}",
        Errno::from_raw(error).desc()
    );
    Ok(())
}
