//! The master: it starts the worker processes, and replaces those that die.
//!
//! It serves no client, so no client can make it crash. It has one thread, and waits at one point
//! in the code: [`Master::wait`].

use std::{
    io,
    os::{fd::AsFd, unix::process::ExitStatusExt},
    panic::{self, AssertUnwindSafe},
    process::ExitStatus,
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use anyhow::Context;
use nix::{
    errno::Errno,
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::{Signal, kill},
    unistd::{ForkResult, Pid, fork},
};

use super::{
    GRACE, INTERRUPTED, Site,
    log::Log,
    scoreboard::How,
    signals::{self, Signals},
    waiting::{self, End, Ender},
};
use crate::output;

/// A process that fails within this time of its start is replaced only after a pause.
const AT_ONCE: Duration = Duration::from_secs(1);
/// The first pause. Each further pause is twice as long, up to the longest.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Runs all processes of the site until a signal asks for the end. Each of them calls `work`, with
/// its number and the [`End`] that it waits for.
pub fn run(
    site: &'static Site,
    announce: impl Fn() -> anyhow::Result<()>,
    work: fn(&'static Site, usize, End) -> anyhow::Result<()>,
) -> anyhow::Result<u8> {
    let signals = Signals::new()?;
    let (ender, end) = waiting::end().context("cannot make a pipe")?;
    announce()?;
    let mut master = Master {
        site,
        work,
        signals,
        ender: Some(ender),
        end: Some(end),
        processes: site
            .board
            .processes()
            .iter()
            .map(|_| WorkerProcess::new())
            .collect(),
        log: Log::new(),
    };
    let result = master.supervise();
    if result.is_err() {
        // No process may outlive the master, whatever went wrong.
        master.kill_all();
    }
    master.log.write_the_rest();
    result
}

struct Master {
    site: &'static Site,
    work: fn(&'static Site, usize, End) -> anyhow::Result<()>,
    signals: Signals,
    /// Dropping it is the sign for all processes to end. `None` afterwards.
    ender: Option<Ender>,
    /// What the processes wait for. They inherit it; each takes it out of its own copy.
    end: Option<End>,
    processes: Vec<WorkerProcess>,
    log: Log,
}

/// One of the worker processes. When it ends, the next one gets its number.
struct WorkerProcess {
    /// `None` if it has ended, and the next one is not started yet.
    child: Option<Pid>,
    /// When the child was started, or when the next one is to be started.
    time: Instant,
    /// How long to wait with the next one, if the child fails at once.
    pause: Duration,
}

impl WorkerProcess {
    fn new() -> Self {
        Self {
            child: None,
            time: Instant::now(),
            pause: PAUSE,
        }
    }

    /// The child has ended. After a success, it has answered its number of requests, or the server
    /// ends. The next one is started without a pause, unless the child has failed at once.
    fn note_end(&mut self, success: bool) {
        let lived = self.time.elapsed();
        self.child = None;
        self.time = Instant::now();
        if !success {
            if lived < AT_ONCE {
                self.postpone();
            } else {
                self.pause = PAUSE;
            }
        }
    }

    /// The next child is started after a pause, which is longer each time.
    fn postpone(&mut self) -> Duration {
        let pause = self.pause;
        self.time = Instant::now() + pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        pause
    }
}

impl Master {
    fn supervise(&mut self) -> anyhow::Result<u8> {
        while !self.wait(self.next_start())? {
            self.start_those_due();
        }
        self.site.close();
        self.ender = None;
        let deadline = Instant::now() + GRACE;
        while self.has_children() && Instant::now() < deadline {
            if self.wait(Some(deadline))? {
                // The second signal: without waiting any longer.
                self.kill_all();
                return Ok(INTERRUPTED);
            }
        }
        self.kill_all();
        Ok(0)
    }

    fn has_children(&self) -> bool {
        self.processes.iter().any(|process| process.child.is_some())
    }

    /// When the first of the missing processes is to be started.
    fn next_start(&self) -> Option<Instant> {
        let processes = self.processes.iter();
        let missing = processes.filter(|process| process.child.is_none());
        missing.map(|process| process.time).min()
    }

    /// Waits for a signal, for room in the log, or for the deadline. Returns whether a signal asks
    /// for the end.
    fn wait(&mut self, deadline: Option<Instant>) -> anyhow::Result<bool> {
        let signals = PollFd::new(self.signals.as_fd(), PollFlags::POLLIN);
        let log = self.log.waits_for();
        let log = log.map(|stdout| PollFd::new(stdout, PollFlags::POLLOUT));
        let mut fds: Vec<PollFd> = [Some(signals), log].into_iter().flatten().collect();
        let timeout = deadline.map_or(PollTimeout::NONE, |deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            // Rounded up to whole milliseconds, so that the wait does not end before the deadline.
            let left = PollTimeout::try_from(left + Duration::from_millis(1));
            left.unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut fds, timeout) {
            Err(Errno::EINTR) => return Ok(false),
            result => result.map_err(io::Error::from).context("cannot wait")?,
        };
        let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(true)).collect();
        if ready.get(1) == Some(&true) {
            self.log.write();
        }
        if !ready[0] {
            return Ok(false);
        }
        let signals = self.signals.take()?;
        self.reap()?;
        Ok(signals.into_iter().any(signals::asks_for_the_end))
    }

    fn start_those_due(&mut self) {
        let now = Instant::now();
        for number in 0..self.processes.len() {
            let process = &self.processes[number];
            if process.child.is_some() || process.time > now {
                continue;
            }
            match self.fork(number) {
                Ok(child) => {
                    let process = &mut self.processes[number];
                    process.child = Some(child);
                    process.time = Instant::now();
                }
                Err(error) => {
                    let pause = self.processes[number].postpone();
                    self.log.line(format_args!(
                        "cannot fork process {} of {}: {}; next attempt in {pause:?}",
                        number + 1,
                        self.processes.len(),
                        io::Error::from(error)
                    ));
                }
            }
        }
    }

    fn fork(&mut self, number: usize) -> nix::Result<Pid> {
        let master = nix::unistd::getpid();
        // Signals wait meanwhile: the child must not run the handlers that it inherits.
        signals::block()?;
        // SAFETY: this process has no other thread. The child would inherit what another thread was
        // in the middle of, such as a locked mutex.
        let result = unsafe { fork() };
        if let Ok(ForkResult::Child) = result {
            let body = AssertUnwindSafe(|| self.be_a_worker(number, master));
            let code = match panic::catch_unwind(body) {
                Ok(result) => output::exit_code(result.map(|()| 0)),
                Err(_) => 101,
            };
            // SAFETY: `_exit` has no precondition. It runs no destructors, which are the parent's.
            unsafe { libc::_exit(code.into()) }
        }
        signals::unblock()?;
        match result? {
            ForkResult::Parent { child } => Ok(child),
            ForkResult::Child => unreachable!("the child has ended"),
        }
    }

    /// In the child.
    fn be_a_worker(&mut self, number: usize, master: Pid) -> anyhow::Result<()> {
        die_with(master)?;
        signals::leave_to_the_parent()?;
        // Closes this child's copy. If it stayed open, no process would see the sign to end.
        self.ender = None;
        let end = self.end.take().context("each child inherits it")?;
        self.site.board.note_start(number);
        (self.work)(self.site, number, end)
    }

    /// Reaps all children that have ended.
    fn reap(&mut self) -> anyhow::Result<()> {
        for number in 0..self.processes.len() {
            let process = &mut self.processes[number];
            let Some(child) = process.child else { continue };
            let Some(status) = try_wait(child)? else {
                continue;
            };
            process.note_end(status.success());
            if !status.success() {
                self.report(number, child, status);
            }
            self.site.board.note_end(number);
        }
        Ok(())
    }

    fn report(&mut self, number: usize, child: Pid, status: ExitStatus) {
        let how = match status.code() {
            Some(101) => How::Panic,
            Some(code) => How::Code(code),
            None => How::Signal(status.signal().unwrap_or(0)),
        };
        let board = self.site.board;
        let death = board.note_death(child.as_raw() as u32, number, None, how);
        let lost = match death.lost.load(Relaxed) {
            0 => "no request".to_owned(),
            _ => death.targets.get().escape_debug().to_string(),
        };
        self.log
            .line(format_args!("process {child} {how} during {lost}"));
    }

    /// Kills and reaps all processes that still run.
    fn kill_all(&mut self) {
        for process in &mut self.processes {
            if let Some(child) = process.child.take() {
                // No other process can have this id until this one is reaped.
                let _ = kill(child, Signal::SIGKILL);
                let _ = wait(child, 0);
            }
        }
    }
}

/// Linux kills this process when its parent dies.
///
/// On other systems the process answers its request first, and then sees that the parent is dead.
fn die_with(master: Pid) -> anyhow::Result<()> {
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).context("cannot ask for a signal")?;
    // The master may have died before the call.
    anyhow::ensure!(nix::unistd::getppid() == master, "the master has ended");
    Ok(())
}

fn try_wait(child: Pid) -> anyhow::Result<Option<ExitStatus>> {
    wait(child, libc::WNOHANG)
        .map_err(io::Error::from)
        .with_context(|| format!("cannot wait for process {child}"))
}

/// Waits for a child. (nix's own call fails if a real-time signal has killed the child.)
fn wait(child: Pid, options: libc::c_int) -> Result<Option<ExitStatus>, Errno> {
    let mut status = 0;
    // No signal interrupts this call: the handlers have SA_RESTART.
    // SAFETY: `status` is a local variable, which lives longer than the call.
    let result = unsafe { libc::waitpid(child.as_raw(), &mut status, options) };
    Ok(match Errno::result(result)? {
        0 => None,
        _ => Some(ExitStatus::from_raw(status)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_is_longer_each_time_up_to_five_seconds() {
        let mut process = WorkerProcess::new();
        for pause in [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000] {
            let before = Instant::now();
            let pause = Duration::from_millis(pause);
            assert_eq!(process.postpone(), pause);
            assert!(process.time >= before + pause);
        }
    }

    #[test]
    fn only_a_process_that_fails_at_once_is_replaced_after_a_pause() {
        // Whether it succeeded, how long it lived, and the pause that the next failure at once has.
        for (success, seconds, next) in [(true, 0, 400), (false, 0, 800), (false, 60, 50)] {
            let mut process = WorkerProcess {
                child: Some(Pid::this()),
                time: Instant::now() - Duration::from_secs(seconds),
                pause: Duration::from_millis(400),
            };
            let before = Instant::now();
            process.note_end(success);
            assert!(process.child.is_none());
            if next == 800 {
                assert!(process.time >= before + Duration::from_millis(400));
            } else {
                assert!(process.time <= Instant::now());
            }
            assert_eq!(process.pause, Duration::from_millis(next));
        }
    }
}
