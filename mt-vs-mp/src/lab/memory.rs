//! What Linux says of a process's memory, in bytes. Elsewhere all of it is `None`.

/// What a process takes of memory.
#[cfg_attr(not(unix), expect(dead_code, reason = "only Linux tells"))]
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// What is nobody else's, in pages, and the page tables that map what the process has.
    ///
    /// Not in it: the stack that each thread and each process has in the kernel, and the kernel's
    /// record of it. These are the same for both, about 20 KiB.
    pub private: u64,
    /// Its part of everything: a page that four processes share counts a quarter for each
    /// (proportional set size).
    pub proportional: u64,
    /// The tables that say where the process's memory is.
    pub page_tables: u64,
    /// How much of the process's own memory lies in huge pages.
    pub huge: u64,
}

/// Of this process.
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

/// The proportional part of a process and of its children together.
#[cfg(target_os = "linux")]
pub fn of_family(process: u32) -> Option<u64> {
    let main = procfs::process::Process::new(process as i32).ok()?;
    let children = main.task_main_thread().ok()?.children().ok()?;
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
