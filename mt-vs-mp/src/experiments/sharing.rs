//! One counter and four writers, each of which counts to two hundred thousand.
//!
//! Threads have the same memory: the counter is one, and who does not take care loses counts.
//! Processes have each their own: the parent's counter stays where it was, unless they ask the
//! system for a piece of memory that they share.

use serde::{Deserialize, Serialize};

use super::Experiment;
use crate::{
    lab::{
        Lab,
        statistics::Interval,
        verdict::{self, Judgement, Verdict},
    },
    report::{
        Finding, Table,
        figure::{Figure, Unit},
    },
};

mod count;

use count::COUNT;

pub const EXPERIMENT: Experiment = Experiment {
    name: "sharing",
    claim: "Threads share their process's memory, and processes share none.",
    share: 5,
    run,
    roles: &[&COUNT],
};

const WRITERS: u64 = 4;
const EACH: u64 = 200_000;
const ALL: u64 = WRITERS * EACH;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Way {
    Careless,
    Mutex,
    Atomic,
    Copies,
    SharedMemory,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Careless => "threads, reading and then writing",
            Self::Mutex => "threads, with a mutex",
            Self::Atomic => "threads, an atomic counter",
            Self::Copies => "processes, as they are",
            Self::SharedMemory => "processes, shared memory, atomic",
        }
    }
}

fn run(lab: &Lab) -> anyhow::Result<(Finding, Judgement)> {
    let mut finding = Finding::default();
    let mut ways = vec![Way::Careless, Way::Mutex, Way::Atomic];
    if cfg!(unix) {
        ways.extend([Way::Copies, Way::SharedMemory]);
    } else {
        finding.leave_out("the processes: they need fork, which exists on Unix only");
    }
    let runs = lab.alternate(lab.budget, &ways, |way| COUNT.run(way))?;
    let lost: Vec<Vec<f64>> = runs
        .iter()
        .map(|runs| runs.iter().map(|run| (ALL - run.counted) as f64).collect())
        .collect();

    let title = format!("{WRITERS} writers count to {EACH} each, on one counter:");
    let mut table = Table::new(&title, ["writers are", "counts lost", "time per count"]);
    for ((way, runs), lost) in ways.iter().zip(&runs).zip(&lost) {
        let per_count = runs.iter().map(|run| run.seconds / ALL as f64);
        table.rows.push(vec![
            way.name().into(),
            count_of(lost).into(),
            Figure::seconds(&per_count.collect::<Vec<_>>()).into(),
        ]);
    }
    finding.tables.push(table);
    finding.headline = format!(
        "careless threads lost {} of {ALL} counts",
        count_of(&lost[0])
    );
    let judgement = judge(&ways, &lost);
    Ok((finding, judgement))
}

fn count_of(lost: &[f64]) -> Figure {
    Figure::new(Interval::of(lost), Unit::Count)
}

fn judge(ways: &[Way], lost: &[Vec<f64>]) -> Judgement {
    let cases = ways.iter().zip(lost).map(|(way, lost)| {
        let each_time = |number: u64| lost.iter().all(|&lost| lost == number as f64);
        match way {
            // A race need not go wrong every time, but one that never did shows nothing.
            Way::Careless if each_time(0) => Verdict::Unclear,
            Way::Careless => Verdict::Holds,
            Way::Mutex | Way::Atomic | Way::SharedMemory => verdict::is(each_time(0)),
            Way::Copies => verdict::is(each_time(ALL)),
        }
    });
    let threads = "threads wrote to the same counter, and lost counts unless they took care";
    let processes = if ways.contains(&Way::Copies) {
        "of what processes counted, nothing reached their parent, unless the memory was shared by \
         intent"
    } else {
        "processes were not tried"
    };
    Judgement::new(verdict::all(cases), format!("{threads}; {processes}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_race_that_never_went_wrong_leaves_it_unclear() {
        let ways = [Way::Careless, Way::Atomic, Way::Copies];
        let all = ALL as f64;
        let verdict = |careless, atomic| {
            judge(
                &ways,
                &[vec![0.0, careless], vec![0.0, atomic], vec![all, all]],
            )
            .verdict
        };
        assert_eq!(verdict(17.0, 0.0), Verdict::Holds);
        assert_eq!(verdict(0.0, 0.0), Verdict::Unclear);
        assert_eq!(verdict(17.0, 1.0), Verdict::Depends);
    }
}
