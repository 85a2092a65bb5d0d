//! What is tried: one file each.
//!
//! To add an experiment: write its file, with a `run` that is given the [`Lab`] and returns a
//! [`Finding`] and a [`Judgement`]; make each of its measurements a
//! [`Trial`](crate::lab::trial::Trial); and name both in the list below.

use crate::{
    lab::{Lab, role::Role, verdict::Judgement},
    report::Finding,
};

mod crash;
mod create;
mod limits;
mod master;
mod memory;
mod scale;
mod sharing;
mod switch;
mod throughput;
mod transfer;
#[cfg(not(unix))]
mod without_fork;

/// One claim of the notes, and how it is tried.
pub struct Experiment {
    /// Its file's name, and what `run` calls it.
    pub name: &'static str,
    /// What the notes say, in our words.
    pub claim: &'static str,
    /// How much of a run's time it may take, in percent.
    pub share: u32,
    pub run: fn(&Lab) -> anyhow::Result<(Finding, Judgement)>,
    /// What this program can be started as for it.
    pub roles: &'static [&'static dyn Role],
}

/// All experiments, in the order in which they are run.
pub const ALL: &[Experiment] = &[
    create::EXPERIMENT,
    memory::EXPERIMENT,
    throughput::EXPERIMENT,
    crash::EXPERIMENT,
    sharing::EXPERIMENT,
    master::EXPERIMENT,
    switch::EXPERIMENT,
    transfer::EXPERIMENT,
    scale::EXPERIMENT,
    limits::EXPERIMENT,
];

/// The roles of all experiments.
pub fn roles() -> impl Iterator<Item = &'static dyn Role> {
    ALL.iter().flat_map(|experiment| experiment.roles).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_experiments_and_no_two_roles_have_the_same_name() {
        let experiments = ALL.iter().map(|experiment| experiment.name);
        for mut names in [
            experiments.collect::<Vec<_>>(),
            roles().map(Role::name).collect(),
        ] {
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all, "{names:?}");
        }
    }

    #[test]
    fn all_experiments_together_take_no_more_than_all_of_the_time() {
        let shares = ALL.iter().map(|experiment| experiment.share);
        assert!(shares.sum::<u32>() <= 100);
    }
}
