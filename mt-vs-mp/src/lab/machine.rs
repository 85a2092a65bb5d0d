//! What the figures were measured on.

use std::{env, thread};

use serde::{Deserialize, Serialize};
use sysinfo::{CpuRefreshKind, System};

/// The machine, its system, and how this program was built.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// How many threads run at once: what this process may use, not what is built in.
    pub cores: usize,
    /// What its maker calls it.
    pub processor: String,
    /// In bytes.
    pub memory: u64,
    /// What of the memory was free for the taking when the run began, in bytes.
    pub memory_available: u64,
    pub os: String,
    pub kernel: String,
    pub architecture: String,
    pub rustc: String,
    /// This program's name and version.
    pub program: String,
    /// `release` or `debug`.
    pub profile: String,
}

impl Machine {
    pub fn look_at() -> Self {
        let (memory, memory_available) = memory();
        let unknown = || "unknown".to_owned();
        Self {
            cores: thread::available_parallelism().map_or(1, usize::from),
            processor: processor().unwrap_or_else(unknown),
            memory,
            memory_available,
            os: System::long_os_version().unwrap_or_else(unknown),
            kernel: System::kernel_version().unwrap_or_else(unknown),
            architecture: env::consts::ARCH.to_owned(),
            rustc: env!("RUSTC_VERSION").to_owned(),
            program: concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")).to_owned(),
            profile: if cfg!(debug_assertions) {
                "debug"
            } else {
                "release"
            }
            .to_owned(),
        }
    }
}

/// The processor's name, as its maker gives it.
fn processor() -> Option<String> {
    let mut system = System::new();
    system.refresh_cpu_list(CpuRefreshKind::nothing());
    let brand = system.cpus().first()?.brand().trim().to_owned();
    (!brand.is_empty()).then_some(brand)
}

/// What memory there is, and what of it is free for the taking at this moment, in bytes.
pub fn memory() -> (u64, u64) {
    let mut system = System::new();
    system.refresh_memory();
    // A container may use less than the machine has.
    match system.cgroup_limits() {
        Some(limits) => (limits.total_memory, limits.free_memory),
        None => (system.total_memory(), system.available_memory()),
    }
}
