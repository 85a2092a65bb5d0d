//! The same job serially, by threads, by processes, and by processes of threads.
//!
//! What is timed is all of it: to start the workers, to hand out the tasks, to collect the results,
//! to end the workers.

use std::time::Instant;

use anyhow::ensure;

use super::Experiment;
use crate::{
    lab::{
        Lab, Mode,
        trial::Trial,
        verdict::{self, Judgement, Verdict},
    },
    master_worker::{Crew, WORKER},
    report::{Finding, figure::Figure},
    work::{Kind, Size},
};

mod shown;

pub const EXPERIMENT: Experiment = Experiment {
    name: "throughput",
    claim: "Threads are usually a bit faster than processes, but not by much.",
    share: 40,
    run,
    roles: &[&WORK, &WORKER],
};

/// "A bit faster, but not by much": processes take at least and at most so many times as long as
/// threads. The lower bound leaves room for a difference too small to matter.
const A_BIT: (f64, f64) = (0.9, 1.5);

fn run(lab: &Lab) -> anyhow::Result<(Finding, Judgement)> {
    let crews = crews(lab);
    let size = match lab.mode {
        Mode::Quick => Size::Small,
        _ => Size::Whole,
    };
    let mut finding = Finding::default();
    let mut compared = Vec::new();
    for kind in Kind::ALL {
        // The computing job takes longest, and its figures matter most.
        let share = if kind == Kind::Computing { 70 } else { 15 };
        let samples = lab.alternate(lab.budget * share / 100, &crews, |crew| {
            let (seconds, total) = WORK.run(&(*crew, kind, size))?;
            ensure!(total == kind.total(size), "{crew} miscounted: {total}");
            Ok(seconds)
        })?;
        finding.tables.push(shown::table(kind, &crews, &samples));
        finding.plots.push(shown::plot(kind, &crews, &samples));

        let of = |wanted| {
            crews
                .iter()
                .position(|&crew| crew == wanted)
                .map(|at| &samples[at])
        };
        let threads = of(Crew::Threads(lab.workers));
        let processes = of(Crew::Processes(lab.workers));
        if let (Some(threads), Some(processes)) = (threads, processes) {
            compared.push((kind, Figure::times(processes, threads)));
        }
    }
    finding.headline = headline(&compared);
    let judgement = judge(lab.workers, &compared);
    Ok((finding, judgement))
}

/// From one worker to twice as many as there are cores, by each model.
fn crews(lab: &Lab) -> Vec<Crew> {
    let cores = lab.workers;
    let mut numbers = match lab.mode {
        Mode::Quick => vec![1, cores],
        _ => vec![1, 2, cores / 2, cores, cores + cores / 2, cores * 2],
    };
    numbers.retain(|&workers| workers > 0);
    numbers.sort_unstable();
    numbers.dedup();
    let mut crews = vec![Crew::Serial];
    for workers in numbers {
        crews.extend([Crew::Threads(workers), Crew::Processes(workers)]);
        if workers > 1 {
            crews.push(Crew::hybrid(workers));
        }
    }
    crews
}

/// Seconds, and the sum of the results.
static WORK: Trial<(Crew, Kind, Size), (f64, u32)> = Trial {
    name: "throughput",
    body: |(crew, kind, size)| {
        let start = Instant::now();
        let total = crew.work(kind, size)?;
        Ok((start.elapsed().as_secs_f64(), total))
    },
};

fn headline(compared: &[(Kind, Figure)]) -> String {
    let figures = compared
        .iter()
        .map(|(kind, times)| format!("{} {}", kind.name(), times));
    format!(
        "processes / threads: {}",
        figures.collect::<Vec<_>>().join(", ")
    )
}

fn judge(workers: usize, compared: &[(Kind, Figure)]) -> Judgement {
    let verdict_of = |times: &Figure| verdict::within(times.interval, A_BIT.0, A_BIT.1);
    let cases = compared.iter().map(|(kind, times)| {
        let words = match verdict_of(times) {
            Verdict::Holds => "about as long",
            Verdict::Fails if times.interval.median > A_BIT.1 => "far longer",
            Verdict::Fails => "less time",
            _ => "perhaps longer",
        };
        format!("{words} at {} work", kind.name())
    });
    Judgement::new(
        verdict::all(compared.iter().map(|(_, times)| verdict_of(times))),
        format!(
            "{workers} processes take, compared with {workers} threads, {}",
            cases.collect::<Vec<_>>().join(", ")
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(computing: f64, chatty: f64) -> Judgement {
        let figure = |times: f64| Figure::times(&[times; 9], &[1.0; 9]);
        judge(
            2,
            &[
                (Kind::Computing, figure(computing)),
                (Kind::Chatty, figure(chatty)),
            ],
        )
    }

    #[test]
    fn it_depends_when_processes_are_as_fast_at_one_kind_of_work_and_slow_at_another() {
        assert_eq!(compared(1.02, 1.1).verdict, Verdict::Holds);
        assert_eq!(compared(1.02, 8.0).verdict, Verdict::Depends);
        assert_eq!(compared(3.0, 8.0).verdict, Verdict::Fails);
        assert!(
            compared(1.02, 8.0)
                .reason
                .ends_with("about as long at computing work, far longer at chatty work")
        );
    }
}
