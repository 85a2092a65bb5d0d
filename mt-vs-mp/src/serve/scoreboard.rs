//! The scoreboard: what every worker is doing, in memory that all processes of the server share.
//!
//! Each worker writes to a slot of its own, and any worker can read all slots to answer `/status`.
//! When a worker has crashed, its slot still says what it was doing. (Apache does the same, and
//! calls it the scoreboard too.)

use std::{
    process, str,
    sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// How many deaths the board has room for. The next death takes the place of the oldest.
pub const DEATHS: usize = 16;

pub struct Board {
    start: Instant,
    threads: usize,
    processes: &'static [Process],
    slots: &'static [Slot],
    deaths: &'static [Death],
    /// How many deaths there have been.
    dead: &'static AtomicU64,
}

/// One of the processes. When it ends, the next one gets its number, and is noted here.
#[derive(Default)]
pub struct Process {
    /// 0 if it has ended.
    pub pid: AtomicU32,
    /// When it started, in [`Board::now`]'s milliseconds.
    pub since: AtomicU64,
    /// 1 for the first process with this number, 2 for the one that replaced it, and so on.
    pub generation: AtomicU64,
    /// How many requests the slots had answered before this process started.
    answered_before: AtomicU64,
}

/// What one worker is doing. While the worker lives, it alone writes to its slot. Each slot has
/// cache lines of its own, so that workers do not slow each other down.
#[derive(Default)]
#[repr(align(128))]
pub struct Slot {
    pub thread: AtomicU32,
    state: AtomicU8,
    /// When it began its last answer.
    pub since: AtomicU64,
    /// How many requests it has answered, together with earlier workers of this slot.
    pub answered: AtomicU64,
    /// The target of its last request, such as `/slow?ms=9000`.
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
    /// It has answered, and waits for the next request of the same client.
    KeptOpen,
}

/// How a thread or a process died.
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
    /// How many requests were lost, and their targets.
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

    /// The milliseconds since the board was made.
    pub fn now(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    /// How many requests a process has answered since it started.
    pub fn answered_by(&self, process: usize) -> u64 {
        self.sum(process) - self.processes[process].answered_before.load(Relaxed)
    }

    fn sum(&self, process: usize) -> u64 {
        let slots = self.slots(process).iter();
        slots.map(|slot| slot.answered.load(Relaxed)).sum()
    }

    /// The calling process notes that it is now the process with this number.
    pub fn note_start(&self, number: usize) {
        let process = &self.processes[number];
        process.pid.store(process::id(), Relaxed);
        process.since.store(self.now(), Relaxed);
        process.generation.fetch_add(1, Relaxed);
        process.answered_before.store(self.sum(number), Relaxed);
    }

    /// Notes that a process has ended, and all of its workers with it.
    #[cfg(unix)]
    pub fn note_end(&self, process: usize) {
        self.processes[process].pid.store(0, Relaxed);
        for slot in self.slots(process) {
            slot.leave();
        }
    }

    /// Notes that a thread died, or, if `thread` is `None`, a process with all its threads.
    /// `process` and `thread` are numbers. Call it before other workers get the slots.
    pub fn note_death(&self, pid: u32, process: usize, thread: Option<usize>, how: How) -> &Death {
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

    /// How many deaths there have been, and those that are still noted, the latest first.
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

    /// Notes a request before the worker answers it, because the answer may be a crash.
    pub fn start_answer(&self, target: &str, now: u64) {
        self.target.set(target);
        self.since.store(now, Relaxed);
        self.enter(State::Answering);
    }

    pub fn end_answer(&self) {
        // No other thread writes to it, so this needs no atomic addition.
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

/// A text of up to N bytes; a longer one is cut off. Reading it while another thread changes it may
/// give a mixture of the old text and the new one.
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

/// The time from `then` to `now`, which are both times of the board.
pub fn between(then: u64, now: u64) -> Duration {
    Duration::from_millis(now.saturating_sub(then))
}

/// The system's number for this thread.
fn thread_id() -> u32 {
    #[cfg(target_os = "linux")]
    return nix::unistd::gettid().as_raw() as u32;
    #[cfg(windows)]
    // SAFETY: the call has no precondition.
    return unsafe { windows_sys::Win32::System::Threading::GetCurrentThreadId() };
    // On other systems, this program numbers its threads.
    #[cfg(not(any(target_os = "linux", windows)))]
    {
        static THREADS: AtomicU32 = AtomicU32::new(1);
        THREADS.fetch_add(1, Relaxed)
    }
}

/// Memory that this process shares with all its children. It is never freed.
///
/// `T` must consist of atomics alone: they may be zero, and several processes may change them.
#[cfg(unix)]
fn shared<T: Default>(number: usize) -> anyhow::Result<&'static [T]> {
    use anyhow::Context;

    // SAFETY: `T` consists of atomics alone, as said above.
    unsafe { crate::lab::mapping::Mapping::shared_atomics(number) }
        .context("cannot get memory for the scoreboard")
}

/// Without fork there is one process, and nothing to share.
#[cfg(not(unix))]
fn shared<T: Default>(number: usize) -> anyhow::Result<&'static [T]> {
    Ok((0..number).map(|_| T::default()).collect::<Vec<_>>().leak())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board(processes: usize, threads: usize) -> &'static Board {
        new(processes, threads).expect("there is memory")
    }

    #[test]
    fn a_process_counts_only_the_requests_that_it_has_answered_itself() {
        let board = board(2, 2);
        board.note_start(1);
        let first = &board.processes()[1];
        assert_eq!(first.pid.load(Relaxed), process::id());
        for thread in [0, 0, 1] {
            board.slot(1, thread).end_answer();
        }
        assert_eq!((board.answered_by(0), board.answered_by(1)), (0, 3));
        // Its successor.
        board.note_start(1);
        assert_eq!(board.answered_by(1), 0);
        board.slot(1, 0).end_answer();
        assert_eq!(board.answered_by(1), 1);
        assert_eq!(board.slot(1, 0).answered.load(Relaxed), 3);
        assert_eq!(first.generation.load(Relaxed), 2);
    }

    #[cfg(unix)]
    #[test]
    fn the_workers_of_a_process_that_has_ended_are_gone() {
        let board = board(2, 2);
        for process in [0, 1] {
            board.note_start(process);
            for slot in board.slots(process) {
                slot.enter(State::Idle);
            }
        }
        board.note_end(1);
        let left = [0, 1].map(|number| board.processes()[number].pid.load(Relaxed));
        assert_eq!(left, [process::id(), 0]);
        let states = |process| board.slots(process).iter().map(Slot::state);
        assert!(states(0).all(|state| state == State::Idle));
        assert!(states(1).all(|state| state == State::Nobody));
    }

    #[test]
    fn the_dying_lose_the_requests_that_they_are_answering() {
        let board = board(2, 3);
        board.slot(0, 2).start_answer("/of-another-process", 1);
        for (thread, target) in ["/a", "/b", "/c"].into_iter().enumerate() {
            let slot = board.slot(1, thread);
            slot.thread.store(30 + thread as u32, Relaxed);
            slot.start_answer(target, 1);
        }
        board.slot(1, 1).end_answer();
        for (thread, id, lost, targets) in [
            (None, 0, 2, "/a, /c"),
            (Some(2), 32, 1, "/c"),
            (Some(1), 31, 0, ""),
        ] {
            let death = board.note_death(77, 1, thread, How::Panic);
            assert_eq!(death.process.load(Relaxed), 77);
            assert_eq!(death.thread.load(Relaxed), id);
            assert_eq!(death.lost.load(Relaxed), lost);
            assert_eq!(death.targets.get(), targets);
        }
    }

    #[test]
    fn of_many_deaths_the_latest_are_noted() {
        let board = board(1, 1);
        for pid in 1..=20 {
            board.note_death(pid, 0, None, How::Panic);
        }
        let (dead, deaths) = board.deaths();
        assert_eq!(dead, 20);
        let pids = deaths.map(|death| death.process.load(Relaxed));
        assert!(pids.eq((5..=20).rev()));
    }

    #[test]
    fn what_is_noted_is_read_again() {
        let board = board(1, 1);
        for how in [How::Panic, How::Code(0), How::Code(-3), How::Signal(11)] {
            assert_eq!(board.note_death(1, 0, None, how).how(), how);
        }
        let slot = board.slot(0, 0);
        for state in [
            State::Nobody,
            State::Idle,
            State::Reading,
            State::Answering,
            State::KeptOpen,
        ] {
            slot.enter(state);
            assert!(slot.state() == state);
        }
        slot.leave();
        assert!(slot.state() == State::Nobody);
        let text = Text::<4>::default();
        for (set, get) in [("abcde", "abcd"), ("x", "x"), ("", "")] {
            text.set(set);
            assert_eq!(text.get(), get);
        }
    }

    #[test]
    fn times_are_milliseconds_since_the_board_was_made() {
        let start = Instant::now() - Duration::from_secs(3);
        let board = Board {
            start,
            ..*board(1, 1)
        };
        assert!(board.now() >= 3000);
        assert_eq!(between(1000, 3500), Duration::from_millis(2500));
        assert_eq!(between(3500, 1000), Duration::ZERO);
    }
}
