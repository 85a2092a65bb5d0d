//! The processors on which a measurement runs.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The processors for one thread or process that is measured alone, or for two that are partners.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// All are pinned to this processor.
    One(usize),
    /// The first partner is pinned to one processor, the second to another, which shares a cache
    /// with it.
    Near(usize, usize),
    /// The same for two processors that share no cache, as far as the system tells.
    Far(usize, usize),
    /// Not pinned: the system chooses.
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
    /// Pins the calling thread, and all that it starts from now on, to the first partner's
    /// processor.
    pub fn pin_first(self) -> anyhow::Result<()> {
        match self {
            One(cpu) | Near(cpu, _) | Far(cpu, _) => pin(cpu),
            Free => Ok(()),
        }
    }

    /// The same for the second partner's processor.
    pub fn pin_second(self) -> anyhow::Result<()> {
        match self {
            One(cpu) | Near(_, cpu) | Far(_, cpu) => pin(cpu),
            Free => Ok(()),
        }
    }
}

/// The places that this machine has for one thread or process. What it does not have is added to
/// `left_out`.
pub fn for_one(left_out: &mut Vec<String>) -> Vec<Place> {
    match cpus_to_pin_to(left_out).first() {
        Some(&cpu) => vec![One(cpu), Free],
        None => vec![Free],
    }
}

/// The same for two partners.
pub fn for_two(left_out: &mut Vec<String>) -> Vec<Place> {
    let cpus = cpus_to_pin_to(left_out);
    if let [_] = cpus[..] {
        left_out.push("on two processors: this process may use only one".to_owned());
    }
    choose(&cpus, share_a_cache)
}

fn cpus_to_pin_to(left_out: &mut Vec<String>) -> Vec<usize> {
    cpus().unwrap_or_else(|error| {
        left_out.push(format!("pinned to processors: {error:#}"));
        Vec::new()
    })
}

/// The first processor alone; it and one that shares a cache with it; it and one that does not;
/// any.
fn choose(cpus: &[usize], share: impl Fn(usize, usize) -> bool) -> Vec<Place> {
    let mut places = Vec::new();
    if let [one, others @ ..] = cpus {
        // The last of the others that fits: a near neighbour may be a thread of the same core.
        let last = |near| others.iter().rev().find(|&&cpu| share(*one, cpu) == near);
        places.push(One(*one));
        places.extend(last(true).map(|&other| Near(*one, other)));
        places.extend(last(false).map(|&other| Far(*one, other)));
    }
    places.push(Free);
    places
}

/// Whether the system says that two processors share a cache.
fn share_a_cache(one: usize, other: usize) -> bool {
    let caches = std::fs::read_dir(format!("/sys/devices/system/cpu/cpu{one}/cache"));
    let lists = caches.into_iter().flatten().flatten();
    lists
        .filter_map(|cache| std::fs::read_to_string(cache.path().join("shared_cpu_list")).ok())
        .any(|list| contains(&list, other))
}

/// Whether a list such as `0-3,8` contains a processor.
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

    #[cfg(target_os = "linux")]
    #[test]
    fn a_processor_shares_its_caches_with_itself_and_not_with_one_that_does_not_exist() {
        let cpu = cpus().expect("Linux tells them")[0];
        assert!(!share_a_cache(cpu, 99_999));
        // Some virtual machines tell nothing of caches.
        let told = format!("/sys/devices/system/cpu/cpu{cpu}/cache/index0/shared_cpu_list");
        assert_eq!(
            share_a_cache(cpu, cpu),
            std::path::Path::new(&told).exists()
        );
    }

    #[test]
    fn a_place_is_told_by_the_numbers_of_its_processors() {
        let told = [One(3), Near(0, 2), Far(0, 5), Free].map(|place| place.to_string());
        assert_eq!(
            told,
            [
                "processor 3",
                "processors 0 and 2, one cache",
                "processors 0 and 5",
                "any processor"
            ]
        );
    }
}
