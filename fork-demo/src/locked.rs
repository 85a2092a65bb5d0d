//! Why a program with threads should not fork: the child gets a copy of every lock, and not the
//! threads that would release them.
//!
//! Mirrors what Python warns of since 3.12, when `os.fork()` is called in a process with threads.
//! Run it with `cargo run -p fork-demo -- locked`.
//!
//! What to notice: the first child waits for a thread that it does not have; that the parent's
//! thread releases the parent's lock does not help it. The lock of a real program is seldom one of its
//! own: it is in the heap, in stdout, in a log. What works is to fork before the first thread
//! starts, or to start a new program at once, which begins with locks of its own.

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
    // While no other thread exists, a fork is safe.
    let (ready, go) = io::pipe().context("cannot make a pipe")?;
    let early = {
        let mut go = Some(go);
        let child = child::start(|| {
            // The child's own copy would keep the pipe from ending.
            drop(go.take());
            io::copy(&mut &ready, &mut io::sink())?;
            take_the_lock()
        })
        .context("cannot fork")?;
        (child, go)
    };

    let seen = while_another_thread_has_the_lock(|| Ok((fork_now()?, new_program())));
    // By now the thread has released the lock and is gone: in the parent.
    let late = seen.and_then(|(child, program)| Ok((child::wait(child)?, program?)));
    let (child, go) = early;
    drop(go);
    let early = child::wait(child)?;
    let (late, program) = late?;

    say!(
        "Forked while another thread has the lock: {}.",
        became(late)?
    )?;
    say!("Forked before the thread was started: {}.", became(early)?)?;
    say!("A new program, started meanwhile: {}.", became(program)?)?;
    Ok(0)
}

/// What each child does. (It is also all that the new program does.)
pub fn take_the_lock() -> anyhow::Result<u8> {
    drop(LOCK.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(0)
}

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

/// Forks a child that needs the lock, and has a second to get it.
fn fork_now() -> anyhow::Result<Pid> {
    // SAFETY: it is not safe: that is the lesson. The child has a copy of the locked lock. It sets
    // its watchdog by system calls alone, and then takes that lock and nothing else.
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

/// The system will end this process in a second, whatever it does then, and even if its parent is
/// gone.
fn watchdog() {
    // Whoever started us may have the signal ignored or blocked.
    // SAFETY: the default handler is none of our code.
    let _ = unsafe { signal(Signal::SIGALRM, SigHandler::SigDfl) };
    let _ = SigSet::from(Signal::SIGALRM).thread_unblock();
    alarm::set(1);
}

/// Starts this program anew, which takes the lock of the same name. (Between the fork and the exec
/// `Command` makes system calls and nothing else, or has the system do both at once.)
fn new_program() -> anyhow::Result<ExitStatus> {
    let this = env::current_exe().context("cannot find this program")?;
    let mut command = Command::new(&this);
    let status = command.arg("take-the-lock").status();
    status.with_context(|| format!("cannot start {this:?}"))
}

fn became(status: ExitStatus) -> anyhow::Result<&'static str> {
    use std::os::unix::process::ExitStatusExt;
    if status.signal() == Some(libc::SIGALRM) {
        return Ok("it waits for ever, and the watchdog ends it");
    }
    ensure!(status.success(), "a child failed: {status}");
    Ok("it gets the lock")
}
