//! More and more workers share the same work: can the system still cope?
//!
//! Each worker counts its part of the same primes, and stays until all are done. One more does
//! nothing but sleep for a millisecond, again and again, and tells how late it was woken.

use super::Experiment;

#[cfg(unix)]
mod growth;

#[cfg(not(unix))]
use super::without_fork::{ROLES, run};
#[cfg(unix)]
use growth::{ROLES, run};

pub const EXPERIMENT: Experiment = Experiment {
    name: "scale",
    claim: "With thousands of processes the operating system can't cope.",
    share: 13,
    run,
    roles: ROLES,
};
