//! Crowds of ten, a hundred or thousands of workers: how much does the machine still compute?
//!
//! There are two kinds of crowds. In a crowd that *computes*, each worker wants a processor at
//! every moment, and the system can only give them turns. In a crowd that *sleeps*, all workers
//! sleep, as most processes of a server do; beside the crowd, one worker for each processor
//! computes. For both kinds, all that is computed in a span of time is compared with what one
//! worker for each processor computes without a crowd. The difference is the cost of switching, and
//! of whatever else ran.
//!
//! [`crowd`] is a crowd and one trial with it, [`room`] is which crowds this machine has room for.

use super::Experiment;
use crate::{
    finding::{
        Finding,
        figure::{Figure, Unit},
        plot::{Axis, Line, Plot},
        table::Table,
        verdict::{self, Verdict},
    },
    lab::{Lab, Measured, Mode, trial},
};
use crowd::{Crowd, SCALE, Sample};

mod crowd;
mod room;

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

/// A crowd, and its sample in each round.
type Case = Measured<Crowd, Sample>;

fn run(lab: &Lab) -> anyhow::Result<Finding> {
    let mut left_out = Vec::new();
    let crowds = lab.those_that_fit(crowds(lab), &mut left_out, |crowd| {
        room::for_all_of(crowd)?;
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
    use super::{crowd::tests::crowd, *};
    use crate::lab::machine::Machine;

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
    fn the_crowds_of_a_full_run_are_the_same_for_processes_and_threads() {
        let mut lab = Lab::new(Mode::Full, Some(1), Machine::look_at());
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
