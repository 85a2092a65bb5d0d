//! What a child can do about a signal, and what it cannot.
//!
//! Mirrors Python's `signal.signal`, `os.kill` and `signal.pthread_sigmask`. Run it with
//! `cargo run -p process-demo -- signals`. (On Unix only.)
//!
//! What to notice: a child can catch or ignore SIGTERM, but not SIGKILL. A pending signal is a flag
//! and not a message: a signal that is sent ten times before it is handled is handled once. (Only
//! the real-time signals are queued.) If a signal is handled while a system call waits, the call
//! may fail by EINTR. Most programs then make the call again. [`read_stdin`] reports the failure.

use std::{
    io::{self, BufRead, BufReader, PipeReader, Write},
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

use crate::{output::say, process::Process, target};

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
    say!("  without SA_RESTART: {}", interrupted_read("fail", 2000)?)?;
    say!("  with SA_RESTART: {}", interrupted_read("restart", 20)?)?;
    Ok(0)
}

/// Sends SIGTERM to a child, and SIGKILL too if the child ignores SIGTERM. Returns the child's exit
/// code, and what happened at SIGTERM.
fn after_sigterm(target: &str) -> anyhow::Result<(i64, String)> {
    let (child, mut stderr) = start(target, "")?;
    child.terminate()?;
    let said = match target {
        "ignore_sigterm" => {
            // The system discards an ignored signal when it is sent: there is nothing to wait for.
            ensure!(child.is_alive()?, "SIGTERM ended a child that ignores it");
            child.kill()?;
            "nothing happens".to_owned()
        }
        _ => next_line(&mut stderr)?,
    };
    child.join()?;
    Ok((exit_code(&child)?, said))
}

/// Stops a child, then lets it continue. Returns what its parent learns of each.
fn stopped_and_continued() -> anyhow::Result<(String, String)> {
    let (child, _stderr) = start("ignore_sigterm", "")?;
    let wait = |signal, option| {
        kill(id(&child)?, signal).with_context(|| format!("cannot send {signal}"))?;
        // Without an option, a wait returns only when the child has ended.
        let status = waitpid(id(&child)?, Some(option)).context("cannot wait for the child")?;
        let status = match status {
            WaitStatus::Stopped(_, signal) => format!("stopped by {signal}"),
            WaitStatus::Continued(_) => "continued".to_owned(),
            status => bail!("the child should have stopped or continued, but: {status:?}"),
        };
        anyhow::Ok(format!("{status}, is_alive {}", child.is_alive()?))
    };
    let both = wait(Signal::SIGSTOP, WaitPidFlag::WUNTRACED).and_then(|stopped| {
        let continued = wait(Signal::SIGCONT, WaitPidFlag::WCONTINUED)?;
        Ok((stopped, continued))
    });
    // After an error too: a stopped child would not end by itself.
    child.kill()?;
    both
}

/// Sends SIGUSR1 to a child several times while the child blocks it. Returns how often the child
/// handles it.
fn sent_while_blocked(times: u32) -> anyhow::Result<i64> {
    let (child, _stderr) = start("count_sigusr1", "")?;
    for _ in 0..times {
        kill(id(&child)?, Signal::SIGUSR1).context("cannot send SIGUSR1")?;
    }
    // This child catches SIGTERM. It then unblocks SIGUSR1, and returns the count as its exit code.
    child.terminate()?;
    child.join()?;
    exit_code(&child)
}

/// Sends signals to a child that reads its stdin, until the read ends, but not more than `most`.
/// Returns how the read ends, if it does.
fn interrupted_read(how: &str, most: u32) -> anyhow::Result<String> {
    let (child, mut stderr) = start("read_stdin", how)?;
    // One signal is not enough: it could be handled before the child reads. So we send more. (On a
    // busy machine, the child may begin to read much later.)
    for _ in 0..most {
        kill(id(&child)?, Signal::SIGUSR1).context("cannot send SIGUSR1")?;
        if child.join_timeout(Duration::from_millis(5))?.is_some() {
            return next_line(&mut stderr);
        }
    }
    child.kill()?;
    Ok("it goes on waiting".to_owned())
}

/// Starts a child, and returns when the child has set its handlers. Also returns the reading end of
/// the pipe that is the child's stderr.
fn start(target: &str, arg: &str) -> anyhow::Result<(Process, BufReader<PipeReader>)> {
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
    line.context("cannot read what the child wrote")
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

// The functions that the children run, and what they need.

/// How many signals were handled in this process.
static HANDLED: AtomicU8 = AtomicU8::new(0);

/// The handler of every signal that a child here catches: it counts. A handler interrupts the
/// program at any point, even while the program allocates memory or holds a lock. So a handler may
/// do neither. (`extern "C"`: the system can call it like a function written in C.)
extern "C" fn note(_: c_int) {
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

/// Sets what this process does when it gets `signal`.
fn handle(signal: Signal, action: SigHandler, flags: SaFlags) -> anyhow::Result<()> {
    let action = SigAction::new(action, flags, SigSet::empty());
    // SAFETY: `note`, the only handler that we set, does nothing but an atomic addition.
    unsafe { sigaction(signal, &action) }.with_context(|| format!("cannot handle {signal}"))?;
    Ok(())
}

fn say_ready() -> anyhow::Result<()> {
    Ok(io::stderr().write_all(b"ready\n")?)
}

/// Waits until a signal has been handled. During the wait, only the signals in `blocked` are
/// blocked. After the wait, the signals that were blocked before it are blocked again.
///
/// # Errors
/// When stdin ends: the parent has ended, or has dropped the [`Process`] of this child.
fn wait_for_a_signal(blocked: SigSet) -> anyhow::Result<()> {
    let stdin = io::stdin();
    let mut readable = FdSet::new();
    readable.insert(stdin.as_fd());
    // `pselect` sets the blocked signals and waits in one step. In two steps, the signal could be
    // handled between them, and the wait would not end.
    match pselect(None, &mut readable, None, None, None, &blocked) {
        Err(Errno::EINTR) => Ok(()),
        Ok(_) => bail!("the parent has ended"),
        Err(error) => Err(error).context("cannot wait for a signal"),
    }
}

/// Ends at SIGTERM, but not in the middle of its work.
pub fn finish_at_sigterm(_: &[String]) -> anyhow::Result<u8> {
    // SIGTERM is blocked while the child works. If it is sent meanwhile, it stays pending until the
    // wait, which unblocks it: then the handler runs, and the wait ends.
    SigSet::from(Signal::SIGTERM).thread_block()?;
    handle(Signal::SIGTERM, SigHandler::Handler(note), SaFlags::empty())?;
    say_ready()?;
    wait_for_a_signal(SigSet::empty())?;
    writeln!(io::stderr(), "it finishes its work")?;
    Ok(0)
}

/// Ignores SIGTERM, and ends when its stdin ends.
pub fn ignore_sigterm(_: &[String]) -> anyhow::Result<u8> {
    handle(Signal::SIGTERM, SigHandler::SigIgn, SaFlags::empty())?;
    // A process that is stopped runs no code, so it cannot find the end of its stdin when its
    // parent dies. So we ask the system to kill it then. (Linux only.)
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    say_ready()?;
    target::wait_for_end_of_stdin()?;
    Ok(0)
}

/// Blocks SIGUSR1 until SIGTERM comes. Returns how often SIGUSR1 was handled after that.
pub fn count_sigusr1(_: &[String]) -> anyhow::Result<u8> {
    let both = SigSet::from_iter([Signal::SIGUSR1, Signal::SIGTERM]);
    both.thread_block()?;
    handle(Signal::SIGUSR1, SigHandler::Handler(note), SaFlags::empty())?;
    handle(Signal::SIGTERM, SigHandler::Handler(note), SaFlags::empty())?;
    say_ready()?;
    wait_for_a_signal(SigSet::from(Signal::SIGUSR1))?;
    // SIGTERM has ended the wait. `note` has counted this SIGTERM, so the count goes back to 0.
    // SIGTERM is blocked again now: from here on only SIGUSR1 is counted.
    HANDLED.store(0, Ordering::Relaxed);
    // If SIGUSR1 is pending, its handler runs before this call returns.
    SigSet::from(Signal::SIGUSR1).thread_unblock()?;
    Ok(HANDLED.load(Ordering::Relaxed))
}

/// Reads its stdin. The read has to wait, because the parent writes nothing.
pub fn read_stdin(args: &[String]) -> anyhow::Result<u8> {
    let restart = args == ["restart"];
    let flags = if restart {
        SaFlags::SA_RESTART
    } else {
        SaFlags::empty()
    };
    handle(Signal::SIGUSR1, SigHandler::Handler(note), flags)?;
    say_ready()?;
    // This `read` is the system call alone. `read_line` and `read_to_string` in Rust, and all reads
    // in Python since 3.5, make the call again when it fails by EINTR.
    let result = read(io::stdin(), &mut [0]);
    match result {
        Err(error) => writeln!(io::stderr(), "it fails by {error}")?,
        Ok(_) => writeln!(io::stderr(), "it finds the end of file")?,
    }
    Ok(0)
}
