//! Crowds of ten, a hundred or thousands of workers: how much does the machine still compute?
//!
//! There are two kinds of crowds. In a crowd that *computes*, each worker wants a processor at
//! every moment, and the system can only give them turns. In a crowd that *sleeps*, all workers
//! sleep, as most processes of a server do; beside the crowd, one worker for each processor
//! computes. For both kinds, all that is computed in a span of time is compared with what one
//! worker for each processor computes without a crowd. The difference is the cost of switching, and
//! of whatever else ran.
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
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use serde::{Deserialize, Serialize};

use super::{Experiment, percentile};
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
        Lab, Measured, Mode, machine,
        mapping::Mapping,
        memory_use,
        process_limits::{self, Limit},
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

/// "Thousands": at least this number of workers.
const MANY: usize = 1000;

/// "It can't cope": what the machine computes is at most this part of what one worker for each
/// processor computes.
const OVERWHELMED: f64 = 0.5;

/// No worker of a crowd takes as much memory as this, in bytes.
const MOST_MEMORY: u64 = 256 << 10;

/// A number of processes or threads that all compute or all sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Crowd {
    /// True: its workers are processes. False: they are threads.
    processes: bool,
    /// True: its workers compute. False: they sleep.
    computing: bool,
    workers: usize,
    /// The machine's processors. Beside a crowd that sleeps, one member for each of them computes.
    cores: usize,
    /// The length of the span in which work counts, in milliseconds.
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

    /// Member 0 is the bystander. Then come the members that compute, then those that sleep.
    fn members(&self) -> usize {
        match self.computing {
            true => 1 + self.workers,
            false => 1 + self.cores + self.workers,
        }
    }

    fn members_that_compute(&self) -> usize {
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
struct Sample {
    /// The time from the first member's start until all are there, in seconds.
    start: f64,
    /// How many tasks all members together did in the span.
    tasks: f64,
    /// The memory that each worker has for itself, in bytes. `None` if the system does not tell.
    memory: Option<f64>,
    /// How late the bystander was woken, in seconds: the median.
    late: f64,
    /// The 99th percentile.
    late_99: f64,
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

static SCALE: Role<Crowd, Sample> = Role {
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

/// A crowd, and its sample in each round.
type Case = Measured<Crowd, Sample>;

fn run(lab: &Lab) -> anyhow::Result<Finding> {
    let mut left_out = Vec::new();
    let crowds = lab.those_that_fit(crowds(lab), &mut left_out, |crowd| {
        room_for(crowd)?;
        // A rehearsal: it fails if the system refuses any of the members.
        trial::run(&SCALE, &Crowd { span: 1, ..*crowd }).map(drop)
    })?;
    let groups = crowds.chunk_by(|one, other| one.processes == other.processes);
    let groups = groups.map(<[_]>::to_vec);
    let cases = lab.alternate_groups(lab.budget, groups, |crowd| trial::run(&SCALE, crowd))?;
    if lab.mode == Mode::Quick {
        let why = "1000 workers, and crowds that sleep: --quick has no time for them";
        left_out.push(why.to_owned());
    }
    let mut samples = cases.iter().flat_map(|case| &case.samples);
    if samples.any(|sample| sample.memory.is_none()) {
        let why = "memory for each worker: it needs Linux's /proc/PID/smaps_rollup";
        left_out.push(why.to_owned());
    }
    let mut finding = judge(&cases, lab.machine.cores);
    finding.tables.push(table(&cases));
    finding.plots = vec![
        plot(
            &cases,
            "What is computed meanwhile",
            Axis::logarithmic("of what one worker per processor computes", Unit::Ratio),
            |case| computed(case, &cases),
        ),
        plot(
            &cases,
            "Memory that each worker has for itself",
            Axis::logarithmic("memory", Unit::Bytes),
            |case| case.figure_if_any(Unit::Bytes, |sample| sample.memory),
        ),
        plot(
            &cases,
            "How late a bystander is woken: the 99th percentile",
            Axis::logarithmic("time", Unit::Seconds),
            |case| Some(case.figure(Unit::Seconds, |sample| sample.late_99)),
        ),
    ];
    finding.left_out = left_out;
    Ok(finding)
}

/// From one worker for each processor to thousands. (`--workers` does not change the number of
/// processors.)
fn crowds(lab: &Lab) -> Vec<Crowd> {
    let cores = lab.machine.cores;
    // With --quick, by default, and with --full.
    let (computing, sleeping, span): (&[usize], &[usize], u64) = lab.mode.pick(
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
        let larger = computing.iter().filter(|&&workers| workers > cores);
        crowds.extend(larger.map(|&workers| crowd(true, workers)));
        crowds.extend(sleeping.iter().map(|&workers| crowd(false, workers)));
    }
    crowds
}

/// # Errors
/// [`NoRoom`] with the cause, if this crowd has to be left out.
fn room_for(crowd: &Crowd) -> anyhow::Result<()> {
    let mut limits = process_limits::of_processes();
    let (space, _) = getrlimit(Resource::RLIMIT_AS)?;
    limits.extend(limits_of_memory(crowd, machine::available_memory(), space));
    Ok(fits(crowd, &limits)?)
}

/// How many workers fit into so much memory and so much address space, in bytes.
fn limits_of_memory(crowd: &Crowd, available: u64, space: u64) -> Vec<Limit> {
    let mut limits = vec![Limit::new("memory", Some(available / MOST_MEMORY), 0)];
    if !crowd.processes && space != RLIM_INFINITY {
        // The address space of a thread's stack counts, used or not.
        limits.push(Limit::new(
            "RLIMIT_AS (ulimit -v)",
            Some(space / (2 << 20)),
            0,
        ));
    }
    limits
}

/// At most half of what a limit leaves is used: other programs need some too.
fn fits(crowd: &Crowd, limits: &[Limit]) -> Result<(), NoRoom> {
    match process_limits::first(limits) {
        // The master counts too.
        Some((limit, room)) if crowd.members() as u64 + 1 > room / 2 => Err(NoRoom(format!(
            "{} leaves room for {room} only",
            limit.name
        ))),
        _ => Ok(()),
    }
}

/// What is computed by or beside this crowd, divided by what one worker for each processor computes
/// without a crowd. `None` if the latter was not measured.
fn computed(case: &Case, cases: &[Case]) -> Option<Figure> {
    let without = cases.iter().find(|it| {
        let crowd = it.variant;
        crowd.computing && crowd.workers == crowd.cores && crowd.processes == case.variant.processes
    });
    Some(case.ratio_to(without?, |sample| sample.tasks))
}

fn table(cases: &[Case]) -> Table {
    Table::of(
        "What the machine computes with a crowd (compared with one worker per processor and no crowd), \
         the memory of each worker (without the kernel's stack), and how late a bystander is woken:",
        cases,
        &[
            ("workers are", &|case| case.variant.name().into()),
            ("and", &|case| case.variant.state().into()),
            ("workers", &|case| case.variant.workers.to_string().into()),
            ("to start them", &|case| {
                case.figure(Unit::Seconds, |sample| sample.start).into()
            }),
            ("computed", &|case| computed(case, cases).into()),
            ("memory each", &|case| {
                case.figure_if_any(Unit::Bytes, |sample| sample.memory)
                    .into()
            }),
            ("late, median", &|case| {
                case.figure(Unit::Seconds, |sample| sample.late).into()
            }),
            ("late, 99th percentile", &|case| {
                case.figure(Unit::Seconds, |sample| sample.late_99).into()
            }),
        ],
    )
}

fn plot(cases: &[Case], title: &str, y: Axis, figure: impl Fn(&Case) -> Option<Figure>) -> Plot {
    let mut lines = Vec::new();
    for computing in [true, false] {
        for processes in [true, false] {
            let of_line = cases.iter().filter(|case| {
                case.variant.processes == processes && case.variant.computing == computing
            });
            let (mut name, mut points) = (String::new(), Vec::new());
            for case in of_line {
                let crowd = case.variant;
                name = format!("{} that {}", crowd.name(), crowd.state());
                points.extend(figure(case).map(|it| (crowd.workers as f64, it.interval)));
            }
            lines.push(Line::new(&name, points));
        }
    }
    Plot::new(title, Axis::logarithmic("workers", Unit::Count), y, lines)
}

/// The largest crowds of processes decide: the one that computes and the one that sleeps.
fn judge(cases: &[Case], cores: usize) -> Finding {
    let (mut computed_with, mut late_with, mut verdicts) = (Vec::new(), Vec::new(), Vec::new());
    let mut all_are_many = true;
    for computing in [true, false] {
        let crowds = cases.iter().filter(|case| {
            let crowd = case.variant;
            crowd.processes && crowd.computing == computing && crowd.workers > cores
        });
        let Some(largest) = crowds.max_by_key(|case| case.variant.workers) else {
            continue;
        };
        let Some(computed) = computed(largest, cases) else {
            continue;
        };
        let crowd = largest.variant;
        let late = largest.figure(Unit::Seconds, |sample| sample.late);
        computed_with.push(format!("{computed} with {crowd}"));
        late_with.push(format!("{late} with {crowd}"));
        all_are_many &= crowd.workers >= MANY;
        verdicts.push(match crowd.workers >= MANY {
            true => verdict::at_most(computed.interval, OVERWHELMED),
            false => Verdict::Unclear,
        });
    }
    if verdicts.is_empty() {
        let reason = "no crowd of more processes than processors was measured";
        return Finding::new(Verdict::NotMeasured, reason, "none");
    }
    let computed = computed_with.join(", ");
    let mut reason = format!(
        "compared with {cores} processes on {cores} processors, the machine computed {computed}; a \
         process that is to be woken waits for its turn, at the median {}",
        late_with.join(", ")
    );
    if !all_are_many {
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

    /// A crowd of a machine with eight cores.
    fn crowd(processes: bool, computing: bool, workers: usize) -> Crowd {
        Crowd {
            processes,
            computing,
            workers,
            cores: 8,
            span: 60,
        }
    }

    fn case(variant: Crowd, tasks: f64) -> Case {
        let sample = Sample {
            start: 1.0,
            tasks,
            memory: None,
            late: 0.0,
            late_99: 0.0,
        };
        Case {
            variant,
            samples: vec![sample; 9],
        }
    }

    /// A machine with this number of cores. The last two parameters are what it computes with a
    /// crowd of this number of workers, as a part of what it computes without a crowd.
    fn judged(cores: usize, workers: usize, computing: f64, sleeping: f64) -> Finding {
        let case = |is_computing, workers, tasks| {
            let crowd = crowd(true, is_computing, workers);
            case(Crowd { cores, ..crowd }, tasks)
        };
        let cases = [
            case(true, cores, 1.0),
            case(true, workers, computing),
            case(false, workers, sleeping),
        ];
        judge(&cases, cores)
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

    #[test]
    fn the_crowds_of_a_full_run_are_the_same_for_processes_and_threads() {
        let mut lab = Lab::new(Mode::Full, Some(1), machine::Machine::look_at());
        lab.machine.cores = 100;
        let crowds = crowds(&lab);
        let (processes, threads) = crowds.split_at(crowds.len() / 2);
        let names: Vec<String> = processes.iter().map(Crowd::to_string).collect();
        assert_eq!(
            names,
            [
                "100 processes that compute",
                "1000 processes that compute",
                "4000 processes that compute",
                "8000 processes that compute",
                "1000 processes that sleep",
                "8000 processes that sleep"
            ]
        );
        let as_processes = threads.iter().map(|it| Crowd {
            processes: true,
            ..*it
        });
        assert!(as_processes.eq(processes.iter().copied()), "{threads:?}");
    }

    #[test]
    fn half_of_what_a_limit_leaves_is_left_alone() {
        let fits = |workers| {
            let limit = Limit::new("pid_max", Some(300), 100);
            fits(&crowd(true, true, workers), &[limit])
        };
        // With the bystander and the master they are a hundred.
        assert!(fits(98).is_ok());
        let error = fits(99).expect_err("it is one too many");
        assert_eq!(error.to_string(), "pid_max leaves room for 200 only");
        assert!(super::fits(&crowd(true, true, 99), &[]).is_ok());
    }

    #[test]
    fn each_worker_needs_memory_and_each_thread_address_space() {
        let most = |processes, space| -> Vec<Option<u64>> {
            let limits = limits_of_memory(&crowd(processes, true, 1), 1 << 30, space);
            limits.iter().map(|limit| limit.most).collect()
        };
        assert_eq!(most(false, 400 << 20), [Some(4096), Some(200)]);
        assert_eq!(most(false, RLIM_INFINITY), [Some(4096)]);
        assert_eq!(most(true, 400 << 20), [Some(4096)]);
    }

    #[test]
    fn threads_are_compared_with_threads_and_processes_with_processes() {
        let cases = [
            case(crowd(true, true, 1000), 3.0),
            case(crowd(true, true, 8), 4.0),
            case(crowd(true, false, 8), 6.0),
            case(crowd(false, true, 1000), 5.0),
            case(crowd(false, true, 8), 10.0),
        ];
        let computed = |case| computed(case, &cases).map(|figure| figure.interval.median);
        let all: Vec<_> = cases.iter().map(computed).collect();
        assert_eq!(all, [0.75, 1.0, 1.5, 0.5, 1.0].map(Some));
        assert!(super::computed(&cases[0], &cases[..1]).is_none());
        // Each line of a plot has one kind of crowd.
        let figure = |case: &Case| Some(case.figure(Unit::Count, |sample| sample.tasks));
        let plot = plot(&cases, "", Axis::linear("", Unit::Count), figure);
        let lines = plot.lines.iter().map(|line| {
            let points = line.points.iter().map(|point| (point.x, point.y.median));
            (line.name.as_str(), points.collect::<Vec<_>>())
        });
        assert_eq!(
            lines.collect::<Vec<_>>(),
            [
                ("processes that compute", vec![(1000.0, 3.0), (8.0, 4.0)]),
                ("threads that compute", vec![(1000.0, 5.0), (8.0, 10.0)]),
                ("processes that sleep", vec![(8.0, 6.0)]),
            ]
        );
    }

    #[test]
    fn a_system_copes_if_a_thousand_compute_nearly_as_much_as_one_per_core() {
        for cores in [1, 2, 8, 64] {
            assert_eq!(judged(cores, 1000, 0.97, 1.0).verdict, Verdict::Fails);
            assert_eq!(judged(cores, 1000, 0.3, 0.2).verdict, Verdict::Holds);
            assert_eq!(judged(cores, 1000, 0.3, 1.0).verdict, Verdict::Depends);
            assert_eq!(judged(cores, 100, 0.97, 1.0).verdict, Verdict::Unclear);
        }
        let reason = judged(8, 100, 1.0, 1.0).reason;
        assert!(reason.ends_with("thousands were not tried"), "{reason}");
        assert_eq!(judge(&[], 2).verdict, Verdict::NotMeasured);
        // One for each core is no crowd.
        let alone = [case(crowd(true, true, 8), 1.0)];
        assert_eq!(judge(&alone, 8).verdict, Verdict::NotMeasured);
    }

    #[test]
    fn the_headline_tells_what_is_computed_with_the_largest_crowd_of_either_kind() {
        let finding = judged(8, 1000, 0.97, 0.9);
        assert_eq!(
            finding.headline,
            "computed: 0.97 × [0.97, 0.97] with 1000 processes that compute, 0.90 × [0.90, 0.90] with 1000 \
             processes that sleep"
        );
        let late = "at the median 0 ns [0 ns, 0 ns] with 1000 processes that compute, ";
        assert!(finding.reason.contains(late), "{}", finding.reason);
        assert!(!finding.reason.contains("not tried"), "{}", finding.reason);
    }
}
