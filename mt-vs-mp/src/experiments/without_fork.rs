//! Stands in for the experiments that need fork, on a system without fork. They are not measured,
//! and that is no failure.

use super::Experiment;
use crate::{
    finding::{Finding, verdict::Verdict},
    lab::Lab,
};

const fn needs_fork(name: &'static str, claim: &'static str) -> Experiment {
    Experiment {
        name,
        claim,
        share: 0,
        run,
        roles: &[],
        published: &[],
    }
}

fn run(_: &Lab) -> anyhow::Result<Finding> {
    let reason = "it needs fork, which exists on Unix only";
    Ok(Finding::new(Verdict::NotMeasured, reason, "needs fork"))
}

pub mod limits {
    pub const EXPERIMENT: super::Experiment =
        super::needs_fork("limits", "The number of processes is limited.");
}

pub mod master {
    pub const EXPERIMENT: super::Experiment =
        super::needs_fork("master", "If the master dies, all die.");
}

pub mod scale {
    pub const EXPERIMENT: super::Experiment = super::needs_fork(
        "scale",
        "With thousands of processes the operating system can't cope.",
    );
}

pub mod servers {
    pub const EXPERIMENT: super::Experiment = super::needs_fork(
        "servers",
        "A server of processes is more stable, one of threads is faster, and a mix has both.",
    );
}
