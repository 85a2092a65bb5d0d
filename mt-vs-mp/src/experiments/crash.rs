//! A worker crashes: who sees it, who survives, and whose results are lost.
//!
//! Each case runs in a process of its own, which is the master, for it may not survive.

use std::process::Stdio;

use anyhow::{Context, ensure};

use super::Experiment;
use crate::{
    finding::{
        Finding,
        table::{Cell, Table},
        verdict,
    },
    lab::{Lab, role::Role, trial},
};

mod ending;
mod team;

use ending::ENDINGS;
use team::{OTHERS, Seen};

pub const EXPERIMENT: Experiment = Experiment {
    name: "crash",
    claim: "A crashed process leaves the others alone; a crashed thread takes its process with it.",
    share: 2,
    run,
    roles: &[&CRASH, &team::WORKER],
    published: &[],
};

/// What four workers are.
struct Model {
    name: &'static str,
    plural: &'static str,
    /// The master's work, in which one worker comes to an end of this number.
    work: fn(usize) -> anyhow::Result<Seen>,
}

const MODELS: &[Model] = &[THREADS, PROCESSES, HYBRID];

const THREADS: Model = Model {
    name: "workers are threads",
    plural: "threads",
    work: |ending| team::threads(4, Some(ending), || Ok(())),
};

const PROCESSES: Model = Model {
    name: "workers are processes",
    plural: "processes",
    work: |ending| team::processes(4, 1, ending),
};

const HYBRID: Model = Model {
    name: "2 processes × 2 threads",
    plural: "hybrid",
    work: |ending| team::processes(2, 2, ending),
};

static CRASH: Role<(usize, usize), Seen> = Role {
    name: "crash",
    play: |(model, ending)| (MODELS[model].work)(ending),
};

/// What came of one case.
struct Case {
    model: &'static Model,
    /// Whether the master lived on.
    alive: bool,
    /// How the end of the worker, or of the master with it, was seen.
    end: String,
    /// How many results of the others were lost.
    lost: usize,
}

fn run(lab: &Lab) -> anyhow::Result<Finding> {
    let mut rows = Vec::new();
    for (number, ending) in ENDINGS.iter().enumerate() {
        let row = (0..MODELS.len()).map(|model| {
            lab.go_on()?;
            let of = || format!("{}, {}", MODELS[model].plural, ending.name);
            try_out(model, number).with_context(of)
        });
        rows.push((ending.name, row.collect::<anyhow::Result<Vec<Case>>>()?));
    }
    let table = Table::of(
        "One of four workers ends in the middle of its work. Who sees that, and what of the others?",
        &rows,
        &[
            ("its end is", &|(ending, _)| (*ending).into()),
            (THREADS.name, &|(_, cases)| cases[0].cell()),
            (PROCESSES.name, &|(_, cases)| cases[1].cell()),
            (HYBRID.name, &|(_, cases)| cases[2].cell()),
        ],
    );
    let cases: Vec<Case> = rows.into_iter().flat_map(|(_, cases)| cases).collect();
    Ok(Finding {
        tables: vec![table],
        ..judge(&cases)
    })
}

fn try_out(model: usize, ending: usize) -> anyhow::Result<Case> {
    // What a crashing process says about it is known beforehand.
    let ended = trial::run_to_its_end(&CRASH, &(model, ending), Stdio::null())?;
    let model = &MODELS[model];
    let Some(answer) = ended.answer else {
        ensure!(!ended.status.success(), "the master ended without a word");
        return Ok(Case {
            model,
            alive: false,
            end: ended.status.to_string(),
            lost: OTHERS,
        });
    };
    let seen = answer?;
    Ok(Case {
        model,
        alive: true,
        end: seen.end.unwrap_or_else(|| "not seen".to_owned()),
        lost: OTHERS - seen.results,
    })
}

impl Case {
    fn cell(&self) -> Cell {
        let master = match self.alive {
            true => "master lives",
            false => "master dies",
        };
        let text = format!("{master}, {} of {OTHERS} lost; {}", self.lost, self.end);
        Cell::outcome(text, self.others_are_well())
    }

    fn others_are_well(&self) -> bool {
        self.alive && self.lost == 0
    }
}

/// The claim says two things, and each of them in every case.
fn judge(cases: &[Case]) -> Finding {
    let of = |model: Model| {
        cases
            .iter()
            .filter(move |case| case.model.name == model.name)
    };
    let alone: Vec<bool> = of(PROCESSES).map(Case::others_are_well).collect();
    let taken: Vec<bool> = of(THREADS).map(|case| !case.alive).collect();
    let count = |so: &[bool]| {
        let times = so.iter().filter(|&&so| so).count();
        format!("in {times} of {} cases", so.len())
    };
    let by_case = |so: &[bool]| verdict::by_case(so.iter().map(|&so| verdict::is(so)));
    let lost = MODELS.iter().map(|model| {
        let lost = cases.iter().filter(|case| case.model.name == model.name);
        let lost: usize = lost.map(|case| case.lost).sum();
        format!("{} {lost}", model.plural)
    });
    Finding::new(
        verdict::every([by_case(&alone), by_case(&taken)]),
        format!(
            "a crashed process left the others alone {}; a crashed thread took all with it {}: a panic \
             ends its thread alone",
            count(&alone),
            count(&taken)
        ),
        format!(
            "results of the others lost, of {}: {}",
            alone.len() * OTHERS,
            lost.collect::<Vec<_>>().join(", ")
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::verdict::Verdict;

    fn verdict(process_alive: bool, thread_alive: [bool; 2]) -> Verdict {
        let case = |model, alive| Case {
            model,
            alive,
            end: String::new(),
            lost: if alive { 0 } else { OTHERS },
        };
        judge(&[
            case(&PROCESSES, true),
            case(&PROCESSES, process_alive),
            case(&THREADS, thread_alive[0]),
            case(&THREADS, thread_alive[1]),
        ])
        .verdict
    }

    #[test]
    fn a_thread_that_took_nobody_with_it_makes_it_depend() {
        assert_eq!(verdict(true, [false, false]), Verdict::Holds);
        assert_eq!(verdict(true, [true, false]), Verdict::Depends);
        assert_eq!(verdict(true, [true, true]), Verdict::Fails);
        assert_eq!(verdict(false, [false, false]), Verdict::Depends);
    }
}
