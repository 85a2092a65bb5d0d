//! The master is killed: do its workers die with it?

use super::Experiment;

#[cfg(unix)]
mod survivors;

#[cfg(not(unix))]
use super::without_fork::{ROLES, run};
#[cfg(unix)]
use survivors::{ROLES, run};

pub const EXPERIMENT: Experiment = Experiment {
    name: "master",
    claim: "If the master dies, all die.",
    share: 1,
    run,
    roles: ROLES,
};
