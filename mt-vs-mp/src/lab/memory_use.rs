//! The memory that a process uses, as Linux tells it, in bytes. On other systems it is `None`.

#[cfg(target_os = "linux")]
use std::collections::HashMap;

/// The memory that a process uses.
#[cfg_attr(not(unix), expect(dead_code, reason = "only Linux tells"))]
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// The pages that no other process shares, and the page tables.
    ///
    /// It does not contain the stack in the kernel and the kernel's record, which each thread and
    /// each process has: about 20 KiB for either.
    pub private: u64,
    /// The proportional set size: a page that four processes share counts a quarter for each.
    pub proportional: u64,
    /// The tables that map the process's addresses to pages of memory.
    pub page_tables: u64,
    /// The part of the process's memory that lies in huge pages.
    pub huge: u64,
}

/// The memory of this process.
pub fn own() -> Option<Memory> {
    of(std::process::id())
}

#[cfg(target_os = "linux")]
pub fn of(process: u32) -> Option<Memory> {
    let process = procfs::process::Process::new(process as i32).ok()?;
    let maps = process.smaps_rollup().ok()?.memory_map_rollup;
    let sizes = &maps.0.first()?.extension.map;
    Some(told(sizes, process.status().ok()?.vmpte?))
}

/// `sizes` are in bytes, and the page tables in KiB.
#[cfg(target_os = "linux")]
fn told(sizes: &HashMap<String, u64>, page_tables: u64) -> Memory {
    let size = |name| sizes.get(name).copied().unwrap_or(0);
    let page_tables = page_tables * 1024;
    Memory {
        private: size("Private_Clean") + size("Private_Dirty") + page_tables,
        proportional: size("Pss"),
        page_tables,
        huge: size("AnonHugePages"),
    }
}

/// The proportional set sizes of a process and its children, added up.
#[cfg(target_os = "linux")]
pub fn of_family(process: u32) -> Option<u64> {
    let parent = procfs::process::Process::new(process as i32).ok()?;
    let children = parent.task_main_thread().ok()?.children().ok()?;
    let all = children.into_iter().chain([process]);
    all.map(|process| Some(of(process)?.proportional)).sum()
}

#[cfg(all(unix, not(target_os = "linux")))]
pub fn of_family(_: u32) -> Option<u64> {
    None
}

#[cfg(not(target_os = "linux"))]
pub fn of(_: u32) -> Option<Memory> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn private_are_the_pages_of_this_process_alone_clean_or_not_and_the_page_tables() {
        let sizes = [
            ("Private_Clean", 4096),
            ("Private_Dirty", 8192),
            ("Shared_Clean", 1 << 30),
            ("Pss", 20_000),
            ("AnonHugePages", 2 << 20),
        ];
        let sizes = sizes.map(|(name, size)| (name.to_owned(), size));
        let memory = told(&sizes.into(), 3);
        assert_eq!(memory.page_tables, 3072);
        assert_eq!(memory.private, 4096 + 8192 + 3072);
        assert_eq!(memory.proportional, 20_000);
        assert_eq!(memory.huge, 2 << 20);
        assert_eq!(told(&HashMap::new(), 0).private, 0);
    }

    #[test]
    fn a_megabyte_that_is_used_is_in_bytes() {
        let used = vec![1_u8; 1 << 20];
        let memory = own().expect("Linux tells");
        assert!(memory.private > 1 << 20 && memory.proportional > 1 << 20);
        assert!(memory.page_tables >= 4096, "{memory:?}");
        // No process of this test has a terabyte.
        assert!(memory.private < 1 << 40, "{memory:?}");
        drop(used);
    }
}
