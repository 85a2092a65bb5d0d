//! The ways to get somebody to do something: one of each, from its start to its joined end.

use std::{
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use crate::lab::role::{self, Peer};

/// What is created.
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Way {
    /// By the system's own call: what a C program gets.
    Thread,
    /// By Rust's standard library, which also makes room for a handler that names the thread if its
    /// stack overflows.
    StdThread,
    Fork,
    /// The smallest program that every Unix has.
    SpawnTrue,
    /// This program, in a role that ends at once.
    SpawnSelf,
}

impl Way {
    pub fn name(self) -> &'static str {
        match self {
            Self::Thread => "thread",
            Self::StdThread => "thread of Rust's std",
            Self::Fork => "fork",
            Self::SpawnTrue => "spawn of `true`",
            Self::SpawnSelf => "spawn of this program",
        }
    }

    /// How many are timed in one trial, after a few that are not: some milliseconds' worth.
    pub fn calls(self) -> usize {
        match self {
            Self::Thread | Self::StdThread => 200,
            Self::Fork => 60,
            Self::SpawnTrue | Self::SpawnSelf => 15,
        }
    }

    /// One creation.
    pub fn time(self) -> anyhow::Result<Duration> {
        match self {
            Self::Thread => time_thread(),
            Self::StdThread => time_std_thread(),
            Self::Fork => time_fork(),
            Self::SpawnTrue => time_spawn(Command::new(
                the_true_program().context("there is no `true`")?,
            )),
            Self::SpawnSelf => time_spawn(role::command(&NOTHING, &())?),
        }
    }
}

/// This program, as small as it can be.
pub static NOTHING: Peer<()> = Peer {
    name: "nothing",
    play: |()| Ok(()),
};

#[cfg(unix)]
fn time_thread() -> anyhow::Result<Duration> {
    use std::{ffi::c_void, io, mem::MaybeUninit, ptr};

    use nix::libc;
    extern "C" fn nothing(_: *mut c_void) -> *mut c_void {
        ptr::null_mut()
    }
    let mut thread = MaybeUninit::uninit();
    let start = Instant::now();
    // SAFETY: `nothing` is a function that touches nothing, and the id is written where there is
    // room for one.
    let error =
        unsafe { libc::pthread_create(thread.as_mut_ptr(), ptr::null(), nothing, ptr::null_mut()) };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error)).context("cannot start a thread");
    }
    // SAFETY: the call has written the id, and this thread is joined once.
    unsafe { libc::pthread_join(thread.assume_init(), ptr::null_mut()) };
    Ok(start.elapsed())
}

/// Elsewhere the standard library's threads are all there is.
#[cfg(not(unix))]
fn time_thread() -> anyhow::Result<Duration> {
    time_std_thread()
}

fn time_std_thread() -> anyhow::Result<Duration> {
    let start = Instant::now();
    let thread = thread::Builder::new()
        .spawn(|| {})
        .context("cannot start a thread")?;
    thread
        .join()
        .expect("it does nothing, so it does not panic");
    Ok(start.elapsed())
}

#[cfg(unix)]
fn time_fork() -> anyhow::Result<Duration> {
    use nix::{
        libc,
        sys::wait::{WaitStatus, waitpid},
        unistd::{ForkResult, fork},
    };
    let start = Instant::now();
    // SAFETY: a trial that forks starts no thread, so no lock is held in the child for ever.
    match unsafe { fork() }.context("cannot fork")? {
        // SAFETY: `_exit` has no precondition. It runs none of our destructors and flushes none of
        // our buffers: those are the parent's.
        ForkResult::Child => unsafe { libc::_exit(0) },
        ForkResult::Parent { child } => {
            let status = waitpid(child, None).context("cannot wait for the child")?;
            let time = start.elapsed();
            ensure!(
                status == WaitStatus::Exited(child, 0),
                "the child failed: {status:?}"
            );
            Ok(time)
        }
    }
}

#[cfg(not(unix))]
fn time_fork() -> anyhow::Result<Duration> {
    anyhow::bail!("fork exists on Unix only")
}

/// `Command` starts a program by `posix_spawn` where it can.
fn time_spawn(mut program: Command) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let status = program
        .status()
        .with_context(|| format!("cannot start {program:?}"))?;
    let time = start.elapsed();
    ensure!(status.success(), "{program:?} failed: {status}");
    Ok(time)
}

/// Where Unix has it. (What is there on other systems is not theirs to run.)
pub fn the_true_program() -> Option<&'static Path> {
    let places = ["/bin/true", "/usr/bin/true"].map(Path::new);
    let mut there = places.into_iter().filter(|path| path.exists());
    there.next().filter(|_| cfg!(unix))
}
