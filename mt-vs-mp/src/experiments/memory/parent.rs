//! A process with so much memory, and what it pays for a thread, for a spawn and for a fork.

#[cfg(unix)]
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

#[cfg(unix)]
use crate::lab::mapping::Mapping;
use crate::{
    experiments::create::way::Way,
    lab::{memory, statistics::median, trial::Trial},
    report::figure::{Unit, amount},
};

/// How the system is asked to cut the memory up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pages {
    /// Of the usual size: 4 KiB, on most machines.
    Small,
    /// Of 2 MiB, on most machines.
    Huge,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Parent {
    /// In bytes.
    pub memory: u64,
    pub pages: Pages,
    /// By which way it spawns.
    pub spawn: Way,
}

impl Parent {
    pub fn name(&self) -> String {
        let memory = match self.memory {
            0 => "no memory".to_owned(),
            bytes => amount(bytes as f64, Unit::Bytes),
        };
        match self.pages {
            Pages::Small => memory,
            Pages::Huge => format!("{memory} in huge pages"),
        }
    }
}

/// What one parent measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Costs {
    /// From the start of one to its joined end, in seconds.
    pub thread: f64,
    pub spawn: f64,
    /// `None` where there is no fork.
    pub fork: Option<f64>,
    /// The size of its page tables, in bytes, where the system tells.
    pub page_tables: Option<f64>,
    /// How many bytes of its memory lie in huge pages.
    pub huge: f64,
}

pub static PARENT: Trial<Parent, Costs> = Trial {
    name: "memory",
    body: |parent| {
        let touched = touched(parent.memory, parent.pages)?;
        let costs = Costs {
            thread: several(Way::Thread)?,
            spawn: several(parent.spawn)?,
            // The last, for it leaves its mark on the parent: the pages are shared until somebody
            // writes to them.
            fork: cfg!(unix).then(|| several(Way::Fork)).transpose()?,
            page_tables: memory::page_tables("self").map(|bytes| bytes as f64),
            huge: memory::in_huge_pages("self").unwrap_or(0) as f64,
        };
        // Until here the memory was there.
        drop(touched);
        Ok(costs)
    },
};

/// The median of as many as fit into some milliseconds.
fn several(way: Way) -> anyhow::Result<f64> {
    const FEWEST: usize = 3;
    const MOST: usize = 30;
    const ENOUGH: Duration = Duration::from_millis(8);
    let begin = Instant::now();
    let mut times = Vec::new();
    while times.len() < FEWEST || times.len() < MOST && begin.elapsed() < ENOUGH {
        times.push(way.time()?.as_secs_f64());
    }
    Ok(median(times))
}

/// Memory that is really there: a byte is written to each page, for until then the system has only
/// promised it.
#[cfg(unix)]
fn touched(bytes: u64, pages: Pages) -> anyhow::Result<Option<Mapping>> {
    // The smallest page there is: where pages are larger, some get more than one byte.
    const PAGE: usize = 4096;
    let Some(size) = NonZeroUsize::new(bytes as usize) else {
        return Ok(None);
    };
    let memory = Mapping::private(size)?;
    choose(pages, &memory);
    for offset in (0..size.get()).step_by(PAGE) {
        // SAFETY: the offset lies within the memory, which may be written to and is ours alone.
        // Volatile, for nobody ever reads it: other writes the compiler would leave out.
        unsafe { memory.start::<u8>().add(offset).write_volatile(1) };
    }
    Ok(Some(memory))
}

#[cfg(not(unix))]
fn touched(bytes: u64, _: Pages) -> anyhow::Result<Vec<u8>> {
    Ok(vec![1; bytes as usize])
}

#[cfg(target_os = "linux")]
fn choose(pages: Pages, memory: &Mapping) {
    use nix::sys::mman::{MmapAdvise, madvise};
    let advice = match pages {
        Pages::Small => MmapAdvise::MADV_NOHUGEPAGE,
        Pages::Huge => MmapAdvise::MADV_HUGEPAGE,
    };
    // A kernel without huge pages refuses both. What came of it is seen in `Costs::huge`.
    // SAFETY: these advices change no byte of the memory.
    let _ = unsafe { madvise(memory.start(), memory.size.get(), advice) };
}

#[cfg(all(unix, not(target_os = "linux")))]
fn choose(_: Pages, _: &Mapping) {}
