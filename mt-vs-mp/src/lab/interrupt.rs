//! Ctrl-C: the trial under way ends at once with all that it started, and the laboratory says that
//! the run is incomplete.
//!
//! A trial has a process group of its own, so the terminal's Ctrl-C reaches the laboratory alone.
//! That ends the trial, and its main thread, which waited for it, finds out why.

use std::{
    fmt, io,
    process::{self, Child, Command},
    sync::{Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context, anyhow};

/// The exit code of what was ended by Ctrl-C: 128 + SIGINT, as shells have it.
pub const EXIT_CODE: u8 = 130;

struct State {
    interrupted: bool,
    /// The trial under way.
    trial: Option<u32>,
}

static STATE: Mutex<State> = Mutex::new(State {
    interrupted: false,
    trial: None,
});

/// Somebody wants the run to end.
#[derive(Debug)]
pub struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// From now on, Ctrl-C (and SIGTERM, SIGHUP) is for us to handle. This starts a thread.
pub fn watch() -> anyhow::Result<()> {
    ctrlc::set_handler(|| {
        let mut state = state();
        if state.interrupted {
            // For the second time: whatever holds us up, a blocked terminal perhaps.
            process::exit(EXIT_CODE.into());
        }
        state.interrupted = true;
        if let Some(trial) = state.trial {
            end_group(trial);
        }
    })
    .map_err(|error| match error {
        // Its own text says only that there was one.
        ctrlc::Error::System(error) => anyhow!(error),
        error => anyhow!(error),
    })
    .context("cannot watch for Ctrl-C")
}

pub fn check() -> anyhow::Result<()> {
    if state().interrupted {
        return Err(Interrupted.into());
    }
    Ok(())
}

/// Starts a trial, unless we are interrupted.
pub fn start(command: &mut Command) -> anyhow::Result<Child> {
    // Under the lock, so that no trial is started that the handler has not heard of.
    let mut state = state();
    if state.interrupted {
        return Err(Interrupted.into());
    }
    let child = command.spawn()?;
    state.trial = Some(child.id());
    Ok(child)
}

/// The trial's process has ended: so must everything that it started.
pub fn ended() {
    if let Some(trial) = state().trial.take() {
        end_group(trial);
    }
}

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The group's id is its first process's, and is given to nobody else while a process is left in
/// it.
#[cfg(unix)]
fn end_group(id: u32) {
    use nix::{
        sys::signal::{Signal, killpg},
        unistd::Pid,
    };
    // It fails if nobody is left, which is what we want.
    let _ = id
        .try_into()
        .map(|id| killpg(Pid::from_raw(id), Signal::SIGKILL));
}

/// On Windows, Ctrl-C reaches the trial too.
#[cfg(not(unix))]
fn end_group(_: u32) {}

/// Whether whoever read our output has left: then there is nobody left to measure for.
#[cfg(unix)]
pub fn nobody_reads() -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd;
    let stdout = io::stdout();
    let mut fds = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
    let polled = poll(&mut fds, PollTimeout::ZERO);
    let gone = PollFlags::POLLERR | PollFlags::POLLHUP;
    polled.is_ok()
        && fds[0]
            .revents()
            .is_some_and(|events| events.intersects(gone))
}

/// Windows tells only whoever writes.
#[cfg(not(unix))]
pub fn nobody_reads() -> bool {
    let _ = io::stdout();
    false
}
