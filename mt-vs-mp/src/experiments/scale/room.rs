//! Whether this machine has room for a crowd.

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

use super::crowd::Crowd;
use crate::lab::{
    machine,
    process_limits::{self, Limit},
    role::NoRoom,
};

/// No worker of a crowd takes as much memory as this, in bytes.
const MOST_MEMORY: u64 = 256 << 10;

/// Looks whether all members of a crowd fit into this machine.
///
/// # Errors
/// [`NoRoom`] with the cause, if this crowd has to be left out.
pub fn for_all_of(crowd: &Crowd) -> anyhow::Result<()> {
    let mut limits = process_limits::of_processes();
    let (space, _) = getrlimit(Resource::RLIMIT_AS)?;
    limits.extend(limits_of_memory(crowd, machine::available_memory(), space));
    Ok(fits(crowd, &limits)?)
}

/// How many workers fit into so much memory and so much address space, in bytes.
fn limits_of_memory(crowd: &Crowd, available: u64, space: u64) -> Vec<Limit> {
    let mut limits = vec![Limit::new("memory", Some(available / MOST_MEMORY), 0)];
    if !crowd.processes && space != RLIM_INFINITY {
        // The address space of a thread's stack counts, used or not.
        limits.push(Limit::new(
            "RLIMIT_AS (ulimit -v)",
            Some(space / (2 << 20)),
            0,
        ));
    }
    limits
}

/// At most half of what a limit leaves is used: other programs need some too.
fn fits(crowd: &Crowd, limits: &[Limit]) -> Result<(), NoRoom> {
    match process_limits::first(limits) {
        // The master counts too.
        Some((limit, room)) if crowd.members() as u64 + 1 > room / 2 => Err(NoRoom(format!(
            "{} leaves room for {room} only",
            limit.name
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::crowd::tests::crowd, *};

    #[test]
    fn half_of_what_a_limit_leaves_is_left_alone() {
        let fits = |workers| {
            let limit = Limit::new("pid_max", Some(300), 100);
            fits(&crowd(true, true, workers), &[limit])
        };
        // With the bystander and the master they are a hundred.
        assert!(fits(98).is_ok());
        let error = fits(99).expect_err("it is one too many");
        assert_eq!(error.to_string(), "pid_max leaves room for 200 only");
        assert!(super::fits(&crowd(true, true, 99), &[]).is_ok());
    }

    #[test]
    fn each_worker_needs_memory_and_each_thread_address_space() {
        let most = |processes, space| -> Vec<Option<u64>> {
            let limits = limits_of_memory(&crowd(processes, true, 1), 1 << 30, space);
            limits.iter().map(|limit| limit.most).collect()
        };
        assert_eq!(most(false, 400 << 20), [Some(4096), Some(200)]);
        assert_eq!(most(false, RLIM_INFINITY), [Some(4096)]);
        assert_eq!(most(true, 400 << 20), [Some(4096)]);
    }
}
