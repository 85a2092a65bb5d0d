//! What a fork really costs: the same as in `create`, while the parent's memory grows.
//!
//! A fork copies no memory, but it copies the tables that say where the memory is: with the usual
//! pages, an entry of 8 bytes for each 4 KiB. Threads share the tables, and a spawned program
//! starts with new ones. "Cheap" is what costs no more than a spawn. (See "A fork() in the road",
//! HotOS 2019.)

use std::time::Instant;

use anyhow::ensure;

use super::{
    Experiment,
    create::{Way, the_true_program},
};
use crate::{
    lab::{
        Lab, Mode, machine,
        verdict::{self, Judgement, Verdict},
    },
    report::{
        Finding,
        figure::{Figure, Unit, amount},
    },
};

mod parent;
mod shown;

use parent::{Costs, PARENT, Pages, Parent};

pub const EXPERIMENT: Experiment = Experiment {
    name: "memory",
    claim: "With fork a process is cheap to create, however much memory its parent has.",
    share: 12,
    run,
    roles: &[&PARENT],
};

const MIB: u64 = 1 << 20;

/// A parent, and what it measured in each round.
struct Case {
    parent: Parent,
    costs: Vec<Costs>,
}

impl Case {
    /// One figure of each round; none where the system has none.
    fn samples(&self, figure: impl Fn(&Costs) -> Option<f64>) -> Option<Vec<f64>> {
        self.costs.iter().map(figure).collect()
    }
}

fn run(lab: &Lab) -> anyhow::Result<(Finding, Judgement)> {
    let begin = Instant::now();
    let mut finding = Finding::default();
    let mut cases = cases(lab, &mut finding.left_out)?;
    let places: Vec<usize> = (0..cases.len()).collect();
    let budget = lab.budget.saturating_sub(begin.elapsed());
    lab.alternate(budget, &places, |&place| {
        let case = &mut cases[place];
        let costs = PARENT.run(&case.parent)?;
        case.costs.push(costs);
        // All of them are kept in the case.
        Ok(costs.thread)
    })?;
    finding.tables.push(shown::table(&cases));
    finding.plots.push(shown::plot(&cases));
    let (headline, judgement) = judge(&cases);
    finding.headline = headline;
    Ok((finding, judgement))
}

/// The parents that fit into this machine. Each has been tried.
fn cases(lab: &Lab, left_out: &mut Vec<String>) -> anyhow::Result<Vec<Case>> {
    let (sizes, others): (&[u64], _) = match lab.mode {
        Mode::Quick => (
            &[0, 8, 32],
            Some("64 MiB and 256 MiB: --quick has no time for them"),
        ),
        Mode::Default => (&[0, 64, 256], Some("1 GiB and 4 GiB: only with --full")),
        Mode::Full => (&[0, 64, 256, 1024, 4096], None),
    };
    left_out.extend(others.map(str::to_owned));
    if cfg!(not(unix)) {
        left_out.push("fork: it exists on Unix only".to_owned());
    }
    if cfg!(not(target_os = "linux")) {
        let tells = "huge pages, and the size of the page tables: they are for Linux alone to choose and to tell";
        left_out.push(tells.to_owned());
    }
    let spawn = match the_true_program() {
        Some(_) if cfg!(unix) => Way::SpawnTrue,
        _ => Way::SpawnSelf,
    };
    let mut cases = Vec::new();
    for size in sizes {
        for pages in [Pages::Small, Pages::Huge] {
            let parent = Parent {
                memory: size * MIB,
                pages,
                spawn,
            };
            if pages == Pages::Huge && (*size == 0 || cfg!(not(target_os = "linux"))) {
                continue;
            }
            lab.go_on()?;
            let tried = try_out(parent);
            // It failed if we are interrupted; then there is no use in going on.
            lab.go_on()?;
            match tried {
                Ok(()) => cases.push(Case {
                    parent,
                    costs: Vec::new(),
                }),
                Err(error) => left_out.push(format!("{}: {error:#}", parent.name())),
            }
        }
    }
    Ok(cases)
}

/// # Errors
/// The cause why this parent is left out.
fn try_out(parent: Parent) -> anyhow::Result<()> {
    let (_, available) = machine::memory();
    fits(parent.memory, available)?;
    let huge = PARENT.run(&parent)?.huge;
    ensure!(
        parent.pages == Pages::Small || huge >= parent.memory as f64 / 2.0,
        "the system has put {} of it in huge pages",
        amount(huge, Unit::Bytes)
    );
    Ok(())
}

/// Half of what is free is for others, who may want it while we measure.
fn fits(memory: u64, available: u64) -> anyhow::Result<()> {
    ensure!(
        memory <= available / 2,
        "only {} is available, and no more than half of it is for us",
        amount(available as f64, Unit::Bytes)
    );
    Ok(())
}

/// The headline, and the verdict: on the parent without memory, and on the largest one with each
/// kind of pages.
fn judge(cases: &[Case]) -> (String, Judgement) {
    let is = |case: &&Case, pages| case.parent.memory > 0 && case.parent.pages == pages;
    let parents = [
        cases.iter().find(|case| case.parent.memory == 0),
        cases.iter().rfind(|case| is(case, Pages::Small)),
        cases.iter().rfind(|case| is(case, Pages::Huge)),
    ];
    let compared: Vec<_> = parents
        .into_iter()
        .flatten()
        .filter_map(|case| {
            let fork = case.samples(|costs| costs.fork)?;
            let spawn = case.samples(|costs| Some(costs.spawn))?;
            Some((case.parent.name(), Figure::times(&fork, &spawn)))
        })
        .collect();
    if compared.is_empty() {
        let nothing = Judgement::new(Verdict::NotMeasured, "there is no fork here to compare");
        return ("no fork here".to_owned(), nothing);
    }
    let words = compared
        .iter()
        .map(|(name, times)| format!("{times} with {name}"));
    let words = words.collect::<Vec<_>>().join(", ");
    let verdicts = compared
        .iter()
        .map(|(_, times)| verdict::at_most(times.interval, 1.0));
    let judgement = Judgement::new(
        verdict::all(verdicts),
        format!("a fork costs, compared with a spawn by the same parent, {words}"),
    );
    (format!("fork / spawn: {words}"), judgement)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(mib: u64, pages: Pages, fork: Option<f64>) -> Case {
        let parent = Parent {
            memory: mib * MIB,
            pages,
            spawn: Way::SpawnSelf,
        };
        let costs = Costs {
            thread: 1.0,
            spawn: 9.0,
            fork,
            page_tables: None,
            huge: 0.0,
        };
        Case {
            parent,
            costs: vec![costs; 8],
        }
    }

    fn verdict(small: f64, huge: f64) -> Verdict {
        judge(&[
            case(0, Pages::Small, Some(1.0)),
            case(64, Pages::Small, Some(1.0)),
            case(64, Pages::Huge, Some(1.0)),
            case(256, Pages::Small, Some(small)),
            case(256, Pages::Huge, Some(huge)),
        ])
        .1
        .verdict
    }

    #[test]
    fn the_largest_parent_of_each_kind_decides() {
        assert_eq!(verdict(8.0, 2.0), Verdict::Holds);
        assert_eq!(verdict(90.0, 2.0), Verdict::Depends);
        assert_eq!(verdict(8.0, 40.0), Verdict::Depends);
    }

    #[test]
    fn without_fork_there_is_no_verdict() {
        let cases = [case(0, Pages::Small, None), case(64, Pages::Small, None)];
        assert_eq!(judge(&cases).1.verdict, Verdict::NotMeasured);
        assert_eq!(judge(&[]).1.verdict, Verdict::NotMeasured);
    }

    #[test]
    fn half_of_the_available_memory_is_left_alone() {
        assert!(fits(256 * MIB, 512 * MIB).is_ok());
        let error = fits(257 * MIB, 512 * MIB).expect_err("it is too much");
        assert!(error.to_string().starts_with("only 512 MiB is available"));
    }
}
