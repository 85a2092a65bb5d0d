//! Which crowds this machine has room for.

use anyhow::ensure;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

use super::{
    SCALE,
    crowd::{Crowd, Model},
};
use crate::{
    lab::{
        Lab,
        limits::{self, Limit},
    },
    report::Finding,
};

/// More than a worker that does so little takes of memory, in bytes.
const EACH: u64 = 256 << 10;

/// The crowds that can be started without harm; of the others it is told why not.
pub fn those_that_fit(
    crowds: Vec<Crowd>,
    lab: &Lab,
    finding: &mut Finding,
) -> anyhow::Result<Vec<Crowd>> {
    let mut fitting = Vec::new();
    for crowd in crowds {
        lab.go_on()?;
        // Whoever is refused some, however few, says so. This also warms up.
        let tried = room_for(crowd, lab).and_then(|()| SCALE.run(&crowd).map(drop));
        match tried {
            Ok(()) => fitting.push(crowd),
            Err(error) => finding.leave_out(format!("{crowd}: {error:#}")),
        }
    }
    Ok(fitting)
}

/// # Errors
/// When a crowd would take more than half of what a limit leaves: others need some too.
fn room_for(crowd: Crowd, lab: &Lab) -> anyhow::Result<()> {
    let mut limits = limits::of_processes();
    let memory = lab.machine.memory_available;
    limits.push(Limit::new("memory", Some(memory / EACH), 0));
    let (space, _) = getrlimit(Resource::RLIMIT_AS)?;
    if crowd.model == Model::Threads && space != RLIM_INFINITY {
        // The room for a thread's stack, whether it is used or not.
        limits.push(Limit::new(
            "RLIMIT_AS (ulimit -v)",
            Some(space / (2 << 20)),
            0,
        ));
    }
    if let Some((limit, room)) = limits::first(&limits) {
        // The workers, the one that waits, and their master.
        let wanted = crowd.workers as u64 + 2;
        ensure!(
            wanted <= room / 2,
            "{} leaves room for {room} only",
            limit.name
        );
    }
    Ok(())
}
