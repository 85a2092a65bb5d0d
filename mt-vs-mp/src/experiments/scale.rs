//! One worker, ten, a hundred, a thousand: what is left of the machine when so many want it?
//!
//! Two crowds are told apart. Those of the one *compute*: all of them want a processor at every
//! moment, and the system can only give each a turn. Those of the other *sleep*, as most processes
//! of a server do, and beside them as many compute as there are processors. In both the same is
//! measured, for the same span of time: how much is computed by all together, compared with as many
//! workers as there are processors and nobody else. What is missing went into switching.
//!
//! What counts is what was computed in the span, while all are at it: neither their start nor their
//! end. The work has no end of its own, so every worker of a computing crowd wants its turn until the
//! span is over.
//!
//! Meanwhile a bystander sleeps and wakes each millisecond, from before the crowd begins until after
//! its end. How late it is counts from when it should have been woken: if it misses ten wake-ups in
//! a row, that is ten late ones and not one. It can't be later than the crowd lasts.

use std::{
    fmt,
    hint::black_box,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

#[cfg(target_os = "linux")]
use anyhow::Context;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use serde::{Deserialize, Serialize};

use super::Experiment;
use crate::{
    finding::{
        Finding,
        figure::{Figure, Unit},
        interval::median,
        plot::{Axis, Line, Plot},
        table::Table,
        verdict::{self, Verdict},
    },
    lab::{
        Lab, Measured, Mode,
        limits::{self, Limit},
        machine,
        mapping::Mapping,
        memory,
        role::{NoRoom, Role},
        team::Team,
        trial,
    },
    work::count_primes,
};

pub const EXPERIMENT: Experiment = Experiment {
    name: "scale",
    claim: "With thousands of processes the operating system can't cope.",
    share: 25,
    run,
    roles: &[&SCALE],
    published: &[
        (
            "100,000 threads started in 2 s",
            "the NPTL's authors, 2003: Linux on IA-32; 15 minutes before",
        ),
        (
            "80,000 threads, about 20 KiB each",
            "Jim Blandy, context-switch: Linux on a laptop with 32 GiB",
        ),
    ],
};

/// From so many on they are "thousands".
const MANY: usize = 1000;

/// "It can't cope": what is computed is at most so much of what it should be. Then the system
/// switches for at least as long as it lets anybody work.
const OVERWHELMED: f64 = 0.5;

/// More than a worker that does so little takes of memory, in bytes.
const EACH: u64 = 256 << 10;

/// Some processes or threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Crowd {
    processes: bool,
    /// Otherwise they sleep.
    computing: bool,
    workers: usize,
    /// How many compute beside a sleeping crowd.
    cores: usize,
    /// For how long they are watched, in milliseconds.
    span: u64,
}

impl Crowd {
    fn name(&self) -> &'static str {
        match self.processes {
            true => "processes",
            false => "threads",
        }
    }

    fn state(&self) -> &'static str {
        match self.computing {
            true => "compute",
            false => "sleep",
        }
    }

    /// The first is the bystander, then come those who compute, then those who sleep.
    fn members(&self) -> usize {
        1 + self.workers + if self.computing { 0 } else { self.cores }
    }

    /// How often the bystander is woken: as often in every crowd.
    fn wake_ups(&self) -> u64 {
        self.span + 2 * MARGIN + SETTLE
    }
}

impl fmt::Display for Crowd {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} {} that {}", self.workers, self.name(), self.state())
    }
}

/// How long the bystander is there before the crowd begins, and after it, in milliseconds.
const MARGIN: u64 = 2;

/// How long it may take until all of a crowd are awake, in milliseconds.
const SETTLE: u64 = 10;

/// How a crowd did.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Seen {
    /// From the first one's start until all are there, in seconds.
    start: f64,
    /// How much was computed, in tasks per second.
    rate: f64,
    /// What each worker takes for itself, in bytes.
    memory: Option<f64>,
    /// How late the bystander was woken: half of the times at most so much, in seconds.
    late: f64,
    /// And 99 of 100 times.
    late_99: f64,
}

/// A number that one member writes and the master reads.
type Number = AtomicU64;

/// What the master and all members share.
#[derive(Clone, Copy)]
struct Board {
    /// All times are counted from here.
    origin: Instant,
    /// When the crowd was let go, in nanoseconds.
    begin: &'static Number,
    late: &'static Number,
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

    /// So many milliseconds after the crowd was let go.
    fn after(&self, millis: u64) -> Instant {
        let begin = Duration::from_nanos(self.begin.load(Relaxed));
        self.origin + begin + Duration::from_millis(millis)
    }
}

static SCALE: Role<Crowd, Seen> = Role {
    name: "scale",
    play: |crowd| {
        let board = Board::new(crowd.members())?;
        let work = move |number| member(crowd, board, number);
        let before = memory::own();
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
        let done: u64 = board.tasks.iter().map(|tasks| tasks.load(Relaxed)).sum();
        let seconds = |number: &Number| f64::from_bits(number.load(Relaxed));
        Ok(Seen {
            start,
            rate: done as f64 * 1e3 / crowd.span as f64,
            memory,
            late: seconds(board.late),
            late_99: seconds(board.late_99),
        })
    },
};

/// Threads and processes do the same.
fn member(crowd: Crowd, board: Board, number: usize) -> anyhow::Result<()> {
    let computing = if crowd.computing {
        crowd.workers
    } else {
        crowd.cores
    };
    if number == 0 {
        return stand_by(crowd, board);
    }
    let first = board.after(MARGIN + SETTLE);
    let last = board.after(MARGIN + SETTLE + crowd.span);
    if number > computing {
        thread::sleep(last.saturating_duration_since(Instant::now()));
        return Ok(());
    }
    // The bystander comes first.
    thread::sleep(
        board
            .after(MARGIN)
            .saturating_duration_since(Instant::now()),
    );
    let mut tasks = 0;
    loop {
        black_box(count_primes(black_box(1_000_000..1_000_100)));
        // Whoever has not had a turn until the span is over finds that out here.
        let now = Instant::now();
        if now > last {
            break;
        }
        tasks += u64::from(now > first);
    }
    board.tasks[number].store(tasks, Relaxed);
    Ok(())
}

/// The bystander: how late is it woken?
fn stand_by(crowd: Crowd, board: Board) -> anyhow::Result<()> {
    // The system may otherwise wait 50 µs longer, to wake several at once.
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_timerslack(1).context("cannot ask for exact timers")?;
    let mut late: Vec<f64> = (1..=crowd.wake_ups())
        .map(|number| {
            let intended = board.after(number);
            thread::sleep(intended.saturating_duration_since(Instant::now()));
            intended.elapsed().as_secs_f64()
        })
        .collect();
    late.sort_by(f64::total_cmp);
    for (slot, percent) in [(board.late, 50), (board.late_99, 99)] {
        let place = (late.len() - 1) * percent / 100;
        slot.store(late[place].to_bits(), Relaxed);
    }
    Ok(())
}

/// Ten of them tell enough.
fn memory_of_processes(ids: &[u32]) -> Option<f64> {
    let some = ids.iter().step_by(ids.len().div_ceil(10));
    let each = some.filter_map(|&id| Some(memory::of(id)?.private as f64));
    let each: Vec<f64> = each.collect();
    (!each.is_empty()).then(|| median(each))
}

fn memory_of_threads(before: Option<memory::Memory>, threads: usize) -> Option<f64> {
    let grown = memory::own()?.private.checked_sub(before?.private)?;
    Some(grown as f64 / threads as f64)
}

/// A crowd, and what was seen in each round.
type Case = Measured<Crowd, Seen>;

fn run(lab: &Lab) -> anyhow::Result<Finding> {
    let mut left_out = Vec::new();
    let crowds = lab.those_that_fit(crowds(lab), &mut left_out, |crowd| {
        room_for(crowd)?;
        // Whoever is refused some, however few, says so. This also warms up.
        trial::run(&SCALE, &Crowd { span: 1, ..*crowd }).map(drop)
    })?;
    let groups = crowds.chunk_by(|one, other| one.processes == other.processes);
    let groups = groups.map(<[_]>::to_vec);
    let cases = lab.alternate_groups(lab.budget, groups, |crowd| trial::run(&SCALE, crowd))?;
    if lab.mode == Mode::Quick {
        let why = "1000 workers, and crowds that sleep: --quick has no time for them";
        left_out.push(why.to_owned());
    }
    if cases
        .iter()
        .flat_map(|case| &case.samples)
        .any(|seen| seen.memory.is_none())
    {
        let why = "memory for each worker: it needs Linux's /proc/PID/smaps_rollup";
        left_out.push(why.to_owned());
    }
    let table = Table::of(
        "A crowd, what the machine computes meanwhile (compared with one worker per processor and nobody \
         else), what each worker takes of memory (without the kernel's stack), and how late a bystander is \
         woken:",
        &cases,
        &[
            ("workers are", &|case| case.variant.name().into()),
            ("and", &|case| case.variant.state().into()),
            ("workers", &|case| case.variant.workers.to_string().into()),
            ("to start them", &|case| {
                case.figure(Unit::Seconds, |seen| seen.start).into()
            }),
            ("computed", &|case| left_of(case, &cases).into()),
            ("memory each", &|case| {
                case.figure_if_any(Unit::Bytes, |seen| seen.memory).into()
            }),
            ("late", &|case| {
                case.figure(Unit::Seconds, |seen| seen.late).into()
            }),
            ("late, 1 of 100", &|case| {
                case.figure(Unit::Seconds, |seen| seen.late_99).into()
            }),
        ],
    );
    let plots = vec![
        plot(
            &cases,
            "What is computed meanwhile",
            ("of what one worker per processor computes", Unit::Times),
            |case| left_of(case, &cases),
        ),
        plot(
            &cases,
            "Memory that each worker has for itself",
            ("memory", Unit::Bytes),
            |case| case.figure_if_any(Unit::Bytes, |seen| seen.memory),
        ),
        plot(
            &cases,
            "How late a bystander is woken, 1 of 100 times",
            ("time", Unit::Seconds),
            |case| Some(case.figure(Unit::Seconds, |seen| seen.late_99)),
        ),
    ];
    Ok(Finding {
        tables: vec![table],
        plots,
        left_out,
        ..judge(&cases, lab.machine.cores)
    })
}

/// From one worker for each processor to thousands. (`--workers` is no number of processors.)
fn crowds(lab: &Lab) -> Vec<Crowd> {
    let cores = lab.machine.cores;
    let (sizes, sleeping, span): (&[usize], &[usize], _) = lab.mode.pick(
        (&[100], &[], 10),
        (&[1000], &[1000], 60),
        (&[10, 100, 1000, 4000, 8000], &[1000, 8000], 1000),
    );
    let mut crowds = Vec::new();
    for processes in [true, false] {
        let crowd = |computing, workers| Crowd {
            processes,
            computing,
            workers,
            cores,
            span,
        };
        crowds.push(crowd(true, cores));
        let more = sizes.iter().filter(|&&size| size > cores);
        crowds.extend(more.map(|&size| crowd(true, size)));
        crowds.extend(sleeping.iter().map(|&size| crowd(false, size)));
    }
    crowds
}

/// # Errors
/// When a crowd would take more than half of what a limit leaves: others need some too.
fn room_for(crowd: &Crowd) -> anyhow::Result<()> {
    let mut limits = limits::of_processes();
    limits.push(Limit::new(
        "memory",
        Some(machine::available_memory() / EACH),
        0,
    ));
    let (space, _) = getrlimit(Resource::RLIMIT_AS)?;
    if !crowd.processes && space != RLIM_INFINITY {
        // The room for a thread's stack, whether it is used or not.
        limits.push(Limit::new(
            "RLIMIT_AS (ulimit -v)",
            Some(space / (2 << 20)),
            0,
        ));
    }
    if let Some((limit, room)) = limits::first(&limits) {
        // All of the crowd, and their master.
        if crowd.members() as u64 + 1 > room / 2 {
            let why = format!("{} leaves room for {room} only", limit.name);
            return Err(NoRoom(why).into());
        }
    }
    Ok(())
}

/// How much of what one worker per processor computes is computed beside, or by, this crowd.
fn left_of(case: &Case, cases: &[Case]) -> Option<Figure> {
    let alone = cases.iter().find(|it| {
        let crowd = it.variant;
        crowd.computing && crowd.workers == crowd.cores && crowd.processes == case.variant.processes
    });
    Some(case.ratio_to(alone?, |seen| seen.rate))
}

fn plot(
    cases: &[Case],
    title: &str,
    (label, unit): (&str, Unit),
    of: impl Fn(&Case) -> Option<Figure>,
) -> Plot {
    let line = |processes, computing| {
        let crowd = |case: &&Case| {
            case.variant.processes == processes && case.variant.computing == computing
        };
        let of_line = || cases.iter().filter(crowd);
        let name = of_line().next().map_or(String::new(), |case| {
            format!("{} that {}", case.variant.name(), case.variant.state())
        });
        let point = |case: &Case| Some((case.variant.workers as f64, of(case)?.interval));
        Line::new(&name, of_line().filter_map(point))
    };
    let lines = [(true, true), (false, true), (true, false), (false, false)];
    Plot::new(
        title,
        Axis::logarithmic("workers", Unit::Count),
        Axis::logarithmic(label, unit),
        lines.map(|(processes, computing)| line(processes, computing)),
    )
}

/// On the largest crowds of processes: one that computes and one that sleeps.
fn judge(cases: &[Case], cores: usize) -> Finding {
    let largest = |computing| {
        let crowds = cases.iter().filter(|case| case.variant.processes);
        let crowds = crowds.filter(|case| case.variant.computing == computing);
        let most = crowds.max_by_key(|case| case.variant.workers)?;
        let (left, late) = (
            left_of(most, cases)?,
            most.figure(Unit::Seconds, |seen| seen.late),
        );
        Some((most.variant, left, late)).filter(|(crowd, ..)| crowd.workers > crowd.cores)
    };
    let parts: Vec<(Crowd, Figure, Figure)> = [largest(true), largest(false)]
        .into_iter()
        .flatten()
        .collect();
    if parts.is_empty() {
        let reason = "no crowd of processes could be started: see what was left out";
        return Finding::new(Verdict::NotMeasured, reason, "none");
    }
    let words = |of: fn(&(Crowd, Figure, Figure)) -> Figure| {
        let words = parts
            .iter()
            .map(|part| format!("{} with {}", of(part), part.0));
        words.collect::<Vec<_>>().join(", ")
    };
    let computed = words(|part| part.1);
    let verdicts = parts
        .iter()
        .map(|(crowd, left, _)| match crowd.workers < MANY {
            true => Verdict::Unclear,
            false => verdict::at_most(left.interval, OVERWHELMED),
        });
    let mut reason = format!(
        "compared with {cores} processes on {cores} processors, the machine computed {computed}: what \
         is missing went into switching; but who wants to be woken waits for a turn, half of the times for {}",
        words(|part| part.2)
    );
    if parts.iter().any(|(crowd, ..)| crowd.workers < MANY) {
        reason += "; thousands were not tried";
    }
    Finding::new(
        verdict::by_case(verdicts),
        reason,
        format!("computed: {computed}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine of so many cores; with a crowd it computes so much of what it could.
    fn judged(cores: usize, workers: usize, computing: f64, sleeping: f64) -> Finding {
        let case = |computing, workers, rate| Measured {
            variant: Crowd {
                processes: true,
                computing,
                workers,
                cores,
                span: 60,
            },
            samples: vec![
                Seen {
                    start: 1.0,
                    rate: rate * cores as f64,
                    memory: None,
                    late: 0.0,
                    late_99: 0.0,
                };
                9
            ],
        };
        let alone = case(true, cores, 1.0);
        judge(
            &[
                alone,
                case(true, workers, computing),
                case(false, workers, sleeping),
            ],
            cores,
        )
    }

    #[test]
    fn a_system_copes_if_a_thousand_compute_nearly_as_much_as_one_per_core() {
        for cores in [1, 2, 8, 64] {
            assert_eq!(judged(cores, 1000, 0.97, 1.0).verdict, Verdict::Fails);
            assert_eq!(judged(cores, 1000, 0.3, 0.2).verdict, Verdict::Holds);
            assert_eq!(judged(cores, 1000, 0.3, 1.0).verdict, Verdict::Depends);
            assert_eq!(judged(cores, 100, 0.97, 1.0).verdict, Verdict::Unclear);
        }
        assert!(
            judged(8, 100, 1.0, 1.0)
                .reason
                .ends_with("thousands were not tried")
        );
        assert_eq!(judge(&[], 2).verdict, Verdict::NotMeasured);
    }
}
