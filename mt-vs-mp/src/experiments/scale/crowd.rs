//! A crowd, and what one trial measures of it.
//!
//! The span begins 10 ms after the crowd: until then, its workers can wake up. The work has no end
//! of its own, so each worker of a computing crowd wants its turn until the span is over. What is
//! computed before or after the span does not count.
//!
//! Meanwhile a bystander sleeps and wakes each millisecond, from before the crowd begins until
//! after its end. Its lateness counts from the moment at which it should have been woken: if it
//! misses ten wake-ups in a row, ten wake-ups are late and not one. No lateness can be longer than
//! the crowd lasts: when the crowd has ended, the bystander gets its turn.

use std::{
    fmt,
    hint::black_box,
    ops::Range,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

#[cfg(target_os = "linux")]
use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::{
    experiments::percentile,
    finding::interval::median,
    lab::{mapping::Mapping, memory_use, role::Role, team::Team},
    work::count_primes,
};

/// A number of processes or threads that all compute or all sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crowd {
    /// True: its workers are processes. False: they are threads.
    pub processes: bool,
    /// True: its workers compute. False: they sleep.
    pub computing: bool,
    pub workers: usize,
    /// The machine's processors. Beside a crowd that sleeps, one member for each of them computes.
    pub cores: usize,
    /// The length of the span in which work counts, in milliseconds.
    pub span: u64,
}

impl Crowd {
    pub fn name(&self) -> &'static str {
        match self.processes {
            true => "processes",
            false => "threads",
        }
    }

    pub fn state(&self) -> &'static str {
        match self.computing {
            true => "compute",
            false => "sleep",
        }
    }

    /// Member 0 is the bystander. Then come the members that compute, then those that sleep.
    pub fn members(&self) -> usize {
        match self.computing {
            true => 1 + self.workers,
            false => 1 + self.cores + self.workers,
        }
    }

    pub fn members_that_compute(&self) -> usize {
        match self.computing {
            true => self.workers,
            false => self.cores,
        }
    }

    /// How often the bystander is woken.
    fn wake_ups(&self) -> u64 {
        self.span + 2 * MARGIN + SETTLE
    }
}

impl fmt::Display for Crowd {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} {} that {}", self.workers, self.name(), self.state())
    }
}

/// How long the bystander is there before the crowd begins, and after its end, in milliseconds.
const MARGIN: u64 = 2;

/// How long a crowd has for all its members to wake up before the span, in milliseconds.
const SETTLE: u64 = 10;

/// What was measured of a crowd.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Sample {
    /// The time from the first member's start until all are there, in seconds.
    pub start: f64,
    /// How many tasks all members together did in the span.
    pub tasks: f64,
    /// The memory that each worker has for itself, in bytes. `None` if the system does not tell.
    pub memory: Option<f64>,
    /// How late the bystander was woken, in seconds: the median.
    pub late: f64,
    /// The 99th percentile.
    pub late_99: f64,
}

type Number = AtomicU64;

/// What the master and all members share.
#[derive(Clone, Copy)]
struct Board {
    /// All times are counted from here.
    origin: Instant,
    /// When the master let all members begin, in nanoseconds.
    begin: &'static Number,
    /// The bystander's median: the bits of an `f64`, stored as an integer.
    late: &'static Number,
    /// Its 99th percentile, stored in the same way.
    late_99: &'static Number,
    /// How many tasks each member did in the span.
    tasks: &'static [Number],
}

impl Board {
    fn new(members: usize) -> anyhow::Result<Self> {
        // SAFETY: these numbers are atomics.
        let numbers = unsafe { Mapping::shared_atomics::<Number>(3 + members) }?;
        let [begin, late, late_99, tasks @ ..] = numbers else {
            unreachable!("there are more than three");
        };
        Ok(Self {
            origin: Instant::now(),
            begin,
            late,
            late_99,
            tasks,
        })
    }

    /// This many milliseconds after the beginning.
    fn after(&self, millis: u64) -> Instant {
        let begin = Duration::from_nanos(self.begin.load(Relaxed));
        self.origin + begin + Duration::from_millis(millis)
    }

    /// When the work of this crowd counts.
    fn span(&self, crowd: &Crowd) -> Range<Instant> {
        const FIRST: u64 = MARGIN + SETTLE;
        self.after(FIRST)..self.after(FIRST + crowd.span)
    }
}

pub static SCALE: Role<Crowd, Sample> = Role {
    name: "scale",
    play: |crowd| {
        let board = Board::new(crowd.members())?;
        let work = move |number| member(crowd, board, number);
        let before = memory_use::own();
        let start = Instant::now();
        let team = match crowd.processes {
            // SAFETY: this trial has started no thread.
            true => unsafe { Team::processes(crowd.members(), work) }?,
            false => Team::threads(crowd.members(), work)?,
        };
        let start = start.elapsed().as_secs_f64();
        let memory = match crowd.processes {
            true => memory_of_processes(&team.ids()),
            false => memory_of_threads(before, crowd.members()),
        };

        let begin = board.origin.elapsed().as_nanos();
        board.begin.store(begin as u64, Relaxed);
        team.begin().join()?;
        let tasks: u64 = board.tasks.iter().map(|tasks| tasks.load(Relaxed)).sum();
        let seconds = |number: &Number| f64::from_bits(number.load(Relaxed));
        Ok(Sample {
            start,
            tasks: tasks as f64,
            memory,
            late: seconds(board.late),
            late_99: seconds(board.late_99),
        })
    },
};

/// The work of one member. It is the same for threads and for processes.
fn member(crowd: Crowd, board: Board, number: usize) -> anyhow::Result<()> {
    if number == 0 {
        return stand_by(crowd, board);
    }
    let span = board.span(&crowd);
    if number > crowd.members_that_compute() {
        sleep_until(span.end);
        return Ok(());
    }
    // The bystander begins before the crowd.
    sleep_until(board.after(MARGIN));
    let mut tasks = 0;
    let mut now = Instant::now();
    while now < span.end {
        black_box(count_primes(black_box(1_000_000..1_000_100)));
        now = Instant::now();
        tasks += u64::from(span.contains(&now));
    }
    board.tasks[number].store(tasks, Relaxed);
    Ok(())
}

/// The bystander: measures how late it is woken.
fn stand_by(crowd: Crowd, board: Board) -> anyhow::Result<()> {
    // Without this, the system may wake it 50 µs late, to wake several processes at once.
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_timerslack(1).context("cannot ask for exact timers")?;
    let mut late: Vec<f64> = (1..=crowd.wake_ups())
        .map(|number| {
            let intended = board.after(number);
            sleep_until(intended);
            intended.elapsed().as_secs_f64()
        })
        .collect();
    late.sort_by(f64::total_cmp);
    for (slot, percent) in [(board.late, 50), (board.late_99, 99)] {
        slot.store(percentile(&late, percent).to_bits(), Relaxed);
    }
    Ok(())
}

fn sleep_until(moment: Instant) {
    thread::sleep(moment.saturating_duration_since(Instant::now()));
}

/// The median of about ten of the processes.
fn memory_of_processes(ids: &[u32]) -> Option<f64> {
    let ten = ids.iter().step_by(ids.len().div_ceil(10));
    let memory = ten.filter_map(|&id| Some(memory_use::of(id)?.private as f64));
    let memory: Vec<f64> = memory.collect();
    match memory.is_empty() {
        true => None,
        false => Some(median(memory)),
    }
}

/// What this process has more than `before`, divided by the number of threads.
fn memory_of_threads(before: Option<memory_use::Memory>, threads: usize) -> Option<f64> {
    let grown = memory_use::own()?.private.checked_sub(before?.private)?;
    Some(grown as f64 / threads as f64)
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A crowd of a machine with eight cores.
    pub fn crowd(processes: bool, computing: bool, workers: usize) -> Crowd {
        Crowd {
            processes,
            computing,
            workers,
            cores: 8,
            span: 60,
        }
    }

    #[test]
    fn a_crowd_has_a_bystander_and_beside_those_who_sleep_one_for_each_core_computes() {
        let [computing, sleeping] = [true, false].map(|computing| crowd(true, computing, 100));
        assert_eq!(computing.members(), 1 + 100);
        assert_eq!(computing.members_that_compute(), 100);
        assert_eq!(sleeping.members(), 1 + 8 + 100);
        assert_eq!(sleeping.members_that_compute(), 8);
    }

    /// Two milliseconds before the crowd, ten until all are awake, 60 of the span, two after it.
    #[test]
    fn the_bystander_is_there_before_the_crowd_and_after_it() {
        let crowd = crowd(true, true, 1);
        assert_eq!(crowd.wake_ups(), 74);
        let board = Board::new(2).expect("there is memory");
        board.begin.store(5_000_000, Relaxed);
        let span = board.span(&crowd);
        let [start, end] = [span.start, span.end].map(|it| it - board.origin);
        assert_eq!(start, Duration::from_millis(5 + 12));
        assert_eq!(end, Duration::from_millis(5 + 72));
    }
}
