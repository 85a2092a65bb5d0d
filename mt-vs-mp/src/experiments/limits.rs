//! How many processes may there be? Several limits say so, and the lowest of them is hit first.

use super::Experiment;

#[cfg(unix)]
mod survey;

#[cfg(not(unix))]
use super::without_fork::{ROLES, run};
#[cfg(unix)]
use survey::{ROLES, run};

pub const EXPERIMENT: Experiment = Experiment {
    name: "limits",
    claim: "The number of processes is limited.",
    share: 1,
    run,
    roles: ROLES,
};
