//! Ctrl-C: the trial under way ends at once with all that it started, and the laboratory says that
//! the run is incomplete.
//!
//! A trial has a process group of its own, so the terminal's Ctrl-C reaches the laboratory alone.
//! That ends the trial, and its main thread, which waited for it, finds out why.

use std::{
    fmt, io,
    process::{self, Child, Command, ExitStatus},
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

/// From now on, Ctrl-C (and SIGTERM, SIGHUP) is for us to handle, unless whoever started us had it
/// ignored: `nohup` does so, and a shell for what it starts with `&`. This starts a thread.
pub fn watch() -> anyhow::Result<()> {
    #[cfg(unix)]
    let ignored = system::ignored();
    ctrlc::set_handler(|| {
        let mut state = state();
        if state.interrupted {
            // For the second time: whatever holds us up, a blocked terminal perhaps.
            process::exit(EXIT_CODE.into());
        }
        state.interrupted = true;
        if let Some(trial) = state.trial {
            system::end_group(trial);
        }
    })
    .map_err(|error| match error {
        // Its own text says only that there was one.
        ctrlc::Error::System(error) => anyhow!(error),
        error => anyhow!(error),
    })
    .context("cannot watch for Ctrl-C")?;
    #[cfg(unix)]
    system::ignore(ignored);
    Ok(())
}

pub fn check() -> anyhow::Result<()> {
    if state().interrupted {
        return Err(Interrupted.into());
    }
    Ok(())
}

/// Starts a trial, unless we are interrupted.
pub fn start(command: &mut Command) -> anyhow::Result<Child> {
    // Under the lock, so that no trial is started that the handler does not know of.
    let mut state = state();
    if state.interrupted {
        return Err(Interrupted.into());
    }
    let child = command.spawn()?;
    state.trial = Some(child.id());
    Ok(child)
}

/// Waits for the trial's end, and ends everything that it started and left behind.
pub fn wait(trial: &mut Child) -> io::Result<ExitStatus> {
    // The order matters: once the trial is reaped, its id, which is its group's, may be given to
    // somebody else.
    system::wait_without_reaping(trial)?;
    if let Some(trial) = state().trial.take() {
        system::end_group(trial);
    }
    trial.wait()
}

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether whoever read our output has left: then there is nobody left to measure for.
pub fn nobody_reads() -> bool {
    system::nobody_reads()
}

#[cfg(unix)]
mod system {
    use std::{io, mem::MaybeUninit, os::fd::AsFd, process::Child};

    use nix::{
        errno::Errno,
        libc,
        poll::{PollFd, PollFlags, PollTimeout, poll},
        sys::signal::{SigHandler, Signal, killpg, signal},
        unistd::Pid,
    };

    pub fn ignored() -> Vec<Signal> {
        let is_ignored = |&signal: &Signal| {
            let mut action = MaybeUninit::<libc::sigaction>::uninit();
            // SAFETY: nothing is changed, and the present action is written where there is room for
            // it.
            let result =
                unsafe { libc::sigaction(signal as i32, std::ptr::null(), action.as_mut_ptr()) };
            // SAFETY: the call has written it.
            result == 0 && unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
        };
        let signals = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];
        signals.into_iter().filter(is_ignored).collect()
    }

    pub fn ignore(signals: Vec<Signal>) {
        for of in signals {
            // SAFETY: no handler is set.
            let _ = unsafe { signal(of, SigHandler::SigIgn) };
        }
    }

    /// The group's id is its first process's.
    pub fn end_group(id: u32) {
        // It fails if nobody is left, which is what we want.
        let _ = killpg(Pid::from_raw(id as i32), Signal::SIGKILL);
    }

    pub fn wait_without_reaping(child: &Child) -> io::Result<()> {
        let mut info = MaybeUninit::<libc::siginfo_t>::uninit();
        let flags = libc::WEXITED | libc::WNOWAIT;
        loop {
            // SAFETY: there is room for what is written. (nix has this call on Linux only.)
            let result = unsafe { libc::waitid(libc::P_PID, child.id(), info.as_mut_ptr(), flags) };
            match Errno::result(result) {
                Err(Errno::EINTR) => {}
                result => return Ok(result.map(drop)?),
            }
        }
    }

    pub fn nobody_reads() -> bool {
        let stdout = io::stdout();
        let mut fds = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
        let gone = PollFlags::POLLERR | PollFlags::POLLHUP;
        let polled = poll(&mut fds, PollTimeout::ZERO);
        let events = fds[0].revents().unwrap_or(PollFlags::empty());
        polled.is_ok() && events.intersects(gone)
    }
}

/// On Windows Ctrl-C reaches the trial too, and only a write tells that the reader has left.
#[cfg(not(unix))]
mod system {
    use std::{io, process::Child};

    pub fn end_group(_: u32) {}

    pub fn wait_without_reaping(_: &Child) -> io::Result<()> {
        Ok(())
    }

    pub fn nobody_reads() -> bool {
        false
    }
}
