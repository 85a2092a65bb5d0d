//! Which parents this machine has room for.

use anyhow::ensure;

use super::parent::{PARENT, Pages, Parent};
use crate::{
    lab::{Lab, machine},
    report::{
        Finding,
        figure::{Unit, amount},
    },
};

/// Those that fit; of the others it is told why not. Each has been tried.
pub fn those_that_fit(
    parents: Vec<Parent>,
    lab: &Lab,
    finding: &mut Finding,
) -> anyhow::Result<Vec<Parent>> {
    let mut fitting = Vec::new();
    for parent in parents {
        lab.go_on()?;
        let tried = try_out(parent);
        // It failed if we are interrupted; then there is no use in going on.
        lab.go_on()?;
        match tried {
            Ok(()) => fitting.push(parent),
            Err(error) => finding.leave_out(format!("{}: {error:#}", parent.name())),
        }
    }
    Ok(fitting)
}

/// # Errors
/// The cause why this parent is left out.
fn try_out(parent: Parent) -> anyhow::Result<()> {
    let (_, available) = machine::memory();
    fits(parent.memory, available)?;
    let huge = PARENT.run(&parent)?.huge;
    let mostly = huge > parent.memory as f64 / 2.0;
    ensure!(
        mostly == (parent.pages == Pages::Huge),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_available_memory_is_left_alone() {
        assert!(fits(256 << 20, 512 << 20).is_ok());
        let error = fits(257 << 20, 512 << 20).expect_err("it is too much");
        assert!(error.to_string().starts_with("only 512 MiB is available"));
    }
}
