//! On which cores a measurement runs.

use serde::{Deserialize, Serialize};

/// Where the two who are measured are to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// Both pinned to this core.
    One(usize),
    /// Each pinned to its own.
    Two(usize, usize),
    /// Wherever the system puts them.
    Free,
}

impl Place {
    pub fn name(self) -> &'static str {
        match self {
            Self::One(_) => "one core",
            Self::Two(..) => "two cores",
            Self::Free => "any core",
        }
    }

    /// Puts the calling thread where the first of the two is to be.
    pub fn pin_first(self) -> anyhow::Result<()> {
        match self {
            Self::One(core) | Self::Two(core, _) => pin(core),
            Self::Free => Ok(()),
        }
    }

    /// Puts the calling thread where the second is to be.
    pub fn pin_second(self) -> anyhow::Result<()> {
        match self {
            Self::One(core) | Self::Two(_, core) => pin(core),
            Self::Free => Ok(()),
        }
    }
}

/// The places that there are on this machine.
pub fn places(left_out: &mut Vec<String>) -> Vec<Place> {
    let cores = cores();
    match cores[..] {
        [] => left_out.push("pinned to cores: only Linux lets a program choose".to_owned()),
        [_] => left_out.push("on two cores: this process may use only one".to_owned()),
        _ => {}
    }
    of(&cores)
}

/// The two cores are the first and the last: neighbours may be two halves of one.
fn of(cores: &[usize]) -> Vec<Place> {
    let one = cores.first().map(|&core| Place::One(core));
    let two = match cores {
        [first, .., last] => Some(Place::Two(*first, *last)),
        _ => None,
    };
    one.into_iter().chain(two).chain([Place::Free]).collect()
}

/// The numbers of the cores that this process may use; none where it cannot choose.
#[cfg(target_os = "linux")]
fn cores() -> Vec<usize> {
    use nix::{
        sched::{CpuSet, sched_getaffinity},
        unistd::Pid,
    };
    let Ok(allowed) = sched_getaffinity(Pid::from_raw(0)) else {
        return Vec::new();
    };
    let allowed = |&core: &usize| allowed.is_set(core).unwrap_or(false);
    (0..CpuSet::count()).filter(allowed).collect()
}

#[cfg(target_os = "linux")]
fn pin(core: usize) -> anyhow::Result<()> {
    use anyhow::Context;
    use nix::{
        sched::{CpuSet, sched_setaffinity},
        unistd::Pid,
    };
    let mut only = CpuSet::new();
    only.set(core)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &only))
        .with_context(|| format!("cannot pin to core {core}"))
}

#[cfg(not(target_os = "linux"))]
fn cores() -> Vec<usize> {
    Vec::new()
}

#[cfg(not(target_os = "linux"))]
fn pin(core: usize) -> anyhow::Result<()> {
    anyhow::bail!("cannot pin to core {core}: only Linux lets a program choose")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_places_need_two_cores_and_take_those_farthest_apart() {
        assert_eq!(of(&[]), [Place::Free]);
        assert_eq!(of(&[3]), [Place::One(3), Place::Free]);
        let [one, two] = [Place::One(0), Place::Two(0, 5)];
        assert_eq!(of(&[0, 1, 4, 5]), [one, two, Place::Free]);
    }
}
