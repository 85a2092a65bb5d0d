//! The same job serially, by threads, by processes, and by processes of threads.
//!
//! One master holds the tasks and adds up the results, the others work (Master–Worker). Who is done
//! with a task takes the next one, so that all are busy until there is none left. Each worker more
//! brings as many tasks more: a machine of many cores has as much to do for as long as a small one.
//! The workers are started before, and that is timed apart.
//!
//! Threads take a task by counting up an index that they share. To processes the master sends a
//! message for each task, and each result is one. That is another protocol, and small tasks show it.
//! So at those, processes are also tried with an index in memory that they share.

use std::{
    sync::{
        RwLock,
        atomic::{AtomicU32, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
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
    lab::{
        Lab, Measured,
        role::{Partner, Role, receive_from_parent, tell_parent},
        trial,
    },
    work::count_primes,
};

pub const EXPERIMENT: Experiment = Experiment {
    name: "throughput",
    claim: "Threads are usually a bit faster than processes, but not by much.",
    share: 19,
    run,
    roles: &[&WORK, &WORKER],
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

/// "A bit faster, but not by much": processes take at least and at most so many times as long as
/// threads. Less than the lower bound is no difference: two runs of the same differ by as much on a
/// machine that is not idle.
const A_BIT: (f64, f64) = (1.15, 1.5);

/// What is to be done, so often for each worker. All tasks of a kind are alike.
struct Kind {
    name: &'static str,
    /// How many tasks there are for each worker: in a quick run, and else.
    tasks: (u32, u32),
    /// Does one task.
    task: fn() -> u32,
    /// What that returns.
    result: u32,
    /// How much of the time it gets, in percent.
    share: u32,
}

const KINDS: &[Kind] = &[
    // It computes, about a millisecond for each task, and does nothing else.
    Kind {
        name: "computing",
        tasks: (3, 20),
        task: || count_primes(0..35_000),
        result: 3732,
        share: 50,
    },
    // Tasks so small that to hand one over by a message takes longer than to do it.
    Kind {
        name: "chatty",
        tasks: (200, 2500),
        task: || count_primes(0..500),
        result: 95,
        share: 25,
    },
    // It waits, as for a disk or for somebody else's answer.
    Kind {
        name: "waiting",
        tasks: (2, 4),
        task: || {
            thread::sleep(Duration::from_millis(2));
            1
        },
        result: 1,
        share: 25,
    },
];

/// Who works: so many processes, of so many threads each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Crew {
    way: usize,
    processes: usize,
    threads: usize,
}

impl Crew {
    fn workers(self) -> usize {
        self.processes * self.threads
    }
}

struct Way {
    name: &'static str,
    /// How so many workers are divided into processes and threads. `None`: so many cannot be.
    divide: fn(usize) -> Option<(usize, usize)>,
    /// For which kinds of work.
    for_kind: fn(&Kind) -> bool,
    work: fn(Crew, &Kind, u32) -> anyhow::Result<Done>,
}

/// The serial one is what the others' speed-up is measured against.
const WAYS: &[Way] = &[
    Way {
        name: "serial",
        divide: |workers| (workers == 1).then_some((1, 1)),
        for_kind: |_| true,
        work: serially,
    },
    Way {
        name: THREADS,
        divide: |workers| Some((1, workers)),
        for_kind: |_| true,
        work: by_threads,
    },
    Way {
        name: PROCESSES,
        divide: |workers| Some((workers, 1)),
        for_kind: |_| true,
        work: by_processes,
    },
    #[cfg(unix)]
    Way {
        name: SHARED_INDEX,
        divide: |workers| Some((workers, 1)),
        for_kind: |kind| kind.name == "chatty",
        work: by_shared_index,
    },
    Way {
        name: "hybrid",
        divide: |workers| hybrid(workers).filter(|&(processes, _)| processes > 1),
        for_kind: |_| true,
        work: by_processes,
    },
];
const THREADS: &str = "threads";
const PROCESSES: &str = "processes";
const SHARED_INDEX: &str = "processes, shared index";

/// As many processes as come next to as many threads in each.
fn hybrid(workers: usize) -> Option<(usize, usize)> {
    let divides = |n: &usize| workers.is_multiple_of(*n) && n * n <= workers;
    let processes = (1..=workers).rev().find(divides)?;
    Some((processes, workers / processes))
}

/// How a crew did a job: times in seconds, and the sum of the results.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Done {
    /// From the first one's start until all wait for their first task.
    start: f64,
    /// From then until the last result.
    work: f64,
    total: u32,
}

/// Way and size of the crew, and which kind of job, of how many tasks for each worker.
static WORK: Role<(Crew, usize, u32), Done> = Role {
    name: "throughput",
    play: |(crew, kind, each)| {
        let tasks = each * crew.workers() as u32;
        (WAYS[crew.way].work)(crew, &KINDS[kind], tasks)
    },
};

fn serially(_: Crew, kind: &Kind, tasks: u32) -> anyhow::Result<Done> {
    let begin = Instant::now();
    let total = (0..tasks).map(|_| (kind.task)()).sum();
    let work = begin.elapsed().as_secs_f64();
    Ok(Done {
        start: 0.0,
        work,
        total,
    })
}

fn by_threads(crew: Crew, kind: &Kind, tasks: u32) -> anyhow::Result<Done> {
    let index = AtomicU32::new(0);
    let worker = || Ok(work_off(&index, kind, tasks));
    all_together(Instant::now(), (0..crew.threads).map(|_| worker))
}

/// Does one task after the other, until the index says that all are taken.
fn work_off(index: &AtomicU32, kind: &Kind, tasks: u32) -> u32 {
    let mut sum = 0;
    // The index is all that they share: nothing else has to be seen in any order.
    while index.fetch_add(1, Relaxed) < tasks {
        sum += (kind.task)();
    }
    sum
}

fn by_processes(crew: Crew, kind: &Kind, tasks: u32) -> anyhow::Result<Done> {
    let start = Instant::now();
    let this_kind = KINDS.iter().position(|it| it.name == kind.name);
    let parameter = (this_kind.context("it is one of them")?, crew.threads);
    let mut workers = (1..=crew.processes)
        .map(|n| {
            let worker = WORKER.start(&parameter);
            worker.with_context(|| format!("cannot start worker {n} of {}", crew.processes))
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    for worker in &mut workers {
        // Each of its threads says that it is there.
        for _ in 0..crew.threads {
            worker.expect::<u32>()?;
        }
    }
    // A thread stands by each of them, and does nothing but wait for it.
    let index = AtomicU32::new(0);
    let attend = |mut worker: Partner| {
        let take = || (index.fetch_add(1, Relaxed) < tasks).then_some(());
        move || {
            let (mut sum, mut under_way) = (0, 0);
            // Twice as many tasks as it has threads: with one each, they would idle while a result
            // and the next task are on their way.
            while let Some(task) = (under_way < 2 * crew.threads).then(take).flatten() {
                worker.tell(&task)?;
                under_way += 1;
            }
            while under_way > 0 {
                sum += worker.expect::<u32>()?;
                match take() {
                    Some(task) => worker.tell(&task)?,
                    None => under_way -= 1,
                }
            }
            // How long it takes to end them all is not timed: they go when they have nothing to do.
            Ok(sum)
        }
    };
    all_together(start, workers.into_iter().map(attend))
}

/// A worker process: its threads do the tasks that arrive, until no more can come.
static WORKER: Role<(usize, usize)> = Role {
    name: "throughput-worker",
    play: |(kind, threads)| {
        let serve = || {
            tell_parent(&0)?;
            while let Some(()) = receive_from_parent()? {
                tell_parent(&(KINDS[kind].task)())?;
            }
            anyhow::Ok(())
        };
        if threads == 1 {
            return serve();
        }
        thread::scope(|scope| {
            let threads = (0..threads)
                .map(|_| thread::Builder::new().spawn_scoped(scope, serve))
                .collect::<Result<Vec<_>, _>>()
                .context("cannot start a thread")?;
            let mut threads = threads.into_iter();
            threads.try_for_each(|thread| thread.join().expect("no worker panics"))
        })
    },
};

/// Starts a thread for each worker; when all are there, lets them go, and adds up what they return.
fn all_together<W>(start: Instant, workers: impl Iterator<Item = W>) -> anyhow::Result<Done>
where
    W: FnOnce() -> anyhow::Result<u32> + Send,
{
    // Whoever wants to read waits while it is held.
    let gate = RwLock::new(false);
    let mut open = gate.write().expect("it is new");
    let (is_there, there) = mpsc::channel();
    thread::scope(|scope| {
        let gate = &gate;
        let threads = workers
            .map(|work| {
                let is_there = is_there.clone();
                let wait_and_work = move || {
                    is_there.send(Instant::now())?;
                    // If one cannot be started, the gate is given up as it is, and all leave.
                    match *gate.read().expect("nobody panics") {
                        true => Ok((work()?, Instant::now())),
                        false => anyhow::bail!("it was called off"),
                    }
                };
                thread::Builder::new().spawn_scoped(scope, wait_and_work)
            })
            .collect::<Result<Vec<_>, _>>();
        let Ok(threads) = threads else {
            drop(open);
            return Err(threads.expect_err("it is one")).context("cannot start a thread");
        };
        for _ in &threads {
            there.recv()?;
        }
        let start = start.elapsed().as_secs_f64();
        let begin = Instant::now();
        *open = true;
        drop(open);
        let mut done = Done {
            start,
            work: 0.0,
            total: 0,
        };
        for thread in threads {
            let (sum, end) = thread.join().expect("no worker panics")?;
            done.work = (end - begin).as_secs_f64().max(done.work);
            done.total += sum;
        }
        Ok(done)
    })
}

/// Processes that share what threads share: the index.
#[cfg(unix)]
fn by_shared_index(crew: Crew, kind: &Kind, tasks: u32) -> anyhow::Result<Done> {
    use crate::lab::{mapping::Mapping, team::Team};
    let start = Instant::now();
    let size = size_of::<[AtomicU32; 2]>().try_into();
    let memory = Mapping::shared(size.context("it has a size")?)?;
    // SAFETY: so much is mapped, aligned to a page and zeroed, as long as `memory` is there, and all
    // of us use it as atomic numbers.
    let [index, total] = unsafe { memory.start::<[AtomicU32; 2]>().as_ref() };
    let work = |_| {
        total.fetch_add(work_off(index, kind, tasks), Relaxed);
        Ok(())
    };
    // SAFETY: this trial has started no thread.
    let team = unsafe { Team::processes(crew.processes, work) }?;
    let start = start.elapsed().as_secs_f64();
    let begin = Instant::now();
    let working = team.begin();
    working.until_done()?;
    let work = begin.elapsed().as_secs_f64();
    working.join()?;
    let total = total.load(Relaxed);
    Ok(Done { start, work, total })
}

/// A crew, and how it did the job in each round.
type Case = Measured<Crew, Done>;

/// What a crew does in a second: the work of so many that there is for one worker.
fn speed(crew: Crew) -> impl Fn(&Done) -> f64 {
    move |done| crew.workers() as f64 / done.work
}

fn run(lab: &Lab) -> anyhow::Result<Finding> {
    let mut left_out = Vec::new();
    if cfg!(not(unix)) {
        left_out.push(format!(
            "{SHARED_INDEX}: they are forked, which exists on Unix only"
        ));
    }
    let (mut tables, mut plots) = (Vec::new(), Vec::new());
    let mut jobs = Vec::new();
    for (number, kind) in KINDS.iter().enumerate() {
        let each = lab.mode.pick(kind.tasks.0, kind.tasks.1, kind.tasks.1);
        let budget = lab.budget * kind.share / 100;
        let cases = lab.alternate_groups(budget, crews(lab.workers, kind), |&crew| {
            let done = trial::run(&WORK, &(crew, number, each))?;
            let right = kind.result * each * crew.workers() as u32;
            ensure!(
                done.total == right,
                "{crew:?} has {}, not {right}",
                done.total
            );
            Ok(done)
        })?;
        tables.push(table(kind, &cases));
        plots.push(speed_ups(kind, &cases));
        jobs.push((kind, cases));
    }
    // To start a crew takes as long whatever it is to do; most samples has the first job.
    let (_, cases) = &jobs[0];
    tables.push(starts(cases));
    plots.push(starts_plot(cases));
    Ok(Finding {
        tables,
        plots,
        left_out,
        ..judge(lab.workers, &compare(lab.workers, &jobs))
    })
}

/// From one worker to twice as many as there are to be: a group for each number, in each way.
fn crews(workers: usize, kind: &Kind) -> Vec<Vec<Crew>> {
    let mut numbers = vec![1, workers / 2, workers, workers * 2];
    numbers.retain(|&workers| workers > 0);
    numbers.sort_unstable();
    numbers.dedup();
    let ways = || {
        WAYS.iter()
            .enumerate()
            .filter(|(_, way)| (way.for_kind)(kind))
    };
    let crew = |(way, workers): (usize, usize)| {
        let (processes, threads) = (WAYS[way].divide)(workers)?;
        Some(Crew {
            way,
            processes,
            threads,
        })
    };
    let of_number = |workers| ways().map(move |(way, _)| (way, workers)).filter_map(crew);
    numbers
        .into_iter()
        .map(|number| of_number(number).collect())
        .collect()
}

fn name(crew: Crew) -> String {
    let name = WAYS[crew.way].name;
    match (crew.processes, crew.threads) {
        (processes @ 2.., threads @ 2..) => format!("{name}, {processes} × {threads}"),
        _ => name.to_owned(),
    }
}

fn table(kind: &Kind, cases: &[Case]) -> Table {
    Table::of(
        &format!("The {} job, so much for each worker:", kind.name),
        cases,
        &[
            ("workers are", &|it| name(it.variant).into()),
            ("workers", &|it| it.variant.workers().to_string().into()),
            ("time", &|it| {
                it.figure(Unit::Seconds, |done| done.work).into()
            }),
            ("speed-up", &|it| speed_up(it, &cases[0]).into()),
        ],
    )
}

/// How many times as much it does in the same time.
fn speed_up(case: &Case, serial: &Case) -> Figure {
    let speeds = |case: &Case| case.numbers(speed(case.variant));
    Figure::ratio(&speeds(case), &speeds(serial))
}

fn starts(cases: &[Case]) -> Table {
    Table::of(
        "What came before, until all workers waited for their first task:",
        &cases[1..].iter().collect::<Vec<_>>(),
        &[
            ("workers are", &|it| name(it.variant).into()),
            ("workers", &|it| it.variant.workers().to_string().into()),
            ("to start them", &|it| {
                it.figure(Unit::Seconds, |done| done.start).into()
            }),
        ],
    )
}

/// A line for each way.
fn lines(cases: &[Case], of: impl Fn(&Case) -> Figure) -> Vec<Line> {
    let line = |way: usize| {
        let of_way = cases.iter().filter(|case| case.variant.way == way);
        let point = |case: &Case| (case.variant.workers() as f64, of(case).interval);
        Line::new(WAYS[way].name, of_way.map(point))
    };
    // The serial one is a point.
    (1..WAYS.len()).map(line).collect()
}

fn speed_ups(kind: &Kind, cases: &[Case]) -> Plot {
    let most = cases
        .iter()
        .map(|case| case.variant.workers())
        .max()
        .unwrap_or(1) as f64;
    let mut lines = lines(cases, |case| speed_up(case, &cases[0]));
    lines.push(Line::reference("ideal", [(1.0, 1.0), (most, most)]));
    Plot::new(
        &format!("Speed-up against serial work: the {} job", kind.name),
        Axis::linear("workers", Unit::Count),
        Axis::linear("speed-up", Unit::Times),
        lines,
    )
}

fn starts_plot(cases: &[Case]) -> Plot {
    Plot::new(
        "To start the workers",
        Axis::linear("workers", Unit::Count),
        Axis::logarithmic("time", Unit::Seconds),
        lines(cases, |case| case.figure(Unit::Seconds, |done| done.start)),
    )
}

/// In one kind of work, how many times as long as so many threads so many processes take.
struct Compared {
    case: String,
    times: Figure,
    /// The verdict rests on processes that get messages, as they usually do. The shared index tells
    /// what of it is the messages' doing.
    is_usual: bool,
}

fn compare(workers: usize, jobs: &[(&Kind, Vec<Case>)]) -> Vec<Compared> {
    let mut compared = Vec::new();
    for (kind, cases) in jobs {
        let find = |name| {
            cases.iter().find(|case| {
                case.variant.workers() == workers && WAYS[case.variant.way].name == name
            })
        };
        let Some(threads) = find(THREADS) else {
            continue;
        };
        for (way, how) in [(PROCESSES, ""), (SHARED_INDEX, " with a shared index")] {
            compared.extend(find(way).map(|processes| Compared {
                case: format!("{} work{how}", kind.name),
                times: processes.ratio_to(threads, |done| done.work),
                is_usual: way == PROCESSES,
            }));
        }
    }
    compared
}

fn judge(workers: usize, compared: &[Compared]) -> Finding {
    let verdict_of = |it: &Compared| verdict::within(it.times.interval, A_BIT.0, A_BIT.1);
    let cases = compared.iter().map(|it| {
        let is_less = verdict::at_least(it.times.interval, 1.0 / A_BIT.0) == Verdict::Fails;
        let words = match verdict_of(it) {
            Verdict::Holds => "a bit longer",
            Verdict::Fails if it.times.interval.median > A_BIT.1 => "far longer",
            Verdict::Fails if is_less => "less time",
            Verdict::Fails => "as long",
            _ => "perhaps longer",
        };
        format!("{words} at {}", it.case)
    });
    let cases = cases.collect::<Vec<_>>().join(", ");
    let usual = || compared.iter().filter(|it| it.is_usual);
    let figures = usual().map(|it| format!("{} {}", it.case, it.times));
    Finding::new(
        verdict::usually(usual().map(verdict_of)),
        format!("{workers} processes take, compared with {workers} threads, {cases}"),
        format!(
            "processes / threads: {}",
            figures.collect::<Vec<_>>().join(", ")
        ),
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
    fn all_threads_together_do_each_task_once() {
        let crew = Crew {
            way: 1,
            processes: 1,
            threads: 3,
        };
        let done = by_threads(crew, &KINDS[1], 1000).expect("threads can be started");
        assert_eq!(done.total, 95_000);
        assert!(done.work > 0.0);
    }

    #[test]
    fn a_hybrid_crew_has_several_processes_of_several_threads() {
        for workers in 1..=50 {
            let (processes, threads) = hybrid(workers).expect("one divides any");
            assert_eq!(processes * threads, workers);
        }
        assert_eq!(hybrid(4), Some((2, 2)));
        assert_eq!(hybrid(64), Some((8, 8)));
        let crews = crews(3, &KINDS[0]);
        let hybrids: Vec<_> = crews
            .iter()
            .flatten()
            .filter(|crew| crew.way == WAYS.len() - 1)
            .collect();
        assert_eq!(
            hybrids.len(),
            1,
            "of 1, 3 and 6 workers only 6 can be: {crews:?}"
        );
    }

    /// A machine with so many cores. There, serial work takes a second for each worker's part, and
    /// processes take so many times as long as threads.
    fn judged(cores: usize, computing: f64, chatty: f64, shared_index: f64) -> Finding {
        let job = |kind: &'static Kind, slower: &[(&str, f64)]| {
            let case = |variant: Crew| {
                let slower = slower
                    .iter()
                    .find(|(way, _)| *way == WAYS[variant.way].name);
                let work = variant.workers().div_ceil(cores) as f64 * slower.map_or(1.0, |it| it.1);
                let done = Done {
                    start: 1.0,
                    work,
                    total: 0,
                };
                let samples = vec![done; 9];
                Measured { variant, samples }
            };
            let cases: Vec<Case> = crews(cores, kind).concat().into_iter().map(case).collect();
            (kind, cases)
        };
        let jobs = [
            job(&KINDS[0], &[(PROCESSES, computing)]),
            job(
                &KINDS[1],
                &[(PROCESSES, chatty), (SHARED_INDEX, shared_index)],
            ),
            job(&KINDS[2], &[(PROCESSES, computing)]),
        ];
        judge(cores, &compare(cores, &jobs))
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
        let finding = judged(2, 1.02, 8.0, 0.5);
        assert_eq!(
            finding.reason,
            "2 processes take, compared with 2 threads, as long at computing work, far longer at \
             chatty work, less time at chatty work with a shared index, as long at waiting work"
        );
    }

    #[test]
    fn speed_up_is_the_work_done_in_the_same_time() {
        let case = |way, threads, work| Measured {
            variant: Crew {
                way,
                processes: 1,
                threads,
            },
            samples: vec![
                Done {
                    start: 9.0,
                    work,
                    total: 0
                };
                9
            ],
        };
        // Eight do eight times as much in twice the time.
        let speed_up = speed_up(&case(1, 8, 2.0), &case(0, 1, 1.0));
        assert_eq!(speed_up.interval.median, 4.0);
    }
}
