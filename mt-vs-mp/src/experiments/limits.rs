//! How many processes may there be? Several limits say so, and the lowest of them is hit first.

#[cfg(unix)]
mod refusal;
#[cfg(unix)]
mod survey;

use super::Experiment;

pub const EXPERIMENT: Experiment = Experiment {
    name: "limits",
    claim: "The number of processes is limited.",
    share: 6,
    run,
    #[cfg(unix)]
    roles: &[&refusal::REFUSAL],
    #[cfg(not(unix))]
    roles: &[],
};

#[cfg(unix)]
use survey::run;

#[cfg(not(unix))]
fn run(
    _: &crate::lab::Lab,
) -> anyhow::Result<(crate::report::Finding, crate::lab::verdict::Judgement)> {
    anyhow::bail!("it is tried by forking, and fork exists on Unix only")
}
