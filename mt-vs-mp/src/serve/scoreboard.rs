//! What every worker is doing, in memory that all processes of the server share.
//!
//! Each worker writes to a slot of its own. So any of them can answer `/status`, and what a worker
//! was doing when it crashed is still there afterwards. (Apache does the same, and calls it the
//! scoreboard.)

use std::{
    process, str,
    sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// How many deaths are remembered.
pub const DEATHS: usize = 16;

pub struct Board {
    start: Instant,
    threads: usize,
    processes: &'static [Process],
    slots: &'static [Slot],
    deaths: &'static [Death],
    dead: &'static AtomicU64,
}

/// One of the processes. Its place remains the same when it is replaced.
#[derive(Default)]
pub struct Process {
    pub pid: AtomicU32,
    /// When it started.
    pub since: AtomicU64,
    /// How many processes have been in this place.
    pub lives: AtomicU64,
    /// What its workers had answered before it started.
    answered_before: AtomicU64,
}

/// What one worker is doing. Only the worker writes to it while it lives. Each slot has cache lines
/// of its own, so that workers do not slow each other down.
#[derive(Default)]
#[repr(align(128))]
pub struct Slot {
    pub thread: AtomicU32,
    state: AtomicU8,
    /// When it entered this state.
    pub since: AtomicU64,
    pub answered: AtomicU64,
    pub target: Text<64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// There is no worker.
    Nobody,
    /// It waits for a connection.
    Idle,
    /// It has a connection, and waits for a request.
    Reading,
    Answering,
    /// It has answered, and waits for the same client's next request.
    KeptOpen,
}

/// How a worker died.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    Panic,
    Code(i32),
    Signal(i32),
}

#[derive(Default)]
pub struct Death {
    pub when: AtomicU64,
    pub process: AtomicU32,
    /// 0 if the whole process died.
    pub thread: AtomicU32,
    how: AtomicU64,
    /// How many requests were lost.
    pub lost: AtomicU64,
    pub targets: Text<96>,
}

pub fn new(processes: usize, threads: usize) -> anyhow::Result<&'static Board> {
    Ok(Box::leak(Box::new(Board {
        start: Instant::now(),
        threads,
        processes: shared(processes)?,
        slots: shared(processes * threads)?,
        deaths: shared(DEATHS)?,
        dead: &shared(1)?[0],
    })))
}

impl Board {
    pub fn threads(&self) -> usize {
        self.threads
    }

    pub fn processes(&self) -> &'static [Process] {
        self.processes
    }

    pub fn slots(&self, process: usize) -> &'static [Slot] {
        &self.slots[process * self.threads..][..self.threads]
    }

    pub fn slot(&self, process: usize, thread: usize) -> &'static Slot {
        &self.slots(process)[thread]
    }

    /// The time of the board, in milliseconds.
    pub fn now(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    /// What a process has answered since it started.
    pub fn answered_by(&self, process: usize) -> u64 {
        self.sum(process) - self.processes[process].answered_before.load(Relaxed)
    }

    fn sum(&self, process: usize) -> u64 {
        let slots = self.slots(process).iter();
        slots.map(|slot| slot.answered.load(Relaxed)).sum()
    }

    /// Notes a new process, which writes that itself.
    pub fn note_start(&self, process: usize) {
        let place = &self.processes[process];
        place.pid.store(process::id(), Relaxed);
        place.since.store(self.now(), Relaxed);
        place.lives.fetch_add(1, Relaxed);
        place.answered_before.store(self.sum(process), Relaxed);
    }

    /// Notes that a process has ended, in whatever way: its workers are gone.
    #[cfg(unix)]
    pub fn note_end(&self, process: usize) {
        self.processes[process].pid.store(0, Relaxed);
        for slot in self.slots(process) {
            slot.leave();
        }
    }

    /// Notes a death: of one thread, or of a process with all its threads. Call it before the
    /// slots are taken by others. Returns what was lost.
    pub fn note_death(
        &self,
        (pid, process): (u32, usize),
        thread: Option<usize>,
        how: How,
    ) -> &Death {
        let number = self.dead.fetch_add(1, Relaxed) as usize;
        let death = &self.deaths[number % DEATHS];
        let dying = match thread {
            Some(thread) => &self.slots(process)[thread..=thread],
            None => self.slots(process),
        };
        let lost: Vec<String> = dying
            .iter()
            .filter(|slot| slot.state() == State::Answering)
            .map(|slot| slot.target.get())
            .collect();
        let id = |thread| self.slot(process, thread).thread.load(Relaxed);
        death.when.store(self.now(), Relaxed);
        death.process.store(pid, Relaxed);
        death.thread.store(thread.map_or(0, id), Relaxed);
        death.how.store(how.encode(), Relaxed);
        death.lost.store(lost.len() as u64, Relaxed);
        death.targets.set(&lost.join(", "));
        death
    }

    /// How many have died, and the last of them, the latest first.
    pub fn deaths(&self) -> (u64, impl Iterator<Item = &'static Death>) {
        let dead = self.dead.load(Relaxed);
        let remembered = (0..dead as usize).rev().take(DEATHS);
        let deaths = self.deaths;
        (dead, remembered.map(|number| &deaths[number % DEATHS]))
    }
}

impl Slot {
    /// The calling thread becomes this slot's worker.
    pub fn take(&self) {
        self.thread.store(thread_id(), Relaxed);
    }

    pub fn leave(&self) {
        self.state.store(0, Relaxed);
    }

    pub fn enter(&self, state: State) {
        self.state.store(state as u8, Relaxed);
    }

    pub fn state(&self) -> State {
        match self.state.load(Relaxed) {
            1 => State::Idle,
            2 => State::Reading,
            3 => State::Answering,
            4 => State::KeptOpen,
            _ => State::Nobody,
        }
    }

    /// Notes a request before anything is done about it: that may be a crash.
    pub fn start_answer(&self, target: &str, now: u64) {
        self.target.set(target);
        self.since.store(now, Relaxed);
        self.enter(State::Answering);
    }

    pub fn end_answer(&self) {
        // Nobody else writes to it, so this needs no atomic addition.
        self.answered
            .store(self.answered.load(Relaxed) + 1, Relaxed);
        self.enter(State::KeptOpen);
    }
}

impl How {
    fn encode(self) -> u64 {
        match self {
            Self::Panic => 0,
            Self::Code(code) => 1 << 32 | u64::from(code as u32),
            Self::Signal(signal) => 2 << 32 | u64::from(signal as u32),
        }
    }
}

impl Death {
    pub fn how(&self) -> How {
        let how = self.how.load(Relaxed);
        match how >> 32 {
            1 => How::Code(how as u32 as i32),
            2 => How::Signal(how as u32 as i32),
            _ => How::Panic,
        }
    }
}

/// A short text: cut off if it is longer, and it may be a mixture of two if it is just being
/// changed.
pub struct Text<const N: usize> {
    length: AtomicU8,
    bytes: [AtomicU8; N],
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self {
            length: AtomicU8::new(0),
            bytes: [const { AtomicU8::new(0) }; N],
        }
    }
}

impl<const N: usize> Text<N> {
    pub fn set(&self, text: &str) {
        for (to, from) in self.bytes.iter().zip(text.bytes()) {
            to.store(from, Relaxed);
        }
        self.length.store(text.len().min(N) as u8, Relaxed);
    }

    pub fn get(&self) -> String {
        let length = usize::from(self.length.load(Relaxed)).min(N);
        let bytes = self.bytes.each_ref().map(|byte| byte.load(Relaxed));
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }
}

/// How long it is from then to now, in the board's time.
pub fn between(then: u64, now: u64) -> Duration {
    Duration::from_millis(now.saturating_sub(then))
}

/// The system's number for this thread.
fn thread_id() -> u32 {
    #[cfg(target_os = "linux")]
    return nix::unistd::gettid().as_raw() as u32;
    #[cfg(windows)]
    // SAFETY: it has no precondition.
    return unsafe { windows_sys::Win32::System::Threading::GetCurrentThreadId() };
    // Elsewhere we count them.
    #[cfg(not(any(target_os = "linux", windows)))]
    {
        static THREADS: AtomicU32 = AtomicU32::new(1);
        THREADS.fetch_add(1, Relaxed)
    }
}

/// Memory that this process and all its children see, which lasts as long as they do.
///
/// `T` must consist of atomics alone: they may hold zeros, and may be changed by several processes.
#[cfg(unix)]
fn shared<T: Default>(number: usize) -> anyhow::Result<&'static [T]> {
    use anyhow::Context;

    // SAFETY: see above for `T`.
    unsafe { crate::lab::mapping::Mapping::shared_atomics(number) }
        .context("cannot get memory for the scoreboard")
}

/// One process has nobody to share with.
#[cfg(not(unix))]
fn shared<T: Default>(number: usize) -> anyhow::Result<&'static [T]> {
    Ok((0..number).map(|_| T::default()).collect::<Vec<_>>().leak())
}
