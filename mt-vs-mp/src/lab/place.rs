//! On which processors a measurement runs.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where the two who are measured are to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// Both pinned to this processor.
    One(usize),
    /// Each pinned to its own. They share a cache.
    Near(usize, usize),
    /// Each pinned to its own. They share no cache, as far as the system says.
    Far(usize, usize),
    /// Wherever the system puts them.
    Free,
}
use Place::{Far, Free, Near, One};

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            One(cpu) => write!(f, "processor {cpu}"),
            Near(one, other) => write!(f, "processors {one} and {other}, one cache"),
            Far(one, other) => write!(f, "processors {one} and {other}"),
            Free => write!(f, "any processor"),
        }
    }
}

impl Place {
    /// Puts the calling thread, and what it starts, where the first of the two is to be.
    pub fn pin_first(self) -> anyhow::Result<()> {
        match self {
            One(cpu) | Near(cpu, _) | Far(cpu, _) => pin(cpu),
            Free => Ok(()),
        }
    }

    /// Puts the calling thread where the second is to be.
    pub fn pin_second(self) -> anyhow::Result<()> {
        match self {
            One(cpu) | Near(_, cpu) | Far(_, cpu) => pin(cpu),
            Free => Ok(()),
        }
    }
}

/// The places that there are on this machine.
pub fn places(left_out: &mut Vec<String>) -> Vec<Place> {
    let cpus = match cpus() {
        Ok(cpus) => cpus,
        Err(error) => {
            left_out.push(format!("pinned to processors: {error:#}"));
            return vec![Free];
        }
    };
    if let [_] = cpus[..] {
        left_out.push("on two processors: this process may use only one".to_owned());
    }
    choose(&cpus, share_a_cache)
}

/// One processor; two that share a cache and two that do not, where there are both; and any.
fn choose(cpus: &[usize], share: impl Fn(usize, usize) -> bool) -> Vec<Place> {
    let one = cpus.first().copied();
    let pair = |near| {
        let one = one?;
        // Of those far away the last: neighbours may be two threads of one core.
        let mut others = cpus[1..].iter().rev();
        let other = *others.find(|&&other| share(one, other) == near)?;
        Some(if near {
            Near(one, other)
        } else {
            Far(one, other)
        })
    };
    let places = [one.map(One), pair(true), pair(false), Some(Free)];
    places.into_iter().flatten().collect()
}

/// Whether the system says that two processors share a cache.
fn share_a_cache(one: usize, other: usize) -> bool {
    let caches = std::fs::read_dir(format!("/sys/devices/system/cpu/cpu{one}/cache"));
    let lists = caches.into_iter().flatten().flatten();
    lists
        .filter_map(|cache| std::fs::read_to_string(cache.path().join("shared_cpu_list")).ok())
        .any(|list| contains(&list, other))
}

/// Whether a list such as `0-3,8` names a processor.
fn contains(list: &str, cpu: usize) -> bool {
    list.trim().split(',').any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let [first, last] = [first, last].map(str::parse::<usize>);
        matches!((first, last), (Ok(first), Ok(last)) if (first..=last).contains(&cpu))
    })
}

/// The numbers of the processors that this process may use.
#[cfg(target_os = "linux")]
fn cpus() -> anyhow::Result<Vec<usize>> {
    use anyhow::Context;
    use nix::{
        sched::{CpuSet, sched_getaffinity},
        unistd::Pid,
    };
    let allowed = sched_getaffinity(Pid::from_raw(0))
        .context("the system does not say which there are (sched_getaffinity)")?;
    let allowed = |&cpu: &usize| allowed.is_set(cpu).unwrap_or(false);
    Ok((0..CpuSet::count()).filter(allowed).collect())
}

#[cfg(target_os = "linux")]
fn pin(cpu: usize) -> anyhow::Result<()> {
    use anyhow::Context;
    use nix::{
        sched::{CpuSet, sched_setaffinity},
        unistd::Pid,
    };
    let mut only = CpuSet::new();
    only.set(cpu)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &only))
        .with_context(|| format!("cannot pin to processor {cpu}"))
}

#[cfg(not(target_os = "linux"))]
fn cpus() -> anyhow::Result<Vec<usize>> {
    anyhow::bail!("only Linux lets a program choose")
}

#[cfg(not(target_os = "linux"))]
fn pin(cpu: usize) -> anyhow::Result<()> {
    anyhow::bail!("cannot pin to processor {cpu}: only Linux lets a program choose")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_processors_are_a_pair_with_a_common_cache_and_one_without() {
        let same_half = |one, other| one / 4 == other / 4;
        assert_eq!(choose(&[], same_half), [Free]);
        assert_eq!(choose(&[3], same_half), [One(3), Free]);
        assert_eq!(choose(&[0, 1], same_half), [One(0), Near(0, 1), Free]);
        assert_eq!(choose(&[0, 5], same_half), [One(0), Far(0, 5), Free]);
        assert_eq!(
            choose(&[0, 1, 2, 4, 5], same_half),
            [One(0), Near(0, 2), Far(0, 5), Free]
        );
    }

    #[test]
    fn a_list_of_processors_has_numbers_and_ranges() {
        let named = (0..12).filter(|&cpu| contains("0-2,8\n", cpu));
        assert_eq!(named.collect::<Vec<_>>(), [0, 1, 2, 8]);
        assert!(!contains("", 0));
    }
}
