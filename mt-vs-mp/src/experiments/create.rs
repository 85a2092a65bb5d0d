//! What a thread costs, and what a process: from the call that starts it until it has been joined.
//!
//! Each of them does nothing, so that only its making and its end are timed. The process that makes
//! them is as small as a process of this program can be; what a large one pays for its forks is
//! another experiment.

use anyhow::Context;

use super::Experiment;
use crate::{
    lab::{
        Lab,
        statistics::median,
        trial::Trial,
        verdict::{self, Judgement},
    },
    report::{Finding, Table, figure::Figure},
};

pub mod way;

use way::{NOTHING, Way, the_true_program};

pub const EXPERIMENT: Experiment = Experiment {
    name: "create",
    claim: "Creating a process is expensive, but with fork it will do.",
    share: 6,
    run,
    roles: &[&CREATE, &NOTHING],
};

/// "Expensive": at least so many times as much as a thread.
const EXPENSIVE: f64 = 3.0;

/// The median time of one creation, in seconds.
static CREATE: Trial<Way, f64> = Trial {
    name: "create",
    body: |way| {
        let mut times = Vec::with_capacity(way.calls());
        for _ in 0..way.calls() / 10 {
            way.time()?;
        }
        for _ in 0..way.calls() {
            times.push(way.time()?.as_secs_f64());
        }
        Ok(median(times))
    },
};

fn run(lab: &Lab) -> anyhow::Result<(Finding, Judgement)> {
    let mut finding = Finding::default();
    let ways = ways(&mut finding);
    let samples = lab.alternate(lab.budget, &ways, |way| CREATE.run(way))?;
    finding.tables.push(table(&ways, &samples));
    let of = |wanted| {
        let place = ways.iter().position(|&way| way == wanted)?;
        Some(samples[place].as_slice())
    };
    let thread = of(Way::Thread).context("threads are everywhere")?;
    let spawn = of(Way::SpawnTrue).or(of(Way::SpawnSelf));
    let spawn = spawn.context("this program can be spawned everywhere")?;
    let (headline, judgement) = judge(thread, spawn, of(Way::Fork));
    finding.headline = headline;
    Ok((finding, judgement))
}

/// Those that there are here.
fn ways(finding: &mut Finding) -> Vec<Way> {
    let mut ways = vec![Way::Thread];
    if cfg!(unix) {
        ways.extend([Way::StdThread, Way::Fork]);
    } else {
        finding.leave_out("fork: it exists on Unix only");
    }
    match the_true_program() {
        Some(_) => ways.push(Way::SpawnTrue),
        None => finding.leave_out("spawn of `true`: there is no such program"),
    }
    ways.push(Way::SpawnSelf);
    ways
}

fn table(ways: &[Way], samples: &[Vec<f64>]) -> Table {
    let mut table = Table::new(
        "One after the other, each doing nothing:",
        ["what", "from its start to its joined end", "times a thread"],
    );
    for (way, times) in ways.iter().zip(samples) {
        table.rows.push(vec![
            way.name().into(),
            Figure::seconds(times).into(),
            Figure::times(times, &samples[0]).into(),
        ]);
    }
    table.bars = Some(1);
    table
}

/// The headline, and the verdict: a spawn is expensive, and a fork is cheaper than that.
fn judge(thread: &[f64], spawn: &[f64], fork: Option<&[f64]>) -> (String, Judgement) {
    let dear = Figure::times(spawn, thread);
    let headline = format!("spawn / thread = {dear}");
    let expensive = verdict::at_least(dear.interval, EXPENSIVE);
    let Some(fork) = fork else {
        let reason =
            format!("a process costs {dear} as much as a thread; there is no fork here to compare");
        return (headline, Judgement::new(expensive, reason));
    };
    let cheap = Figure::times(fork, spawn);
    let reason = format!(
        "a spawned process costs {dear} as much as a thread; a forked one {cheap} as much as a \
         spawned one"
    );
    let verdict = verdict::all([expensive, verdict::at_most(cheap.interval, 1.0)]);
    (headline, Judgement::new(verdict, reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::verdict::Verdict;

    #[test]
    fn a_dear_spawn_and_a_cheaper_fork_make_it_hold() {
        let verdict = |spawn: f64, fork: f64| {
            let [spawn, fork] = [spawn, fork].map(|cost| [cost; 9]);
            judge(&[1.0; 9], &spawn, Some(&fork)).1.verdict
        };
        assert_eq!(verdict(30.0, 9.0), Verdict::Holds);
        assert_eq!(verdict(30.0, 40.0), Verdict::Depends);
        assert_eq!(verdict(2.0, 4.0), Verdict::Fails);
    }

    #[test]
    fn without_fork_the_spawn_alone_decides() {
        let (_, judgement) = judge(&[1.0; 9], &[30.0; 9], None);
        assert_eq!(judgement.verdict, Verdict::Holds);
        assert!(
            judgement
                .reason
                .ends_with("there is no fork here to compare")
        );
    }
}
