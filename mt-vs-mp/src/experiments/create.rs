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

fn run(lab: &Lab) -> anyhow::Result<(Finding, Judgement)> {
    let mut finding = Finding::default();
    let mut ways = vec![Way::Thread];
    if cfg!(unix) {
        ways.extend([Way::StdThread, Way::Fork]);
    } else {
        finding
            .left_out
            .push("fork: it exists on Unix only".to_owned());
    }
    match the_true_program() {
        Some(_) => ways.push(Way::SpawnTrue),
        None => finding
            .left_out
            .push("spawn of `true`: there is no such program".to_owned()),
    }
    ways.push(Way::SpawnSelf);

    let samples = lab.alternate(lab.budget, &ways, |way| CREATE.run(way))?;
    let mut table = Table::new(
        "One after the other, each doing nothing:",
        ["what", "from its start to its joined end", "times a thread"],
    );
    for (way, samples_of_way) in ways.iter().zip(&samples) {
        table.rows.push(vec![
            way.name().into(),
            Figure::seconds(samples_of_way).into(),
            Figure::times(samples_of_way, &samples[0]).into(),
        ]);
    }
    table.bars = Some(1);
    finding.tables.push(table);

    let of = |way| {
        ways.iter()
            .position(|&w| w == way)
            .map(|place| &samples[place])
    };
    let thread = &samples[0];
    let spawn = of(Way::SpawnTrue)
        .or(of(Way::SpawnSelf))
        .context("one of them was measured")?;
    let dear = Figure::times(spawn, thread);
    finding.headline = format!("spawn / thread = {}", dear);
    let expensive = verdict::at_least(dear.interval, EXPENSIVE);
    let judgement = match of(Way::Fork) {
        None => Judgement::new(
            expensive,
            format!(
                "a process costs {} as much as a thread; there is no fork here",
                dear
            ),
        ),
        Some(fork) => {
            let cheap = Figure::times(fork, spawn);
            Judgement::new(
                verdict::all([expensive, verdict::at_most(cheap.interval, 1.0)]),
                format!(
                    "a spawned process costs {} as much as a thread; a forked one {} as much as a spawned one",
                    dear, cheap
                ),
            )
        }
    };
    Ok((finding, judgement))
}

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
