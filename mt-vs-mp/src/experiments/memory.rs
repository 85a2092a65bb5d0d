//! What a fork really costs: the same as in `create`, while the parent's memory grows.
//!
//! A fork copies no memory, but it copies the tables that say where the memory is: with the usual
//! pages, an entry of 8 bytes for each 4 KiB. Threads share the tables, and a spawned program
//! starts with new ones. "Cheap" is what costs no more than a spawn. (See "A fork() in the road",
//! HotOS 2019.)

use std::time::Instant;

use super::{
    Experiment,
    create::way::{Way, the_true_program},
};
use crate::{
    lab::{
        Lab, Mode,
        verdict::{self, Judgement, Verdict},
    },
    report::{Finding, figure::Figure},
};

mod parent;
mod room;
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
    let parents = room::those_that_fit(parents(lab.mode, &mut finding), lab, &mut finding)?;
    let budget = lab.budget.saturating_sub(begin.elapsed());
    let costs = lab.alternate(budget, &parents, |parent| PARENT.run(parent))?;
    let cases: Vec<Case> = parents
        .into_iter()
        .zip(costs)
        .map(|(parent, costs)| Case { parent, costs })
        .collect();
    finding.tables.push(shown::table(&cases));
    finding.plots.push(shown::plot(&cases));
    let (headline, judgement) = judge(&cases);
    finding.headline = headline;
    Ok((finding, judgement))
}

/// From one that has nothing to large ones, each with small pages and with huge ones.
fn parents(mode: Mode, finding: &mut Finding) -> Vec<Parent> {
    let (sizes, others): (&[u64], _) = match mode {
        Mode::Quick => (
            &[0, 8, 32],
            Some("64 MiB and 256 MiB: --quick has no time for them"),
        ),
        Mode::Default => (&[0, 64, 256], Some("1 GiB and 4 GiB: only with --full")),
        Mode::Full => (&[0, 64, 256, 1024, 4096], None),
    };
    finding.left_out.extend(others.map(str::to_owned));
    if cfg!(not(unix)) {
        finding.leave_out("fork: it exists on Unix only");
    }
    let mut all_pages = vec![Pages::Small];
    if cfg!(target_os = "linux") {
        all_pages.push(Pages::Huge);
    } else {
        finding.leave_out("huge pages, and the size of the page tables: only Linux has them");
    }
    let spawn = the_true_program().map_or(Way::SpawnSelf, |_| Way::SpawnTrue);
    let mut parents = Vec::new();
    for memory in sizes.iter().map(|size| size * MIB) {
        for &pages in &all_pages {
            parents.push(Parent {
                memory,
                pages,
                spawn,
            });
        }
    }
    // Without memory, all pages are alike.
    parents.retain(|parent| parent.memory > 0 || parent.pages == Pages::Small);
    parents
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
}
