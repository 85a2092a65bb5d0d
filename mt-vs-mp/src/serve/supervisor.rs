//! The master: it starts the worker processes, and replaces those that die.
//!
//! It serves no client, so no client can hurt it. It has one thread and waits in one place.

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

/// A process that lived for less than this has died at once.
const AT_ONCE: Duration = Duration::from_secs(1);
/// The pause before one that died at once is replaced; it doubles each time, up to the longest.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Runs all processes of the site until a signal asks for the end. In each of them `work` gets the
/// number of its place, and the end to wait for.
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
        places: (0..site.board.processes().len())
            .map(|_| Place::new())
            .collect(),
        log: Log::new(),
    };
    let result = master.supervise();
    if result.is_err() {
        // Whatever went wrong: the processes must not be left behind.
        master.kill_all();
    }
    result
}

struct Master {
    site: &'static Site,
    work: fn(&'static Site, usize, End) -> anyhow::Result<()>,
    signals: Signals,
    /// The processes wait for its end. `None` when it has come.
    ender: Option<Ender>,
    /// The other end of it, to be inherited.
    end: Option<End>,
    places: Vec<Place>,
    log: Log,
}

/// Where a process is, or is to be.
struct Place {
    child: Option<Pid>,
    /// When the child was started, or when the next one is to be.
    time: Instant,
    pause: Duration,
}

impl Place {
    fn new() -> Self {
        Self {
            child: None,
            time: Instant::now(),
            pause: PAUSE,
        }
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
                // Asked twice: at once, then.
                self.kill_all();
                return Ok(INTERRUPTED);
            }
        }
        self.kill_all();
        Ok(0)
    }

    fn has_children(&self) -> bool {
        self.places.iter().any(|place| place.child.is_some())
    }

    /// When the first of the missing processes is to be started.
    fn next_start(&self) -> Option<Instant> {
        let missing = self.places.iter().filter(|place| place.child.is_none());
        missing.map(|place| place.time).min()
    }

    /// Waits for a signal, for room in the log, or for the deadline. True if a signal asks for the
    /// end.
    fn wait(&mut self, deadline: Option<Instant>) -> anyhow::Result<bool> {
        let signals = PollFd::new(self.signals.as_fd(), PollFlags::POLLIN);
        let log = self.log.waits_for();
        let log = log.map(|stdout| PollFd::new(stdout, PollFlags::POLLOUT));
        let mut fds: Vec<PollFd> = [Some(signals), log].into_iter().flatten().collect();
        let timeout = deadline.map_or(PollTimeout::NONE, |deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            // Rounded up, so that it is not too short by less than a millisecond.
            let left = left + Duration::from_millis(u64::from(!left.is_zero()));
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut fds, timeout) {
            Err(Errno::EINTR) => return Ok(false),
            result => result.map_err(io::Error::from).context("cannot wait")?,
        };
        let woken: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(true)).collect();
        if woken.get(1) == Some(&true) {
            self.log.write();
        }
        if !woken[0] {
            return Ok(false);
        }
        let signals = self.signals.take()?;
        self.reap()?;
        Ok(signals.into_iter().any(signals::asks_for_the_end))
    }

    fn start_those_due(&mut self) {
        let now = Instant::now();
        for number in 0..self.places.len() {
            let place = &self.places[number];
            if place.child.is_some() || place.time > now {
                continue;
            }
            match self.fork(number) {
                Ok(child) => {
                    let place = &mut self.places[number];
                    place.child = Some(child);
                    place.time = Instant::now();
                }
                Err(error) => {
                    let pause = self.postpone(number);
                    self.log.line(format_args!(
                        "cannot fork process {} of {}: {}; next attempt in {pause:?}",
                        number + 1,
                        self.places.len(),
                        io::Error::from(error)
                    ));
                }
            }
        }
    }

    fn fork(&mut self, number: usize) -> nix::Result<Pid> {
        let master = nix::unistd::getpid();
        // A signal that comes now must reach the child when it is ready for it, or not at all.
        signals::block()?;
        // SAFETY: this process has no other thread whose half-done work (a held lock, say) the
        // child would inherit.
        let result = unsafe { fork() };
        if let Ok(ForkResult::Child) = result {
            let body = AssertUnwindSafe(|| self.be_a_worker(number, master));
            let code = match panic::catch_unwind(body) {
                Ok(result) => output::exit_code(result.map(|()| 0)),
                Err(_) => 101,
            };
            // SAFETY: `_exit` has no precondition. It runs none of our destructors: those are the
            // parent's.
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
        // While any copy of it is open, the end does not come.
        self.ender = None;
        let end = self.end.take().context("each child inherits it")?;
        self.site.board.note_start(number);
        (self.work)(self.site, number, end)
    }

    /// Takes note of all children that have ended.
    fn reap(&mut self) -> anyhow::Result<()> {
        for number in 0..self.places.len() {
            let place = &self.places[number];
            let Some(child) = place.child else { continue };
            let Some(status) = try_wait(child)? else {
                continue;
            };
            let lived = place.time.elapsed();
            self.places[number].child = None;
            if status.success() {
                // It has answered its number of requests, or the server ends.
                self.places[number].time = Instant::now();
            } else {
                self.report(number, child, status);
                if lived < AT_ONCE {
                    self.postpone(number);
                } else {
                    self.places[number] = Place::new();
                }
            }
            self.site.board.note_end(number);
        }
        Ok(())
    }

    /// Has the place stay empty for a pause, which grows each time.
    fn postpone(&mut self, number: usize) -> Duration {
        let place = &mut self.places[number];
        let pause = place.pause;
        place.time = Instant::now() + pause;
        place.pause = (pause * 2).min(LONGEST_PAUSE);
        pause
    }

    fn report(&mut self, number: usize, child: Pid, status: ExitStatus) {
        let how = match status.code() {
            Some(101) => How::Panic,
            Some(code) => How::Code(code),
            None => How::Signal(status.signal().unwrap_or(0)),
        };
        let death = self
            .site
            .board
            .note_death((child.as_raw() as u32, number), None, how);
        let lost = match death.lost.load(Relaxed) {
            0 => "no request".to_owned(),
            _ => death.targets.get().escape_debug().to_string(),
        };
        self.log
            .line(format_args!("process {child} {how} during {lost}"));
    }

    /// Ends all that still run, and waits for them.
    fn kill_all(&mut self) {
        for child in self
            .places
            .iter_mut()
            .filter_map(|place| place.child.take())
        {
            // As long as nobody has waited for it, the child's id is its own.
            let _ = kill(child, Signal::SIGKILL);
            let _ = wait(child, 0);
        }
    }
}

/// Has the system kill this process when its parent ends, even if it waits for nothing.
///
/// On other systems it goes on until it has answered its request: then the end comes.
fn die_with(master: Pid) -> anyhow::Result<()> {
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).context("cannot ask for a signal")?;
    // Or has it ended already?
    anyhow::ensure!(nix::unistd::getppid() == master, "the master has ended");
    Ok(())
}

fn try_wait(child: Pid) -> anyhow::Result<Option<ExitStatus>> {
    wait(child, libc::WNOHANG)
        .map_err(io::Error::from)
        .with_context(|| format!("cannot wait for process {child}"))
}

/// Waits for a child. (nix's own call loses a child that was killed by a real-time signal.)
fn wait(child: Pid, options: libc::c_int) -> Result<Option<ExitStatus>, Errno> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is ours, and valid for as long as the call takes.
        let result = unsafe { libc::waitpid(child.as_raw(), &mut status, options) };
        match Errno::result(result) {
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
            Ok(0) => return Ok(None),
            Ok(_) => return Ok(Some(ExitStatus::from_raw(status))),
        }
    }
}
