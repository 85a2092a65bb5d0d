//! What a child can do about a signal, and what it cannot.
//!
//! Mirrors Python's `signal.signal`, `os.kill` and `signal.pthread_sigmask`. Run it with
//! `cargo run -p process-demo -- signals`. (On Unix only.)
//!
//! What to notice: SIGTERM asks, SIGKILL does not. A signal is a flag and not a message: sent ten
//! times before it is handled, it is handled once. A system call that waits while a signal is
//! handled may fail by EINTR. Nothing is wrong then: the program calls it again.

use std::{
    io::{self, BufRead, BufReader, Write},
    os::fd::AsFd,
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use nix::{
    errno::Errno,
    libc::c_int,
    sys::{
        select::{FdSet, pselect},
        signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{Pid, read},
};

use crate::{output::say, process::Process};

pub fn run() -> anyhow::Result<u8> {
    let (code, said) = after_sigterm("finish_at_sigterm")?;
    say!("SIGTERM to a child that catches it: {said}; exit_code {code}.")?;
    let (code, said) = after_sigterm("ignore_sigterm")?;
    say!("SIGTERM to a child that ignores it: {said}; SIGKILL ends it: exit_code {code}.")?;
    let (stopped, continued) = stopped_and_continued()?;
    say!("A child that is sent SIGSTOP: {stopped}; then SIGCONT: {continued}.")?;
    let times = sent_while_blocked(10)?;
    say!("SIGUSR1, sent 10 times to a child that blocks it for a while. Times handled: {times}.")?;
    say!("A read that waits while signals are handled:")?;
    say!("  without SA_RESTART: {}", interrupted_read("fail")?)?;
    say!("  with SA_RESTART: {}", interrupted_read("restart")?)?;
    Ok(0)
}

/// Sends a child SIGTERM and, if that does not end it, SIGKILL. Returns its exit code, and the line
/// that it wrote when SIGTERM had come.
fn after_sigterm(target: &str) -> anyhow::Result<(i64, String)> {
    let (child, mut stderr) = start(target, "")?;
    child.terminate()?;
    let said = match target {
        "ignore_sigterm" => {
            // The system dropped the signal when it was sent: there is nothing to wait for.
            ensure!(child.is_alive()?, "SIGTERM ended a child that ignores it");
            child.kill()?;
            "nothing happens".to_owned()
        }
        _ => next_line(&mut stderr)?,
    };
    child.join()?;
    Ok((exit_code(&child)?, said))
}

/// Stops a child and lets it continue; returns what its parent learns of it.
fn stopped_and_continued() -> anyhow::Result<(String, String)> {
    let (child, _stderr) = start("ignore_sigterm", "")?;
    let wait = |signal, option| {
        kill(id(&child)?, signal).with_context(|| format!("cannot send {signal}"))?;
        // Without an option, a wait returns only when a child has ended.
        let status = waitpid(id(&child)?, Some(option)).context("cannot wait for the child")?;
        let status = match status {
            WaitStatus::Stopped(_, signal) => format!("stopped by {signal}"),
            WaitStatus::Continued(_) => "continued".to_owned(),
            status => bail!("the child was to stop or continue, but: {status:?}"),
        };
        anyhow::Ok(format!("{status}, is_alive {}", child.is_alive()?))
    };
    let stopped = wait(Signal::SIGSTOP, WaitPidFlag::WUNTRACED)?;
    let continued = wait(Signal::SIGCONT, WaitPidFlag::WCONTINUED)?;
    child.kill()?;
    Ok((stopped, continued))
}

/// How often a child handles a signal that it was sent several times while it blocked it.
fn sent_while_blocked(times: u32) -> anyhow::Result<i64> {
    let (child, _stderr) = start("count_sigusr1", "")?;
    for _ in 0..times {
        kill(id(&child)?, Signal::SIGUSR1).context("cannot send SIGUSR1")?;
    }
    // Now it unblocks SIGUSR1, and counts.
    child.terminate()?;
    child.join()?;
    exit_code(&child)
}

/// How a child's read of its stdin ends when the child is sent signals.
fn interrupted_read(how: &str) -> anyhow::Result<String> {
    const SIGNALS: u32 = 20;
    let (child, mut stderr) = start("read_stdin", how)?;
    let mut sent = 0;
    // More than one signal: the first could be handled before the child reads.
    while child.join_timeout(Duration::from_millis(5))?.is_none() {
        if how == "restart" && sent == SIGNALS {
            child.kill()?;
            return Ok("it goes on waiting".to_owned());
        }
        kill(id(&child)?, Signal::SIGUSR1).context("cannot send SIGUSR1")?;
        sent += 1;
    }
    next_line(&mut stderr)
}

/// Starts a child, and returns when it has set its handlers.
fn start(target: &str, arg: &str) -> anyhow::Result<(Process, impl BufRead + use<>)> {
    let (stderr, writer) = io::pipe().context("cannot make a pipe")?;
    let mut stderr = BufReader::new(stderr);
    let mut child = Process::new(target, [arg]).stderr(writer);
    child.start()?;
    let ready = next_line(&mut stderr)?;
    ensure!(
        ready == "ready",
        "the child is not ready, but wrote {ready:?}"
    );
    Ok((child, stderr))
}

fn next_line(stderr: &mut impl BufRead) -> anyhow::Result<String> {
    let line = stderr.lines().next().context("the child wrote nothing")?;
    Ok(line?)
}

fn id(child: &Process) -> anyhow::Result<Pid> {
    let id = child.pid().context("the child was not started")?;
    Ok(Pid::from_raw(id.try_into()?))
}

fn exit_code(child: &Process) -> anyhow::Result<i64> {
    child
        .exit_code()?
        .context("a child that was joined has ended")
}

// The children.

/// How many signals were handled in this process.
static HANDLED: AtomicU8 = AtomicU8::new(0);

/// A handler interrupts the program anywhere, even while it allocates memory or holds a lock: it
/// does little more than to note that the signal has come.
extern "C" fn note(_: c_int) {
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

fn handle(signal: Signal, action: SigHandler, flags: SaFlags) -> anyhow::Result<()> {
    let action = SigAction::new(action, flags, SigSet::empty());
    // SAFETY: `note`, the only handler that we set, does nothing but an atomic addition.
    unsafe { sigaction(signal, &action) }.with_context(|| format!("cannot handle {signal}"))?;
    Ok(())
}

fn say_ready() -> anyhow::Result<()> {
    Ok(io::stderr().write_all(b"ready\n")?)
}

/// Waits until a signal's handler has run, with `blocked` blocked, or until the parent has gone.
fn wait_for_a_signal(blocked: SigSet) -> anyhow::Result<()> {
    let stdin = io::stdin();
    let mut readable = FdSet::new();
    readable.insert(stdin.as_fd());
    // It changes what is blocked and waits, in one step. In two, the signal could be handled between
    // them, and the wait would have no end.
    match pselect(None, &mut readable, None, None, None, &blocked) {
        Err(Errno::EINTR) => Ok(()),
        Ok(_) => bail!("the parent has gone"),
        Err(error) => Err(error).context("cannot wait for a signal"),
    }
}

/// Ends when it is asked to, but not in the middle of its work.
pub fn finish_at_sigterm(_: &[String]) -> anyhow::Result<u8> {
    // Blocked while it works: a signal that is sent meanwhile stays pending until the wait.
    SigSet::from(Signal::SIGTERM).thread_block()?;
    handle(Signal::SIGTERM, SigHandler::Handler(note), SaFlags::empty())?;
    say_ready()?;
    wait_for_a_signal(SigSet::empty())?;
    writeln!(io::stderr(), "it finishes its work")?;
    Ok(0)
}

pub fn ignore_sigterm(_: &[String]) -> anyhow::Result<u8> {
    handle(Signal::SIGTERM, SigHandler::SigIgn, SaFlags::empty())?;
    // A process that is stopped cannot notice that its parent has died. So we ask the system to kill
    // it then.
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    say_ready()?;
    crate::target::wait_for_the_parent_to_go()?;
    Ok(0)
}

/// Its exit code is the number of times that SIGUSR1 was handled.
pub fn count_sigusr1(_: &[String]) -> anyhow::Result<u8> {
    let both = SigSet::from_iter([Signal::SIGUSR1, Signal::SIGTERM]);
    both.thread_block()?;
    handle(Signal::SIGUSR1, SigHandler::Handler(note), SaFlags::empty())?;
    handle(Signal::SIGTERM, SigHandler::Handler(note), SaFlags::empty())?;
    say_ready()?;
    wait_for_a_signal(SigSet::from(Signal::SIGUSR1))?;
    // SIGTERM has come, and its handler has counted 1. From here on only SIGUSR1 counts.
    HANDLED.store(0, Ordering::Relaxed);
    // The handler of SIGUSR1 runs before this call returns.
    SigSet::from(Signal::SIGUSR1).thread_unblock()?;
    Ok(HANDLED.load(Ordering::Relaxed))
}

/// Reads its stdin, where nothing comes until the parent has gone.
pub fn read_stdin(args: &[String]) -> anyhow::Result<u8> {
    let restart = args == ["restart"];
    let flags = if restart {
        SaFlags::SA_RESTART
    } else {
        SaFlags::empty()
    };
    handle(Signal::SIGUSR1, SigHandler::Handler(note), flags)?;
    say_ready()?;
    // (Most of Rust's readers, like Python's since 3.5, call again by themselves. This does not.)
    let result = read(io::stdin(), &mut [0]);
    match result {
        Err(error) => writeln!(io::stderr(), "it fails by {error}")?,
        Ok(_) => writeln!(io::stderr(), "it finds the end of file")?,
    }
    Ok(0)
}
