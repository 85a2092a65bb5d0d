//! A worker crashes. How does the master see that, and what becomes of the other workers' results?
//!
//! A panic ends only its thread. Each other crash ends the whole process with all of its threads:
//! the master with all workers, if they are its threads; in the hybrid, one of two worker
//! processes, and one other worker with it. So each case runs in a fresh process, the master.

use std::process::Stdio;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use super::Experiment;
use crate::{
    finding::{
        Finding,
        table::{Cell, Table},
        verdict::{self, Verdict},
    },
    lab::{Lab, role::Role, trial},
};

mod ending;
mod workers;

use ending::{ENDINGS, Ending};
use workers::{OTHERS, Seen};

pub const EXPERIMENT: Experiment = Experiment {
    name: "crash",
    claim: "A crashed process leaves the others alone; a crashed thread takes its process with it.",
    share: 2,
    run,
    roles: &[&CRASH, &workers::WORKER],
    published: &[],
};

/// What the four workers are.
struct Model {
    name: &'static str,
    plural: &'static str,
    /// Runs the master. One of its workers ends in the way of this row of [`ENDINGS`].
    work: fn(usize) -> anyhow::Result<Seen>,
}

const MODELS: &[Model] = &[THREADS, PROCESSES, HYBRID];

const THREADS: Model = Model {
    name: "workers are threads",
    plural: "threads",
    work: |ending| workers::threads(OTHERS, Some(ending), || ()),
};

// For each process: how many of its workers do not crash. The first has one more, which does.
const PROCESSES: Model = Model {
    name: "workers are processes",
    plural: "processes",
    work: |ending| workers::processes(&[0, 1, 1, 1], ending),
};

const HYBRID: Model = Model {
    name: "2 processes × 2 threads",
    plural: "hybrid",
    work: |ending| workers::processes(&[1, 2], ending),
};

/// A row of [`MODELS`], and a row of [`ENDINGS`].
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Variant {
    model: usize,
    ending: usize,
}

static CRASH: Role<Variant, Seen> = Role {
    name: "crash",
    play: |variant| (MODELS[variant.model].work)(variant.ending),
};

/// What came of one variant.
struct Case {
    variant: Variant,
    master_lives: bool,
    /// How the crashed worker's end was seen; or the master's end, if the master died with it.
    end: String,
    /// How many results of the others were lost, or wrong.
    lost: usize,
}

fn run(lab: &Lab) -> anyhow::Result<Finding> {
    let mut cases = Vec::new();
    for (ending, Ending { name, .. }) in ENDINGS.iter().enumerate() {
        for (model, Model { plural, .. }) in MODELS.iter().enumerate() {
            lab.go_on()?;
            let case = try_out(Variant { model, ending });
            cases.push(case.with_context(|| format!("{plural}, {name}"))?);
        }
    }
    let rows: Vec<&[Case]> = cases.chunks(MODELS.len()).collect();
    let table = Table::of(
        "One of four workers ends in the middle of its work. What is lost of the other three, and how \
         is the end seen?",
        &rows,
        &[
            ("its end is", &|row| {
                ENDINGS[row[0].variant.ending].name.into()
            }),
            (THREADS.name, &|row| row[0].cell()),
            (PROCESSES.name, &|row| row[1].cell()),
            (HYBRID.name, &|row| row[2].cell()),
        ],
    );
    let mut finding = judge(&cases);
    finding.tables.push(table);
    Ok(finding)
}

fn try_out(variant: Variant) -> anyhow::Result<Case> {
    // The messages of crashing processes on stderr would only disturb.
    let ended = trial::run_to_its_end(&CRASH, &variant, Stdio::null())?;
    let Some(answer) = ended.answer else {
        ensure!(
            !ended.status.success(),
            "the master ended without an answer"
        );
        return Ok(Case {
            variant,
            master_lives: false,
            end: ended.status.to_string(),
            // No process is left that has their results.
            lost: OTHERS,
        });
    };
    let seen = answer?;
    Ok(Case {
        variant,
        master_lives: true,
        end: seen.end.unwrap_or_else(|| "not seen".to_owned()),
        lost: OTHERS - seen.results,
    })
}

impl Case {
    fn cell(&self) -> Cell {
        let master = match self.master_lives {
            true => "master lives",
            false => "master dies",
        };
        let text = format!("{master}, {} of {OTHERS} lost; {}", self.lost, self.end);
        Cell::outcome(text, self.others_are_well())
    }

    fn others_are_well(&self) -> bool {
        self.master_lives && self.lost == 0
    }
}

/// The claim makes two statements, and the worse of their verdicts counts. In each case, a
/// statement is true or false. If it is true in one case and false in another, it depends.
fn judge(cases: &[Case]) -> Finding {
    let of = |model: &Model| {
        let name = model.name;
        cases
            .iter()
            .filter(move |case| MODELS[case.variant.model].name == name)
    };
    let left_alone: Vec<bool> = of(&PROCESSES).map(Case::others_are_well).collect();
    let taken_along: Vec<bool> = of(&THREADS).map(|case| !case.master_lives).collect();
    let mut lost = Vec::new();
    for model in MODELS {
        let sum: usize = of(model).map(|case| case.lost).sum();
        lost.push(format!("{} {sum}", model.plural));
    }
    Finding::new(
        verdict::every([by_case(&left_alone), by_case(&taken_along)]),
        format!(
            "a crashed process left the others alone {}; a crashed thread took all with it {}: a panic \
             ends only its own thread",
            count(&left_alone),
            count(&taken_along)
        ),
        format!(
            "results of the others lost, of {}: {}",
            left_alone.len() * OTHERS,
            lost.join(", ")
        ),
    )
}

/// Of one statement: whether it is true in each case.
fn by_case(cases: &[bool]) -> Verdict {
    verdict::by_case(cases.iter().map(|&is_true| verdict::is(is_true)))
}

fn count(cases: &[bool]) -> String {
    let times = cases.iter().filter(|&&is_true| is_true).count();
    format!("in {times} of {} cases", cases.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of [`MODELS`].
    const ROWS: [usize; 3] = [0, 1, 2];

    fn case(model: usize, master_lives: bool, lost: usize) -> Case {
        Case {
            variant: Variant { model, ending: 0 },
            master_lives,
            end: String::new(),
            lost,
        }
    }

    /// A good case of processes, another case of processes, and two cases of threads.
    fn verdict(process_alive: bool, thread_alive: [bool; 2]) -> Verdict {
        let case = |model, alive| case(model, alive, if alive { 0 } else { OTHERS });
        let [threads, processes, _] = ROWS;
        judge(&[
            case(processes, true),
            case(processes, process_alive),
            case(threads, thread_alive[0]),
            case(threads, thread_alive[1]),
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

    #[test]
    fn a_result_that_is_lost_counts_also_if_the_master_lives() {
        let [threads, processes, hybrid] = ROWS;
        let finding = judge(&[
            case(processes, true, 0),
            case(processes, true, 1),
            case(threads, false, OTHERS),
            case(hybrid, true, 1),
        ]);
        assert_eq!(finding.verdict, Verdict::Depends);
        assert_eq!(
            finding.reason,
            "a crashed process left the others alone in 1 of 2 cases; a crashed thread took all with it in \
             1 of 1 cases: a panic ends only its own thread"
        );
        assert_eq!(
            finding.headline,
            "results of the others lost, of 6: threads 3, processes 1, hybrid 1"
        );
    }
}
