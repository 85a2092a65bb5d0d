//! The memory that a process uses, as Linux tells it, in bytes. On other systems it is `None`.

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
    let size = |name| sizes.get(name).copied().unwrap_or(0);
    let page_tables = process.status().ok()?.vmpte? * 1024;
    Some(Memory {
        private: size("Private_Clean") + size("Private_Dirty") + page_tables,
        proportional: size("Pss"),
        page_tables,
        huge: size("AnonHugePages"),
    })
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
