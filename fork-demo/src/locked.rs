//! Why a program with threads should not fork: the child gets a copy of every lock, but not the
//! threads that would release the locks.
//!
//! Mirrors what Python warns of since 3.12, when `os.fork()` is called in a process with threads.
//! Run it with `cargo run -p fork-demo -- locked`.
//!
//! What to notice: a child that is forked while another thread has the lock never gets its own copy
//! of it. The other thread soon releases the parent's lock, but that does not change the child's
//! copy. In a real program this lock is often inside a library, and the program's own code does not
//! show it: the lock of the heap, of stdout, of a log. Two ways work: to fork before the first
//! thread starts, or to start a new program. A new program begins with new locks.

use std::{
    env, io,
    process::{Command, ExitStatus},
    sync::{Mutex, PoisonError, mpsc},
    thread,
};

use anyhow::{Context, ensure};
use nix::{
    libc,
    sys::signal::{SigHandler, SigSet, Signal, signal},
    unistd::{ForkResult, Pid, alarm, fork},
};

use crate::{child, output::say};

static LOCK: Mutex<()> = Mutex::new(());

pub fn run() -> anyhow::Result<u8> {
    // This fork is safe, since no other thread exists yet. The child waits until `go`, the writing
    // end of this pipe, is closed, and only then takes its copy of the lock. By then the other
    // thread has released the parent's.
    let (ready, go) = io::pipe().context("cannot make a pipe")?;
    let (early_child, go) = {
        let mut go = Some(go);
        let child = child::start(|| {
            // The child has a copy of `go`. While this copy is open, it reads no end of file.
            drop(go.take());
            // Waits for the end of file.
            io::copy(&mut &ready, &mut io::sink()).context("cannot wait")?;
            take_the_lock()
        })
        .context("cannot fork")?;
        (child, go)
    };

    let seen = while_another_thread_has_the_lock(|| Ok((fork_now()?, new_program())));
    // In the parent, the other thread has now released the lock and ended.
    let late = seen.and_then(|(child, program)| Ok((child::wait(child)?, program?)));
    // This closes the last copy of `go`, so the early child reads the end of file. (The child that
    // was forked late had a copy too, but has ended.)
    drop(go);
    let early = child::wait(early_child)?;
    let (late, program) = late?;

    report("Forked while another thread has the lock", late)?;
    report("Forked before the thread was started", early)?;
    report("A new program, started meanwhile", program)?;
    Ok(0)
}

/// What each child does, and also the new program: it takes the lock and releases it at once.
pub fn take_the_lock() -> anyhow::Result<u8> {
    drop(LOCK.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(0)
}

/// Starts a thread that takes the lock, and runs `body` while this thread has it.
fn while_another_thread_has_the_lock<T>(
    body: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let (locked, is_locked) = mpsc::channel();
    let (release, may_release) = mpsc::channel::<()>();
    let thread = thread::Builder::new()
        .spawn(move || {
            let guard = LOCK.lock();
            let _ = locked.send(());
            let _ = may_release.recv();
            drop(guard);
        })
        .context("cannot start a thread")?;
    let result = is_locked.recv().context("no lock").and_then(|()| body());
    drop(release);
    let _ = thread.join();
    result
}

/// Forks a child that takes the lock. Its watchdog ends it if it does not get the lock in a second.
fn fork_now() -> anyhow::Result<Pid> {
    // SAFETY: this is not safe, which is the lesson. The child has a copy of the lock, which is
    // locked. It sets its watchdog by system calls alone. Then it takes this lock and no other one.
    match unsafe { fork() }.map_err(io::Error::from) {
        Ok(ForkResult::Child) => {
            watchdog();
            let _ = take_the_lock();
            // SAFETY: `_exit` has no precondition.
            unsafe { libc::_exit(0) }
        }
        Ok(ForkResult::Parent { child }) => Ok(child),
        Err(error) => Err(error).context("cannot fork"),
    }
}

/// Sets a watchdog: the system sends this process SIGALRM after one second. That ends the process,
/// even if it waits for a lock, and even if its parent has ended.
fn watchdog() {
    // The process may have inherited that this signal is ignored or blocked.
    // SAFETY: the default handler is none of our code.
    let _ = unsafe { signal(Signal::SIGALRM, SigHandler::SigDfl) };
    let _ = SigSet::from(Signal::SIGALRM).thread_unblock();
    alarm::set(1);
}

/// Starts this program anew. The new program takes its own `LOCK`. (`Command` starts it by
/// `posix_spawn`, without a fork. Where `Command` has to fork, its child takes no lock: it makes
/// nothing but system calls until the exec.)
fn new_program() -> anyhow::Result<ExitStatus> {
    let this = env::current_exe().context("cannot find this program")?;
    let mut command = Command::new(&this);
    let status = command.arg("take-the-lock").status();
    status.with_context(|| format!("cannot run {this:?}"))
}

/// Prints what became of a child that took the lock. `which` says which of the three it is.
fn report(which: &str, status: ExitStatus) -> anyhow::Result<()> {
    use std::os::unix::process::ExitStatusExt;
    if status.signal() == Some(libc::SIGALRM) {
        return say!("{which}: it never gets the lock, and a watchdog (SIGALRM) ends it.");
    }
    ensure!(status.success(), "{which}: the child failed: {status}");
    say!("{which}: it gets the lock.")
}
