//! Ctrl-C: the trial that is running is killed at once, with all processes that it has started, and
//! the laboratory says that the run is incomplete.
//!
//! A trial has a process group of its own, so the terminal sends Ctrl-C to the laboratory alone. A
//! thread of the laboratory handles it: it notes the interruption and kills the trial. So the main
//! thread, which waits for the trial, goes on and finds the note.

use std::{
    fmt, io,
    process::{self, Child, Command, ExitStatus},
    sync::{Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context, anyhow};

/// The exit code after Ctrl-C: 128 + SIGINT, as in shells.
pub const EXIT_CODE: u8 = 130;

struct State {
    interrupted: bool,
    /// The id of the trial that is running.
    trial: Option<u32>,
}

static STATE: Mutex<State> = Mutex::new(State {
    interrupted: false,
    trial: None,
});

/// The error with which an interrupted run ends.
#[derive(Debug)]
pub struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// Handles Ctrl-C, SIGTERM and SIGHUP from now on, by a thread that this starts. A signal that was
/// ignored when this program began stays ignored: `nohup` and a shell's `&` start programs so.
pub fn watch() -> anyhow::Result<()> {
    #[cfg(unix)]
    let ignored = system::ignored();
    ctrlc::set_handler(|| {
        let mut state = state();
        if state.interrupted {
            // The second time: something blocks the first ending, for example a stopped terminal.
            process::exit(EXIT_CODE.into());
        }
        state.interrupted = true;
        if let Some(trial) = state.trial {
            system::end_group(trial);
        }
    })
    .map_err(|error| match error {
        // The library's own text says only that there was a system error.
        ctrlc::Error::System(error) => anyhow!(error),
        error => anyhow!(error),
    })
    .context("cannot watch for Ctrl-C")?;
    #[cfg(unix)]
    {
        system::ignore(ignored);
        system::reset_inherited()?;
    }
    Ok(())
}

/// # Errors
/// [`Interrupted`], if the run is to end.
pub fn check() -> anyhow::Result<()> {
    if state().interrupted {
        return Err(Interrupted.into());
    }
    Ok(())
}

/// Starts a trial, unless we are interrupted.
pub fn start(command: &mut Command) -> anyhow::Result<Child> {
    // Under the lock, so that the handler knows of every trial that is running.
    let mut state = state();
    if state.interrupted {
        return Err(Interrupted.into());
    }
    let child = command.spawn()?;
    state.trial = Some(child.id());
    Ok(child)
}

/// Waits for the trial's end, and kills the processes that it started and left behind.
pub fn wait(trial: &mut Child) -> io::Result<ExitStatus> {
    // The order matters: the trial's id is also its group's id. After the trial has been reaped,
    // the system may give this id to another process.
    system::wait_without_reaping(trial)?;
    if let Some(trial) = state().trial.take() {
        system::end_group(trial);
    }
    trial.wait()
}

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

pub use system::nobody_reads;

#[cfg(unix)]
mod system {
    use std::{io, mem::MaybeUninit, os::fd::AsFd, process::Child};

    use anyhow::Context;
    use nix::{
        errno::Errno,
        libc,
        poll::{PollFd, PollFlags, PollTimeout, poll},
        sys::signal::{SigHandler, SigSet, Signal, killpg, signal},
        unistd::Pid,
    };

    pub fn ignored() -> Vec<Signal> {
        let is_ignored = |&signal: &Signal| {
            let mut action = MaybeUninit::<libc::sigaction>::uninit();
            // SAFETY: no action is set, and there is room for the present one, which is written.
            let result =
                unsafe { libc::sigaction(signal as i32, std::ptr::null(), action.as_mut_ptr()) };
            // SAFETY: the call has written it.
            result == 0 && unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
        };
        let signals = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];
        signals.into_iter().filter(is_ignored).collect()
    }

    pub fn ignore(signals: Vec<Signal>) {
        for number in signals {
            // SAFETY: this sets no function as a handler.
            let _ = unsafe { signal(number, SigHandler::SigIgn) };
        }
    }

    /// Sets right what a program can inherit from the program that starts it. If SIGCHLD is
    /// ignored, the system reaps each child at once, and nobody can wait for it. A blocked signal
    /// does not arrive.
    pub fn reset_inherited() -> anyhow::Result<()> {
        // SAFETY: this sets no function as a handler.
        unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }.context("cannot reset SIGCHLD")?;
        SigSet::empty()
            .thread_set_mask()
            .context("cannot unblock signals")
    }

    /// Kills a process group. Its id is that of its first process.
    pub fn end_group(id: u32) {
        // An error means that the group has no process left, and that is the aim.
        let _ = killpg(Pid::from_raw(id as i32), Signal::SIGKILL);
    }

    pub fn wait_without_reaping(child: &Child) -> io::Result<()> {
        let mut info = MaybeUninit::<libc::siginfo_t>::uninit();
        let flags = libc::WEXITED | libc::WNOWAIT;
        loop {
            // SAFETY: there is room for the information that is written. (nix has this call on
            // Linux only.)
            let result = unsafe { libc::waitid(libc::P_PID, child.id(), info.as_mut_ptr(), flags) };
            match Errno::result(result) {
                Err(Errno::EINTR) => {}
                result => return Ok(result.map(drop)?),
            }
        }
    }

    /// Whether no process reads our output any more (`| head`): then there is no use in going on.
    pub fn nobody_reads(output: &impl AsFd) -> bool {
        let mut fds = [PollFd::new(output.as_fd(), PollFlags::empty())];
        let gone = PollFlags::POLLERR | PollFlags::POLLHUP;
        let polled = poll(&mut fds, PollTimeout::ZERO);
        let events = fds[0].revents().unwrap_or(PollFlags::empty());
        polled.is_ok() && events.intersects(gone)
    }
}

/// On Windows, Ctrl-C reaches the trial too, and only a failing write tells that the reader has
/// left.
#[cfg(not(unix))]
mod system {
    use std::{io, process::Child};

    pub fn end_group(_: u32) {}

    pub fn wait_without_reaping(_: &Child) -> io::Result<()> {
        Ok(())
    }

    pub fn nobody_reads<Output>(_: &Output) -> bool {
        false
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_pipe_is_read_until_its_reading_end_is_closed() {
        let (reader, writer) = io::pipe().expect("there can be a pipe");
        assert!(!nobody_reads(&writer));
        drop(reader);
        // A child that another test starts at this moment has a copy of it until its program begins.
        let patience = Instant::now() + Duration::from_secs(20);
        while !nobody_reads(&writer) {
            assert!(Instant::now() < patience);
            std::thread::yield_now();
        }
    }
}
