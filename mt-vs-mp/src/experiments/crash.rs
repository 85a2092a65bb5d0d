//! A worker crashes: who sees it, who survives, and whose results are lost.
//!
//! Each case runs in a process of its own, which is the master, for it may not survive.

use std::process::Stdio;

use anyhow::{anyhow, ensure};

use super::Experiment;
use crate::{
    lab::{
        Lab,
        trial::Trial,
        verdict::{self, Judgement},
    },
    report::{Cell, Finding, Table},
};

mod ending;
mod team;

use ending::Ending;
use team::{Model, OTHERS, Seen};

pub const EXPERIMENT: Experiment = Experiment {
    name: "crash",
    claim: "A crashed process leaves the others alone; a crashed thread takes its process with it.",
    share: 2,
    run,
    roles: &[&CRASH, &team::WORKER],
};

const MODELS: [Model; 3] = [Model::Thread, Model::Process, Model::Hybrid];

static CRASH: Trial<(Model, Ending), Seen> = Trial {
    name: "crash",
    body: |(model, ending)| team::work(model, ending),
};

/// What came of one case.
struct Case {
    model: Model,
    /// Whether the master lived on.
    alive: bool,
    /// How the end of the worker, or of the master with it, was seen.
    end: String,
    /// How many results of the others were lost.
    lost: usize,
}

fn run(lab: &Lab) -> anyhow::Result<(Finding, Judgement)> {
    let mut finding = Finding::default();
    let mut table = Table::new(
        "One of four workers ends in the middle of its work. Who sees that, and what of the others?",
        [
            "its end is",
            "workers are threads",
            "workers are processes",
            "2 processes × 2 threads",
        ],
    );
    let mut cases = Vec::new();
    for ending in Ending::ALL {
        let row = MODELS.map(|model| try_out(lab, model, ending));
        let row = row.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
        let cells = row.iter().map(Case::cell);
        table.rows.push(
            [Cell::from(ending.name())]
                .into_iter()
                .chain(cells)
                .collect(),
        );
        cases.extend(row);
    }
    finding.tables.push(table);
    let lost = |model| -> usize { of(&cases, model).map(|case| case.lost).sum() };
    finding.headline = format!(
        "results of the others lost: by threads {}, processes {}, hybrid {} of {}",
        lost(Model::Thread),
        lost(Model::Process),
        lost(Model::Hybrid),
        cases.len() / MODELS.len() * OTHERS
    );
    let judgement = judge(&cases);
    Ok((finding, judgement))
}

fn try_out(lab: &Lab, model: Model, ending: Ending) -> anyhow::Result<Case> {
    lab.go_on()?;
    // What a crashing process says about it is known beforehand.
    let ended = CRASH.run_to_its_end(&(model, ending), Stdio::null())?;
    Ok(match ended.answer {
        Some(seen) => {
            let seen = seen.map_err(|error| anyhow!("{model:?}, {ending:?}: {error}"))?;
            Case {
                model,
                alive: true,
                end: seen.end.unwrap_or_else(|| "not seen".to_owned()),
                lost: OTHERS - seen.results,
            }
        }
        None => {
            ensure!(!ended.status.success(), "the master ended without a word");
            Case {
                model,
                alive: false,
                end: ended.status.to_string(),
                lost: OTHERS,
            }
        }
    })
}

impl Case {
    fn cell(&self) -> Cell {
        let master = if self.alive {
            "master lives"
        } else {
            "master dies"
        };
        Cell::Outcome {
            text: format!("{master}, {} of {OTHERS} lost; {}", self.lost, self.end),
            good: self.alive && self.lost == 0,
        }
    }
}

fn of(cases: &[Case], model: Model) -> impl Iterator<Item = &Case> {
    cases.iter().filter(move |case| case.model == model)
}

fn judge(cases: &[Case]) -> Judgement {
    let alone: Vec<bool> = of(cases, Model::Process)
        .map(|case| case.alive && case.lost == 0)
        .collect();
    let taken: Vec<bool> = of(cases, Model::Thread).map(|case| !case.alive).collect();
    let count = |so: &[bool]| {
        format!(
            "in {} of {} cases",
            so.iter().filter(|&&so| so).count(),
            so.len()
        )
    };
    Judgement::new(
        verdict::all(alone.iter().chain(&taken).map(|&so| verdict::is(so))),
        format!(
            "a crashed process left the others alone {}; a crashed thread took all with it {}: a panic \
             ends its thread alone",
            count(&alone),
            count(&taken)
        ),
    )
}
