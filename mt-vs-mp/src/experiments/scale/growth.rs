//! The same work by one worker, by ten, by a hundred, by a thousand.

use anyhow::ensure;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

use super::crowd::{self, Crowd, Model, Seen};
use crate::{
    lab::{
        Lab, Mode,
        limits::{self, Limit},
        statistics::Interval,
        trial::Trial,
        verdict::{self, Judgement, Verdict},
    },
    report::{
        Axis, Cell, Finding, Line, Plot, Point, Table,
        figure::{Figure, Unit},
    },
};

/// From so many on they are "thousands".
const MANY: usize = 1000;

/// "It can't cope": the same work takes at least so many times as long as by a worker per core. That
/// leaves room for waking so many, for each of whom there is no more than a trifle to do.
const OVERWHELMED: f64 = 5.0;

/// More than a worker that does so little takes of memory, in bytes.
const EACH: u64 = 256 << 10;

pub static SCALE: Trial<Crowd, Seen> = Trial {
    name: "scale",
    body: crowd::try_out,
};

/// One crowd, and what was seen in each round.
struct Case {
    crowd: Crowd,
    seen: Vec<Seen>,
}

impl Case {
    fn samples(&self, of: impl Fn(&Seen) -> f64) -> Vec<f64> {
        self.seen.iter().map(of).collect()
    }
}

pub fn run(lab: &Lab) -> anyhow::Result<(Finding, Judgement)> {
    let mut finding = Finding::default();
    let crowds = those_that_fit(lab, &mut finding.left_out)?;
    let mut cases: Vec<Case> = crowds
        .iter()
        .map(|&crowd| Case {
            crowd,
            seen: Vec::new(),
        })
        .collect();
    let mut primes = None;
    lab.alternate(lab.budget, &crowds, |crowd| {
        let seen = SCALE.run(crowd)?;
        let expected = *primes.get_or_insert(seen.primes);
        ensure!(seen.primes == expected, "{crowd:?} miscounted: {seen:?}");
        let case = cases.iter_mut().find(|case| case.crowd == *crowd);
        case.expect("it is one of them").seen.push(seen);
        Ok(seen.work)
    })?;

    finding.tables = vec![times(&cases, lab.workers), burden(&cases)];
    finding.plots = vec![
        plot(
            &cases,
            "The same work, from the first worker's start to the last one's end",
            Unit::Seconds,
            |seen| Some(seen.total),
        ),
        plot(
            &cases,
            "Memory that each worker has for itself",
            Unit::Bytes,
            |seen| seen.memory,
        ),
        plot(
            &cases,
            "How late one that waits is woken, at worst",
            Unit::Seconds,
            |seen| Some(seen.late.1),
        ),
    ];
    if cases
        .iter()
        .flat_map(|case| &case.seen)
        .any(|seen| seen.memory.is_none())
    {
        let left_out = "memory for each worker: it needs Linux's /proc/PID/smaps_rollup";
        finding.left_out.push(left_out.to_owned());
    }
    let (headline, judgement) = judge(&cases, lab.workers);
    finding.headline = headline;
    Ok((finding, judgement))
}

/// The crowds that can be started without harm; of the others it is told why not.
fn those_that_fit(lab: &Lab, left_out: &mut Vec<String>) -> anyhow::Result<Vec<Crowd>> {
    let (mut sizes, numbers) = match lab.mode {
        Mode::Quick => (vec![1, 10, 100], 200_000),
        Mode::Default => (vec![1, 10, 100, 1000], 800_000),
        Mode::Full => (vec![1, 10, 100, 1000, 4000, 8000], 800_000),
    };
    if lab.mode == Mode::Quick {
        left_out.push("1000 workers: --quick has no time for them".to_owned());
    }
    sizes.push(lab.workers);
    sizes.sort_unstable();
    sizes.dedup();
    let mut crowds = Vec::new();
    for workers in sizes {
        for model in [Model::Processes, Model::Threads] {
            lab.go_on()?;
            let crowd = Crowd {
                model,
                workers,
                numbers,
            };
            // Whoever is refused some, however few, says so. This also warms up.
            let tried = room_for(crowd, lab).and_then(|()| SCALE.run(&crowd).map(drop));
            match tried {
                Ok(()) => crowds.push(crowd),
                Err(error) => left_out.push(format!("{workers} {}: {error:#}", model.name())),
            }
        }
    }
    Ok(crowds)
}

/// # Errors
/// When a crowd would take more than half of what a limit leaves: others need some too.
fn room_for(crowd: Crowd, lab: &Lab) -> anyhow::Result<()> {
    let mut limits = limits::of_processes();
    let memory = lab.machine.memory_available;
    limits.push(Limit::new("memory", Some(memory / EACH), 0));
    let (space, _) = getrlimit(Resource::RLIMIT_AS)?;
    if crowd.model == Model::Threads && space != RLIM_INFINITY {
        // The room for a thread's stack, whether it is used or not.
        limits.push(Limit::new(
            "RLIMIT_AS (ulimit -v)",
            Some(space / (2 << 20)),
            0,
        ));
    }
    if let Some((limit, room)) = limits::first(&limits) {
        // The workers, the one that waits, and their master.
        let wanted = crowd.workers as u64 + 2;
        ensure!(
            wanted <= room / 2,
            "{} leaves room for {room} only",
            limit.name
        );
    }
    Ok(())
}

fn times(cases: &[Case], cores: usize) -> Table {
    let mut table = Table::new(
        "The same work by more and more workers:",
        [
            "workers are",
            "workers",
            "to start them",
            "the work",
            "times one per core",
        ],
    );
    for case in cases {
        let work = case.samples(|seen| seen.work);
        let few =
            yardstick(cases, case.crowd.model, cores).map(|few| few.samples(|seen| seen.work));
        table.rows.push(vec![
            case.crowd.model.name().into(),
            case.crowd.workers.to_string().into(),
            Figure::seconds(&case.samples(|seen| seen.start)).into(),
            Figure::seconds(&work).into(),
            few.map_or(Cell::from("-"), |few| Figure::times(&work, &few).into()),
        ]);
    }
    table
}

fn burden(cases: &[Case]) -> Table {
    let mut table = Table::new(
        "What each of them takes (private memory and page tables, without the kernel's stack), and how \
         late one more, which only sleeps for 1 ms at a time, is woken meanwhile:",
        [
            "workers are",
            "workers",
            "memory each",
            "late",
            "late at worst",
        ],
    );
    for case in cases {
        let memory: Vec<f64> = case.seen.iter().filter_map(|seen| seen.memory).collect();
        table.rows.push(vec![
            case.crowd.model.name().into(),
            case.crowd.workers.to_string().into(),
            match memory.is_empty() {
                true => "-".into(),
                false => Figure::new(Interval::of(&memory), Unit::Bytes).into(),
            },
            Figure::seconds(&case.samples(|seen| seen.late.0)).into(),
            Figure::seconds(&case.samples(|seen| seen.late.1)).into(),
        ]);
    }
    table
}

fn plot(cases: &[Case], title: &str, unit: Unit, of: impl Fn(&Seen) -> Option<f64>) -> Plot {
    let line = |model: Model| Line {
        name: model.name().to_owned(),
        points: cases
            .iter()
            .filter(|case| case.crowd.model == model)
            .filter_map(|case| {
                let samples: Option<Vec<f64>> = case.seen.iter().map(&of).collect();
                Some(Point {
                    x: case.crowd.workers as f64,
                    y: Interval::of(&samples?),
                })
            })
            .collect(),
    };
    let axis = |label, unit| Axis {
        logarithmic: true,
        ..Axis::linear(label, unit)
    };
    Plot {
        title: title.to_owned(),
        x: axis("workers", Unit::Count),
        y: axis(
            if unit == Unit::Bytes {
                "memory"
            } else {
                "time"
            },
            unit,
        ),
        lines: [Model::Processes, Model::Threads].map(line).into(),
    }
}

/// The crowd of a worker per core.
fn yardstick(cases: &[Case], model: Model, cores: usize) -> Option<&Case> {
    let few = |case: &&Case| case.crowd.model == model && case.crowd.workers == cores;
    cases.iter().find(few)
}

/// The headline, and the verdict on the largest crowd of processes.
fn judge(cases: &[Case], cores: usize) -> (String, Judgement) {
    let processes = cases
        .iter()
        .filter(|case| case.crowd.model == Model::Processes);
    let most = processes.max_by_key(|case| case.crowd.workers);
    let (Some(most), Some(few)) = (most, yardstick(cases, Model::Processes, cores)) else {
        let reason = "not even a process for each core could be started: see what was left out";
        return (
            "none".to_owned(),
            Judgement::new(Verdict::NotMeasured, reason),
        );
    };
    let workers = most.crowd.workers;
    let work = |case: &Case| case.samples(|seen| seen.work);
    let times = Figure::times(&work(most), &work(few));
    let headline = format!("the work of {cores} processes by {workers}: {times} the time");
    let start = Figure::seconds(&most.samples(|seen| seen.start));
    let verdict = if workers < MANY {
        Verdict::Unclear
    } else {
        verdict::at_least(times.interval, OVERWHELMED)
    };
    let mut reason = format!(
        "once they were started, which took {start}, {workers} processes did the same work in \
         {times} the time of {cores}"
    );
    if workers < MANY {
        reason += "; thousands were not tried";
    }
    (headline, Judgement::new(verdict, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One process in one second, and `many` in so many.
    fn judged(many: usize, seconds: f64) -> Verdict {
        let case = |workers, work| Case {
            crowd: Crowd {
                model: Model::Processes,
                workers,
                numbers: 10,
            },
            seen: vec![
                Seen {
                    start: 1.0,
                    work,
                    total: 9.0,
                    memory: None,
                    late: (0.0, 0.0),
                    primes: 4
                };
                9
            ],
        };
        judge(&[case(1, 1.0), case(many, seconds)], 1).1.verdict
    }

    #[test]
    fn a_system_copes_when_a_thousand_do_the_work_as_fast_as_one() {
        assert_eq!(judged(1000, 1.1), Verdict::Fails);
        assert_eq!(judged(1000, 9.0), Verdict::Holds);
        assert_eq!(judged(100, 1.1), Verdict::Unclear);
        assert_eq!(judge(&[], 1).1.verdict, Verdict::NotMeasured);
    }
}
