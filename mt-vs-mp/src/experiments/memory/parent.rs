//! A process with so much memory, and what it pays for a thread, for a spawn and for a fork.

#[cfg(target_os = "linux")]
use std::fs;
use std::time::{Duration, Instant};

#[cfg(target_os = "linux")]
use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::{
    experiments::create::{Way, time},
    lab::{statistics::median, trial::Trial},
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
        let memory = touched(parent.memory as usize, parent.pages)?;
        let costs = Costs {
            thread: several(Way::Thread)?,
            spawn: several(parent.spawn)?,
            // The last, for it leaves its mark on the parent: the pages are shared until somebody
            // writes to them.
            fork: cfg!(unix).then(|| several(Way::Fork)).transpose()?,
            page_tables: kib_of("/proc/self/status", "VmPTE:")?,
            huge: kib_of("/proc/self/smaps_rollup", "AnonHugePages:")?.unwrap_or(0.0),
        };
        // Until here the memory was there.
        drop(memory);
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
        times.push(time(way)?.as_secs_f64());
    }
    Ok(median(times))
}

/// Memory that is really there: a byte is written to each page, for until then the system has only
/// promised it.
#[cfg(unix)]
fn touched(bytes: usize, pages: Pages) -> anyhow::Result<Option<unix::Memory>> {
    unix::touched(bytes, pages)
}

#[cfg(not(unix))]
fn touched(bytes: usize, _: Pages) -> anyhow::Result<Vec<u8>> {
    Ok(vec![1; bytes])
}

/// What stands after `name` in one of Linux's files about this process, in bytes.
#[cfg(target_os = "linux")]
fn kib_of(file: &str, name: &str) -> anyhow::Result<Option<f64>> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
    Ok(find_kib(&text, name))
}

#[cfg(not(target_os = "linux"))]
fn kib_of(_: &str, _: &str) -> anyhow::Result<Option<f64>> {
    Ok(None)
}

#[cfg(any(target_os = "linux", test))]
fn find_kib(text: &str, name: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: f64 = rest.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024.0)
}

#[cfg(unix)]
mod unix {
    use std::{ffi::c_void, num::NonZeroUsize, ptr::NonNull};

    use anyhow::Context;
    use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

    use super::Pages;
    use crate::report::figure::{Unit, amount};

    /// Memory from the system, all of it written to.
    pub struct Memory {
        start: NonNull<c_void>,
        size: NonZeroUsize,
    }

    impl Drop for Memory {
        fn drop(&mut self) {
            // SAFETY: it was mapped at this size, and nobody else knows of it.
            let _ = unsafe { munmap(self.start, self.size.get()) };
        }
    }

    pub fn touched(bytes: usize, pages: Pages) -> anyhow::Result<Option<Memory>> {
        // The smallest page there is: where pages are larger, some get more than one byte.
        const PAGE: usize = 4096;
        let Some(size) = NonZeroUsize::new(bytes) else {
            return Ok(None);
        };
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: the system chooses a place where nothing is.
        let start = unsafe { mmap_anonymous(None, size, protection, MapFlags::MAP_PRIVATE) }
            .with_context(|| format!("cannot get {}", amount(bytes as f64, Unit::Bytes)))?;
        let memory = Memory { start, size };
        choose(&memory, pages);
        for offset in (0..bytes).step_by(PAGE) {
            // SAFETY: the offset lies within the memory, which may be written to and is ours alone.
            // Volatile, for nobody ever reads it: other writes the compiler would leave out.
            unsafe { start.cast::<u8>().add(offset).write_volatile(1) };
        }
        Ok(Some(memory))
    }

    #[cfg(target_os = "linux")]
    fn choose(memory: &Memory, pages: Pages) {
        use nix::sys::mman::{MmapAdvise, madvise};
        let advice = match pages {
            Pages::Small => MmapAdvise::MADV_NOHUGEPAGE,
            Pages::Huge => MmapAdvise::MADV_HUGEPAGE,
        };
        // A kernel without huge pages refuses both. What came of it is seen in `Costs::huge`.
        // SAFETY: these advices change no byte of the memory.
        let _ = unsafe { madvise(memory.start, memory.size.get(), advice) };
    }

    #[cfg(not(target_os = "linux"))]
    fn choose(_: &Memory, _: Pages) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figure_after_a_name_is_in_bytes() {
        let status = "VmSwap:\t       0 kB\nVmPTE:\t     564 kB\nThreads:\t1\n";
        assert_eq!(find_kib(status, "VmPTE:"), Some(564.0 * 1024.0));
        assert_eq!(find_kib(status, "VmSwap:"), Some(0.0));
        assert_eq!(find_kib(status, "Threads:"), None);
        assert_eq!(find_kib(status, "AnonHugePages:"), None);
    }
}
