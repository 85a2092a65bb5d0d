//! The same work by one worker, by ten, by a hundred, by a thousand.

use anyhow::ensure;

use crate::{
    lab::{
        Lab, Mode,
        role::Role,
        trial::Trial,
        verdict::{self, Judgement, Verdict},
    },
    report::{Finding, figure::Figure},
    work::count_primes,
};

mod crowd;
mod member;
mod room;
mod shown;
mod signs;

use crowd::{Crowd, Model, Seen};

pub const ROLES: &[&dyn Role] = &[&SCALE];

/// From so many on they are "thousands".
const MANY: usize = 1000;

/// "It can't cope": each process costs a core at least so many seconds more than its share of the
/// work. About so long a process works before it is another's turn (Linux: 0.7 ms on one core, 2.8
/// ms on eight), so a core that loses as much again does something else half of its time.
///
/// How many times as long the work takes would not tell: that depends on how much of it there is.
const OVERWHELMED: f64 = 1e-3;

static SCALE: Trial<Crowd, Seen> = Trial {
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
    let crowds = room::those_that_fit(crowds(lab, &mut finding), lab, &mut finding)?;
    let primes = crowds.first().map(|crowd| count_primes(0..crowd.numbers));
    let seen = lab.alternate(lab.budget, &crowds, |crowd| {
        let seen = SCALE.run(crowd)?;
        ensure!(Some(seen.primes) == primes, "{crowd} miscounted: {seen:?}");
        Ok(seen)
    })?;
    let cases: Vec<Case> = crowds
        .into_iter()
        .zip(seen)
        .map(|(crowd, seen)| Case { crowd, seen })
        .collect();

    finding.tables = shown::tables(&cases, lab.workers);
    finding.plots = shown::plots(&cases);
    let mut seen = cases.iter().flat_map(|case| &case.seen);
    if seen.any(|seen| seen.memory.is_none()) {
        finding.leave_out("memory for each worker: it needs Linux's /proc/PID/smaps_rollup");
    }
    let (headline, judgement) = judge(&cases, lab.workers);
    finding.headline = headline;
    Ok((finding, judgement))
}

/// From one worker to thousands, and among them one for each core.
fn crowds(lab: &Lab, finding: &mut Finding) -> Vec<Crowd> {
    let (mut sizes, numbers) = match lab.mode {
        Mode::Quick => (vec![1, 10, 100], 200_000),
        Mode::Default => (vec![1, 10, 100, 1000], 800_000),
        Mode::Full => (vec![1, 10, 100, 1000, 4000, 8000], 800_000),
    };
    if lab.mode == Mode::Quick {
        finding.leave_out("1000 workers: --quick has no time for them");
    }
    sizes.push(lab.workers);
    sizes.sort_unstable();
    sizes.dedup();
    let both = |workers| {
        [Model::Processes, Model::Threads].map(|model| Crowd {
            model,
            workers,
            numbers,
        })
    };
    sizes.into_iter().flat_map(both).collect()
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
    let rounds = most.seen.iter().zip(&few.seen);
    let lost = rounds.map(|(most, few)| (most.work - few.work) * cores as f64 / workers as f64);
    let lost = Figure::seconds(&lost.collect::<Vec<_>>());
    let headline = format!("{workers} processes, not {cores}: {lost} lost for each");
    let start = Figure::seconds(&most.samples(|seen| seen.start));
    let verdict = if workers < MANY {
        Verdict::Unclear
    } else {
        verdict::at_least(lost.interval, OVERWHELMED)
    };
    let mut reason = format!(
        "once they were started, which took {start}, {workers} processes did the same work in \
         {times} the time of {cores}: for each of them a core lost {lost}"
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
