//! The same job, done serially, by threads, by processes, and by processes of several threads.
//!
//! One master holds the tasks and adds up the results, and the workers do the tasks
//! (Master–Worker). A worker that has done a task takes the next one, so that all workers are busy
//! until no task is left. A job has the same number of tasks for each worker. So with a worker for
//! each core, it takes about as long on many cores as on few. The start of the workers is timed
//! apart: it takes as long for a small job as for a large one, so a ratio that includes it would
//! depend on the size of the job.
//!
//! Threads take a task by incrementing an index that they share. A process gets a message for each
//! task, and sends a message with each result. Small tasks show what these messages cost. So for
//! small tasks there is one more way: processes with such an index in shared memory.

use std::{collections::BTreeSet, thread, time::Duration};

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use super::Experiment;
use crate::{
    finding::{
        Finding,
        figure::{Figure, Unit},
        plot::{Axis, Line, Plot},
        table::Table,
        verdict::{self, Verdict},
    },
    lab::{Lab, Measured, Mode, role::Role, trial},
    work::count_primes,
};

mod ways;

#[cfg(unix)]
use ways::by_shared_index;
use ways::{Done, WORKER, by_processes, by_threads, serially};

pub const EXPERIMENT: Experiment = Experiment {
    name: "throughput",
    claim: "Threads are usually a bit faster than processes, but not by much.",
    share: 19,
    run,
    roles: &[&DO_JOB, &WORKER],
    published: &[
        (
            "10,000 tasks that do next to nothing: a pool of threads 46 ms, a new thread for each \
             125 ms, a new process for each 5.38 s",
            "matklad/benchmarks, 2022: Rust",
        ),
        (
            "400 processes that send each other messages 0.31 s, 800 threads 0.58 s",
            "perf-bench(1), 2009: perf bench sched messaging",
        ),
    ],
};

/// "A bit faster, but not by much": processes take at least `A_BIT` times and at most `MUCH` times
/// as long as threads. A ratio below `A_BIT` is no difference: on a machine that is not idle, two
/// runs of the same work can differ by 15%.
const A_BIT: f64 = 1.15;
const MUCH: f64 = 1.5;

/// A kind of work. All its tasks are alike.
struct Kind {
    name: &'static str,
    tasks_per_worker: u32,
    /// The same with `--quick`.
    quick_tasks_per_worker: u32,
    /// Does one task and returns its result.
    task: fn() -> u32,
    /// The result that `task` must return.
    result: u32,
    /// How much of the experiment's time it gets, in percent.
    share: u32,
}

const KINDS: &[Kind] = &[
    // Each task computes for about a millisecond.
    Kind {
        name: "computing",
        tasks_per_worker: 20,
        quick_tasks_per_worker: 2,
        task: || count_primes(0..35_000),
        result: 3732,
        share: 50,
    },
    // To hand over such a small task by a message takes longer than to do it.
    Kind {
        name: CHATTY,
        tasks_per_worker: 2500,
        quick_tasks_per_worker: 100,
        task: || count_primes(0..500),
        result: 95,
        share: 25,
    },
    // Each task waits, as for a disk or for the answer of a server.
    Kind {
        name: "waiting",
        tasks_per_worker: 4,
        quick_tasks_per_worker: 2,
        task: || {
            thread::sleep(Duration::from_millis(2));
            1
        },
        result: 1,
        share: 25,
    },
];
const CHATTY: &str = "chatty";

/// Who does a job: some processes, each of which has the same number of threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Setup {
    /// The row of [`WAYS`].
    way: usize,
    processes: usize,
    /// The number of threads in each process.
    threads: usize,
}

impl Setup {
    fn workers(self) -> usize {
        self.processes * self.threads
    }

    /// What it is to do: each of its workers has this number of tasks.
    fn job(self, kind: usize, tasks_per_worker: u32) -> Job {
        Job {
            kind,
            tasks: tasks_per_worker * self.workers() as u32,
        }
    }

    fn name(self) -> String {
        let way = WAYS[self.way].name;
        match self.processes > 1 && self.threads > 1 {
            true => format!("{way}, {} × {}", self.processes, self.threads),
            false => way.to_owned(),
        }
    }
}

/// A job: it is the same for all setups with the same number of workers.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Job {
    /// The row of [`KINDS`].
    kind: usize,
    tasks: u32,
}

impl Job {
    /// Does one of the tasks and returns its result.
    fn do_task(self) -> u32 {
        (KINDS[self.kind].task)()
    }
}

/// A way to do a job.
struct Way {
    name: &'static str,
    /// Whether it is tried for this kind of work with this number of workers.
    suits: fn(&Kind, usize) -> bool,
    /// How many processes this number of workers is divided into.
    processes: fn(usize) -> usize,
    work: fn(Setup, Job) -> anyhow::Result<Done>,
}

/// The speed-up of each way is measured against the first, the serial one.
const WAYS: &[Way] = &[
    Way {
        name: "serial",
        suits: |_, workers| workers == 1,
        processes: |_| 1,
        work: serially,
    },
    Way {
        name: THREADS,
        suits: |_, _| true,
        processes: |_| 1,
        work: by_threads,
    },
    Way {
        name: PROCESSES,
        suits: |_, _| true,
        processes: |workers| workers,
        work: by_processes,
    },
    #[cfg(unix)]
    Way {
        name: SHARED_INDEX,
        suits: |kind, _| kind.name == CHATTY,
        processes: |workers| workers,
        work: by_shared_index,
    },
    Way {
        name: "hybrid",
        suits: |_, workers| processes_of_hybrid(workers) > 1,
        processes: processes_of_hybrid,
        work: by_processes,
    },
];
const THREADS: &str = "threads";
const PROCESSES: &str = "processes";
const SHARED_INDEX: &str = "processes, shared index";

/// The largest divisor of `workers` that is at most its square root. So each process has at least
/// as many threads as there are processes: 4 workers are 2 × 2, 6 workers are 2 × 3.
fn processes_of_hybrid(workers: usize) -> usize {
    let mut up_to_the_root = (1..=workers.isqrt()).rev();
    let divisor = up_to_the_root.find(|&processes| workers.is_multiple_of(processes));
    divisor.expect("1 divides every number")
}

/// The trial: does a job with one setup.
static DO_JOB: Role<(Setup, Job), Done> = Role {
    name: "throughput",
    play: |(setup, job)| (WAYS[setup.way].work)(setup, job),
};

/// A setup, and what was measured of it in each round.
type Case = Measured<Setup, Done>;

fn run(lab: &Lab) -> anyhow::Result<Finding> {
    let (mut tables, mut plots) = (Vec::new(), Vec::new());
    let mut jobs = Vec::new();
    for (number, kind) in KINDS.iter().enumerate() {
        let tasks_per_worker = match lab.mode {
            Mode::Quick => kind.quick_tasks_per_worker,
            Mode::Default | Mode::Full => kind.tasks_per_worker,
        };
        let budget = lab.budget * kind.share / 100;
        let cases = lab.alternate_groups(budget, setups(lab.workers, kind), |&setup| {
            let job = setup.job(number, tasks_per_worker);
            let done = trial::run(&DO_JOB, &(setup, job))?;
            let (total, right) = (done.total, kind.result * job.tasks);
            ensure!(total == right, "{setup:?} has {total}, not {right}");
            Ok(done)
        })?;
        tables.push(work_table(kind, tasks_per_worker, &cases));
        plots.push(speed_up_plot(kind, &cases));
        jobs.push((kind, cases));
    }
    // A setup starts in the same way for each job. So one job is enough: that with the most time.
    let (_, cases) = &jobs[0];
    tables.push(start_table(cases));
    plots.push(start_plot(cases));
    let mut finding = judge(lab.workers, &jobs);
    finding.tables = tables;
    finding.plots = plots;
    if cfg!(not(unix)) {
        finding.left_out.push(format!(
            "{SHARED_INDEX}: they are forked, which exists on Unix only"
        ));
    }
    Ok(finding)
}

/// The setups that are compared: a group for each number of workers, with one setup for each way.
fn setups(workers: usize, kind: &Kind) -> Vec<Vec<Setup>> {
    // A set is sorted, and has no number twice.
    let numbers = BTreeSet::from([1, (workers / 2).max(1), workers, workers * 2]);
    let mut groups = Vec::new();
    for workers in numbers {
        let mut group = Vec::new();
        for (way, it) in WAYS.iter().enumerate() {
            if (it.suits)(kind, workers) {
                let processes = (it.processes)(workers);
                group.push(Setup {
                    way,
                    processes,
                    threads: workers / processes,
                });
            }
        }
        groups.push(group);
    }
    groups
}

fn work_table(kind: &Kind, tasks_per_worker: u32, cases: &[Case]) -> Table {
    Table::of(
        &format!(
            "The {} job, {tasks_per_worker} tasks for each worker:",
            kind.name
        ),
        cases,
        &[
            ("workers are", &|case| case.variant.name().into()),
            ("workers", &|case| case.variant.workers().to_string().into()),
            ("time", &|case| {
                case.figure(Unit::Seconds, |done| done.work).into()
            }),
            ("speed-up", &|case| speed_up(case, &cases[0]).into()),
        ],
    )
}

/// The work that is done in a second with this setup, divided by the work that the serial worker does in a
/// second. A setup of n workers has n times as many tasks as the serial worker.
fn speed_up(case: &Case, serial: &Case) -> Figure {
    let speeds = |case: &Case| case.numbers(|done| case.variant.workers() as f64 / done.work);
    Figure::ratio(&speeds(case), &speeds(serial))
}

fn start_table(cases: &[Case]) -> Table {
    Table::of(
        "The start of the workers, until all of them wait for their first task:",
        // Without the serial one, which starts no worker.
        &cases[1..].iter().collect::<Vec<_>>(),
        &[
            ("workers are", &|case| case.variant.name().into()),
            ("workers", &|case| case.variant.workers().to_string().into()),
            ("to start them", &|case| {
                case.figure(Unit::Seconds, |done| done.start).into()
            }),
        ],
    )
}

fn speed_up_plot(kind: &Kind, cases: &[Case]) -> Plot {
    let numbers = cases.iter().map(|case| case.variant.workers());
    let most = numbers.max().unwrap_or(1) as f64;
    let mut lines = lines(cases, |case| speed_up(case, &cases[0]));
    lines.push(Line::reference("ideal", [(1.0, 1.0), (most, most)]));
    Plot::new(
        &format!("Speed-up against serial work: the {} job", kind.name),
        Axis::linear("workers", Unit::Count),
        Axis::linear("speed-up", Unit::Ratio),
        lines,
    )
}

fn start_plot(cases: &[Case]) -> Plot {
    Plot::new(
        "To start the workers",
        Axis::linear("workers", Unit::Count),
        Axis::logarithmic("time", Unit::Seconds),
        lines(cases, |case| case.figure(Unit::Seconds, |done| done.start)),
    )
}

/// A line for each way but the serial one, which would be a single point.
fn lines(cases: &[Case], figure: impl Fn(&Case) -> Figure) -> Vec<Line> {
    let line = |way: usize| {
        let of_way = cases.iter().filter(|case| case.variant.way == way);
        let point = |case: &Case| (case.variant.workers() as f64, figure(case).interval);
        Line::new(WAYS[way].name, of_way.map(point))
    };
    (1..WAYS.len()).map(line).collect()
}

/// Compares processes with threads in each kind of work. The verdict rests on processes that get
/// messages, as is usual. Those with a shared index only show what the messages cost.
fn judge(workers: usize, jobs: &[(&Kind, Vec<Case>)]) -> Finding {
    let (mut words, mut figures, mut verdicts) = (Vec::new(), Vec::new(), Vec::new());
    for (kind, cases) in jobs {
        let find = |way| {
            cases.iter().find(|case| {
                case.variant.workers() == workers && WAYS[case.variant.way].name == way
            })
        };
        for (way, how) in [(PROCESSES, ""), (SHARED_INDEX, " with a shared index")] {
            let (Some(threads), Some(processes)) = (find(THREADS), find(way)) else {
                continue;
            };
            let ratio = processes.ratio_to(threads, |done| done.work);
            let verdict = verdict::within(ratio.interval, A_BIT, MUCH);
            let longer = match verdict {
                Verdict::Holds => "a bit longer",
                Verdict::Fails if ratio.interval.median > MUCH => "far longer",
                Verdict::Fails if ratio.interval.high < 1.0 / A_BIT => "less time",
                Verdict::Fails => "as long",
                _ => "perhaps longer",
            };
            words.push(format!("{longer} at {} work{how}", kind.name));
            if way == PROCESSES {
                figures.push(format!("{} work {ratio}", kind.name));
                verdicts.push(verdict);
            }
        }
    }
    Finding::new(
        verdict::usually(verdicts),
        format!(
            "{workers} processes take, compared with {workers} threads, {}",
            words.join(", ")
        ),
        format!("processes / threads: {}", figures.join(", ")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_task_has_the_result_that_it_should() {
        for kind in KINDS {
            assert_eq!((kind.task)(), kind.result, "{}", kind.name);
        }
    }

    #[test]
    fn a_hybrid_setup_has_several_processes_of_several_threads() {
        assert_eq!([1, 3, 4, 6, 64].map(processes_of_hybrid), [1, 1, 2, 2, 8]);
        for workers in 1..=50 {
            let processes = processes_of_hybrid(workers);
            assert_eq!(workers / processes * processes, workers);
        }
        let setups = setups(3, &KINDS[0]).concat();
        let hybrids = setups
            .iter()
            .filter(|setup| WAYS[setup.way].name == "hybrid")
            .map(|setup| setup.name());
        assert!(
            hybrids.eq(["hybrid, 2 × 3"]),
            "of 1, 3 and 6 workers only 6 can be divided: {setups:?}"
        );
    }

    #[test]
    fn up_to_twice_as_many_workers_as_asked_for_are_tried_each_with_as_many_tasks() {
        let numbers = |workers| -> Vec<usize> {
            let groups = setups(workers, &KINDS[0]);
            groups.iter().map(|group| group[0].workers()).collect()
        };
        assert_eq!(numbers(1), [1, 2]);
        assert_eq!(numbers(8), [1, 4, 8, 16]);
        let hybrid = Setup {
            way: 0,
            processes: 2,
            threads: 3,
        };
        assert_eq!(hybrid.job(0, 20).tasks, 120);
    }

    /// A machine with this number of cores. There, serial work takes a second for the tasks of one
    /// worker. The last three parameters are the ratios of processes to threads.
    fn judged(cores: usize, computing: f64, chatty: f64, shared_index: f64) -> Finding {
        let job = |kind: &'static Kind, processes: f64| {
            let case = |variant: Setup| {
                let ratio = match WAYS[variant.way].name {
                    // Only as many workers as cores count.
                    PROCESSES | SHARED_INDEX if variant.workers() != cores => 99.0,
                    PROCESSES => processes,
                    SHARED_INDEX => shared_index,
                    _ => 1.0,
                };
                let done = Done {
                    start: 1.0,
                    work: variant.workers().div_ceil(cores) as f64 * ratio,
                    total: 0,
                };
                let samples = vec![done; 9];
                Measured { variant, samples }
            };
            let setups = setups(cores, kind).concat();
            (kind, setups.into_iter().map(case).collect())
        };
        let jobs = [
            job(&KINDS[0], computing),
            job(&KINDS[1], chatty),
            job(&KINDS[2], computing),
        ];
        judge(cores, &jobs)
    }

    #[test]
    fn the_verdict_does_not_depend_on_the_number_of_cores() {
        for cores in [2, 8, 64] {
            let verdict = |computing, chatty, shared_index| {
                judged(cores, computing, chatty, shared_index).verdict
            };
            assert_eq!(verdict(1.2, 1.2, 1.2), Verdict::Holds);
            // As fast is not "a bit faster", and far faster is "much".
            assert_eq!(verdict(1.0, 8.0, 1.0), Verdict::Fails);
            // Two kinds of three are what is usual, whatever the messages cost in the third.
            assert_eq!(verdict(1.2, 8.0, 9.0), Verdict::Holds);
        }
    }

    #[cfg(unix)]
    #[test]
    fn the_reason_tells_equality_as_equality() {
        let finding = judged(2, 0.95, 8.0, 0.5);
        assert_eq!(
            finding.reason,
            "2 processes take, compared with 2 threads, as long at computing work, far longer at \
             chatty work, less time at chatty work with a shared index, as long at waiting work"
        );
        assert_eq!(
            finding.headline,
            "processes / threads: computing work 0.95 × [0.95, 0.95], chatty work 8.00 × [8.00, 8.00], \
             waiting work 0.95 × [0.95, 0.95]"
        );
        let reason = judged(2, 1.2, 1.2, 1.2).reason;
        assert!(
            reason.contains(", a bit longer at computing work, "),
            "{reason}"
        );
    }

    fn case(way: usize, workers: usize, work: f64) -> Case {
        let variant = Setup {
            way,
            processes: 1,
            threads: workers,
        };
        let done = Done {
            start: 9.0,
            work,
            total: 0,
        };
        Case {
            variant,
            samples: vec![done; 9],
        }
    }

    #[test]
    fn speed_up_is_the_work_done_in_the_same_time() {
        // Eight do eight times as much in twice the time.
        let speed_up = speed_up(&case(1, 8, 2.0), &case(0, 1, 1.0));
        assert_eq!(speed_up.interval.median, 4.0);
    }

    #[test]
    fn each_way_has_a_line_beside_what_would_be_ideal() {
        let [threads, processes] = [1, 2];
        let cases = [
            case(0, 1, 1.0),
            case(threads, 1, 1.0),
            case(processes, 1, 2.0),
            case(threads, 8, 2.0),
            case(processes, 8, 4.0),
        ];
        let plot = speed_up_plot(&KINDS[0], &cases);
        let lines = plot.lines.iter().map(|line| {
            let points = line.points.iter().map(|point| (point.x, point.y.median));
            (line.name.as_str(), points.collect())
        });
        assert_eq!(
            lines.collect::<Vec<(_, Vec<_>)>>(),
            [
                (THREADS, vec![(1.0, 1.0), (8.0, 4.0)]),
                (PROCESSES, vec![(1.0, 0.5), (8.0, 2.0)]),
                ("ideal", vec![(1.0, 1.0), (8.0, 8.0)]),
            ]
        );
    }
}
