//! The experiments: one file each, and the list of all.
//!
//! An experiment's `run` gets the [`Lab`] and returns a [`Finding`]. Each of its measurements is a
//! [`Role`](crate::lab::role::Role), which a trial plays. `create.rs` is a short one to read first.
//! The README says how to add one.

use crate::{
    finding::Finding,
    lab::{Lab, role::AnyRole},
};

mod crash;
mod create;
#[cfg(unix)]
mod limits;
#[cfg(unix)]
mod master;
mod memory;
#[cfg(unix)]
mod scale;
#[cfg(unix)]
mod servers;
mod sharing;
mod switch;
mod throughput;
mod transfer;
#[cfg(any(test, not(unix)))]
mod without_fork;

#[cfg(not(unix))]
use without_fork::{limits, master, scale, servers};

/// One claim of the notes, and how it is tried.
pub struct Experiment {
    /// The name of its file, and its name on the command line.
    pub name: &'static str,
    /// What the notes say, in our words.
    pub claim: &'static str,
    /// The part of a run's time that it may take, in percent. All shares add up to at most 100.
    pub share: u32,
    pub run: fn(&Lab) -> anyhow::Result<Finding>,
    /// Its roles: for them, this program is started again.
    pub roles: &'static [&'static dyn AnyRole],
    /// What others measured about the same question: the figure, and its source.
    pub published: &'static [(&'static str, &'static str)],
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
    servers::EXPERIMENT,
];

/// The roles of all experiments.
pub fn roles() -> impl Iterator<Item = &'static dyn AnyRole> {
    ALL.iter().flat_map(|experiment| experiment.roles).copied()
}

/// Of sorted samples: at most this percentage of them come before it.
#[cfg(unix)]
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() - 1) * percent / 100]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_experiments_and_no_two_roles_have_the_same_name() {
        let experiments = ALL.iter().map(|experiment| experiment.name);
        for mut names in [
            experiments.collect::<Vec<_>>(),
            roles().map(AnyRole::name).collect(),
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

    #[cfg(unix)]
    #[test]
    fn a_percentile_is_one_of_the_samples() {
        let samples: Vec<f64> = (0..=200).map(f64::from).collect();
        let percentiles = [0, 50, 99, 100].map(|percent| percentile(&samples, percent));
        assert_eq!(percentiles, [0.0, 100.0, 198.0, 200.0]);
        assert_eq!(percentile(&[3.0, 4.0], 99), 3.0);
    }

    #[test]
    fn without_fork_the_claims_are_the_same() {
        use without_fork as without;
        for other in [
            without::limits::EXPERIMENT,
            without::master::EXPERIMENT,
            without::scale::EXPERIMENT,
            without::servers::EXPERIMENT,
        ] {
            let one = ALL.iter().find(|one| one.name == other.name);
            assert_eq!(one.map(|one| one.claim), Some(other.claim));
        }
    }
}
