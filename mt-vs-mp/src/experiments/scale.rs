//! More and more workers share the same work: can the system still cope?
//!
//! Each worker counts its part of the same primes, and stays until all are done. One more does
//! nothing but sleep for a millisecond, again and again, and tells how late it was woken.

#[cfg(unix)]
mod crowd;
#[cfg(unix)]
mod growth;
#[cfg(unix)]
pub mod memory;

use super::Experiment;

pub const EXPERIMENT: Experiment = Experiment {
    name: "scale",
    claim: "With thousands of processes the operating system can't cope.",
    share: 13,
    run,
    #[cfg(unix)]
    roles: &[&growth::SCALE],
    #[cfg(not(unix))]
    roles: &[],
};

#[cfg(unix)]
use growth::run;

#[cfg(not(unix))]
fn run(
    _: &crate::lab::Lab,
) -> anyhow::Result<(crate::report::Finding, crate::lab::verdict::Judgement)> {
    anyhow::bail!("its workers are forked, and fork exists on Unix only")
}
