//! A robust mutex: when its owner dies, the next owner is told. (Linux)
//!
//! Python has no such lock. A mutex of POSIX threads may be in shared memory. Then threads of
//! several processes can lock it. If it is *robust*, the system unlocks it when its owner dies. The
//! next owner's `pthread_mutex_lock` returns the error `EOWNERDEAD`. This owner has the lock, but
//! the last owner died with it. The new owner must put right what the lock protects, and then call
//! `pthread_mutex_consistent`. If it unlocks the mutex without that call, nobody can ever lock the
//! mutex again. (<https://man7.org/linux/man-pages/man3/pthread_mutexattr_setrobust.3.html>)
//!
//! What to notice: the parent does nothing about the death. Without `setrobust` the next process
//! would wait for ever.

use std::{mem::MaybeUninit, process::Stdio};

use anyhow::{bail, ensure};
use ipc_channel::ipc::IpcSharedMemory;
use nix::{errno::Errno, libc};

use crate::{
    child::{self, Child},
    hangup::{check_death, die},
    output::say,
};

/// What the processes share: a mutex, and the two numbers that it protects. The numbers are equal,
/// except while the owner of the mutex changes them.
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
    check_death("mutex-owner", status)?;
    say!("That process has changed one number and died ({status}).")?;
    for _ in 0..2 {
        start(false)?.join()?;
    }
    Ok(())
}

/// The child: locks the mutex, adds 1 to both numbers, and unlocks it. If `dies`, it dies between
/// the two additions.
pub fn change(server: String) -> anyhow::Result<u8> {
    let (mut memory, dies): (IpcSharedMemory, bool) = child::arguments(server)?;
    let pair = pair(&mut memory);
    let owner_died = lock(pair)?;
    // SAFETY: this process has the mutex.
    let numbers = unsafe { &mut (*pair).numbers };
    // An error of stdout (`| head -9`) is returned after the mutex has been unlocked. To return
    // frees the shared memory: then the system could not find the mutex, to unlock it.
    let mut said = say!("A process has the lock, and finds {numbers:?}.");
    if owner_died {
        // The dead owner added to the first number only. This completes its addition.
        numbers[1] = numbers[0];
        said = said.and(say!(
            "It is told that the last owner died with the lock, and makes them equal."
        ));
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
    said?;
    Ok(0)
}

/// Locks the mutex. Returns whether its last owner died while it had the lock.
fn lock(pair: *mut Pair) -> anyhow::Result<bool> {
    // SAFETY: the parent has made the mutex, and its memory is there until `change` returns.
    match unsafe { libc::pthread_mutex_lock(&raw mut (*pair).mutex) } {
        0 => Ok(false),
        libc::EOWNERDEAD => Ok(true),
        error => bail!("cannot lock the mutex: {}", Errno::from_raw(error).desc()),
    }
}

/// The shared memory as a pointer to the mutex and the numbers.
fn pair(memory: &mut IpcSharedMemory) -> *mut Pair {
    // SAFETY: the numbers behind the pointer are used only by the process that has the mutex.
    unsafe { memory.deref_mut() }.as_mut_ptr().cast()
}

/// Makes the mutex. It is shared by several processes, and robust.
fn make_mutex(pair: *mut Pair) -> anyhow::Result<()> {
    let mut attributes = MaybeUninit::uninit();
    let attributes = attributes.as_mut_ptr();
    // SAFETY: each call gets what the call before it has made. The memory is large enough. It
    // begins at a page, so all that is in it is aligned. No other process has it yet.
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
