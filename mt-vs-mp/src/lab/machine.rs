//! The machine on which the figures were measured, and what may influence them there.

use std::{env, thread};

use serde::{Deserialize, Serialize};
use sysinfo::{CpuRefreshKind, System};

/// The machine, its system, and how this program was built. What the system does not tell is
/// `None`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// How many threads of this process can run at once. The machine may have more processors.
    pub cores: usize,
    /// The processor's name, given by its maker.
    pub processor: String,
    /// In bytes.
    pub memory: u64,
    /// The memory that was available when the run began, in bytes.
    pub memory_available: u64,
    pub os: String,
    pub kernel: String,
    pub architecture: String,
    pub rustc: String,
    /// This program's name and version.
    pub program: String,
    /// `release` or `debug`.
    pub profile: String,
    /// Whether it is a virtual machine. Then other guests of the same host may slow it down.
    pub is_virtual: Option<bool>,
    /// Whether two threads share a core (simultaneous multithreading).
    pub smt: Option<bool>,
    /// The rule by which the processor's frequency is chosen.
    pub governor: Option<String>,
    /// When the system uses huge pages: `always`, `madvise` (if asked to) or `never`.
    pub huge_pages: Option<String>,
    /// How many processors our control group may use on average, if that is limited.
    pub cpu_quota: Option<f64>,
    /// The load: how many threads ran or wanted to run, on average, in the minute before the run.
    pub load_before: Option<f64>,
    /// The load in the last minute of the run, with the laboratory's own work.
    pub load_after: Option<f64>,
    /// How long our control group had to wait during the run because of its quota, in seconds.
    pub throttled: Option<f64>,
}

impl Machine {
    /// Before the run.
    pub fn look_at() -> Self {
        let unknown = || "unknown".to_owned();
        Self {
            cores: thread::available_parallelism().map_or(1, usize::from),
            processor: processor().unwrap_or_else(unknown),
            memory: total_memory(),
            memory_available: available_memory(),
            os: System::long_os_version().unwrap_or_else(unknown),
            kernel: System::kernel_version().unwrap_or_else(unknown),
            architecture: env::consts::ARCH.to_owned(),
            rustc: env!("RUSTC_VERSION").to_owned(),
            program: concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")).to_owned(),
            profile: match cfg!(debug_assertions) {
                true => "debug",
                false => "release",
            }
            .to_owned(),
            is_virtual: system::is_virtual(),
            smt: system::smt(),
            governor: system::governor(),
            huge_pages: system::huge_pages(),
            cpu_quota: system::cpu_quota(),
            load_before: system::load(),
            load_after: None,
            // Since the group began. After the run, this is subtracted.
            throttled: system::throttled(),
        }
    }

    /// After the run.
    pub fn look_again(&mut self) {
        self.load_after = system::load();
        let since = |before: f64| Some(system::throttled()? - before);
        self.throttled = self.throttled.and_then(since);
    }

    /// "1 core", or for example "8 cores".
    pub fn cores_in_words(&self) -> String {
        match self.cores {
            1 => "1 core".to_owned(),
            cores => format!("{cores} cores"),
        }
    }

    /// Warnings: what makes the figures of this run worse.
    pub fn caveats(&self) -> Vec<String> {
        let mut caveats = Vec::new();
        if self.profile != "release" {
            let profile = &self.profile;
            caveats.push(format!(
                "This is a {profile} build: its figures say little. Run it with --release."
            ));
        }
        if let Some(quota) = self.cpu_quota {
            let throttled = match self.throttled {
                Some(seconds) if seconds > 0.0 => {
                    format!(" The run had to wait for {seconds:.1} s because of it.")
                }
                _ => String::new(),
            };
            caveats.push(format!(
                "A control group limits the run to the time of {quota:.2} processors: when that is used \
                 up, everything waits, also in the middle of a measurement.{throttled}"
            ));
        }
        if let Some(load) = self
            .load_before
            .filter(|&load| load > self.cores as f64 / 2.0)
        {
            caveats.push(format!(
                "The machine was busy with something else when the run began (load {load:.1} on {}): \
                 that makes the intervals wider.",
                self.cores_in_words()
            ));
        }
        caveats
    }
}

/// The processor's name, given by its maker.
fn processor() -> Option<String> {
    let mut system = System::new();
    system.refresh_cpu_list(CpuRefreshKind::nothing());
    let brand = system.cpus().first()?.brand().trim().to_owned();
    (!brand.is_empty()).then_some(brand)
}

fn total_memory() -> u64 {
    let mut system = System::new();
    system.refresh_memory();
    system.total_memory()
}

/// The memory that is available now, in bytes: as the system says, or what our control groups still
/// allow if that is less.
pub fn available_memory() -> u64 {
    let mut system = System::new();
    system.refresh_memory();
    let by_system = system.available_memory();
    system::memory_left_by_groups().map_or(by_system, |left| left.min(by_system))
}

#[cfg(target_os = "linux")]
mod system {
    use std::fs;

    use procfs::{Current, LoadAverage};

    use crate::lab::cgroup::groups;

    /// A hypervisor adds a flag to the processors of its guests.
    pub fn is_virtual() -> Option<bool> {
        let text = read("/proc/cpuinfo")?;
        let flags = text.lines().find(|line| line.starts_with("flags"))?;
        Some(flags.split_whitespace().any(|flag| flag == "hypervisor"))
    }

    pub fn smt() -> Option<bool> {
        Some(read("/sys/devices/system/cpu/smt/active")?.trim() == "1")
    }

    pub fn governor() -> Option<String> {
        let governor = read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")?;
        Some(governor.trim().to_owned())
    }

    pub fn huge_pages() -> Option<String> {
        // The chosen word is in brackets: `always [madvise] never`.
        let text = read("/sys/kernel/mm/transparent_hugepage/enabled")?;
        let (_, rest) = text.split_once('[')?;
        Some(rest.split_once(']')?.0.to_owned())
    }

    pub fn load() -> Option<f64> {
        Some(LoadAverage::current().ok()?.one.into())
    }

    /// The smallest quota of our control groups.
    pub fn cpu_quota() -> Option<f64> {
        let quotas = groups("cpu").into_iter().filter_map(|group| {
            if group.is_v1 {
                let quota = group.number("cpu.cfs_quota_us")?;
                return Some(quota as f64 / group.number("cpu.cfs_period_us")? as f64);
            }
            quota(&group.text("cpu.max")?)
        });
        quotas.reduce(f64::min)
    }

    /// "50000 100000" is half a processor; "max 100000" is no limit.
    pub fn quota(text: &str) -> Option<f64> {
        let (quota, period) = text.trim().split_once(' ')?;
        let [quota, period] = [quota, period].map(str::parse::<f64>);
        Some(quota.ok()? / period.ok()?)
    }

    /// The longest time for which the quota of one of our control groups has made it wait, in
    /// seconds.
    pub fn throttled() -> Option<f64> {
        let times = groups("cpu").into_iter().filter_map(|group| {
            if group.is_v1 {
                return Some(group.field("cpu.stat", "throttled_time")? as f64 / 1e9);
            }
            Some(group.field("cpu.stat", "throttled_usec")? as f64 / 1e6)
        });
        times.reduce(f64::max)
    }

    /// The least that one of our control groups still allows. Cached files do not count as used: if
    /// memory is needed, the system drops them first.
    pub fn memory_left_by_groups() -> Option<u64> {
        let left = groups("memory").into_iter().filter_map(|group| {
            let [limit, usage, files] = match group.is_v1 {
                true => [
                    "memory.limit_in_bytes",
                    "memory.usage_in_bytes",
                    "total_inactive_file",
                ],
                false => ["memory.max", "memory.current", "inactive_file"],
            };
            let used = group.number(usage)?;
            let files = group.field("memory.stat", files).unwrap_or(0);
            let used = used.saturating_sub(files);
            Some(group.number(limit)?.saturating_sub(used))
        });
        left.min()
    }

    fn read(path: &str) -> Option<String> {
        fs::read_to_string(path).ok()
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    pub fn is_virtual() -> Option<bool> {
        None
    }

    pub fn smt() -> Option<bool> {
        None
    }

    pub fn governor() -> Option<String> {
        None
    }

    pub fn huge_pages() -> Option<String> {
        None
    }

    pub fn load() -> Option<f64> {
        let load = sysinfo::System::load_average();
        cfg!(unix).then_some(load.one)
    }

    pub fn cpu_quota() -> Option<f64> {
        None
    }

    pub fn throttled() -> Option<f64> {
        None
    }

    pub fn memory_left_by_groups() -> Option<u64> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_the_figures_worse_is_said() {
        let quiet = Machine {
            cores: 4,
            profile: "release".to_owned(),
            cpu_quota: None,
            load_before: Some(0.3),
            ..Machine::look_at()
        };
        assert!(quiet.caveats().is_empty(), "{:?}", quiet.caveats());
        let limited = Machine {
            cpu_quota: Some(0.5),
            throttled: Some(3.25),
            load_before: Some(2.5),
            profile: "debug".to_owned(),
            ..quiet
        };
        let [debug, quota, load] = &limited.caveats()[..] else {
            panic!("not three: {:?}", limited.caveats());
        };
        assert!(debug.contains("debug build"));
        assert!(
            quota.contains("of 0.50 processors") && quota.contains("for 3.2 s"),
            "{quota}"
        );
        assert!(load.contains("load 2.5 on 4 cores"), "{load}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_quota_is_a_part_of_a_period() {
        assert_eq!(system::quota("50000 100000\n"), Some(0.5));
        assert_eq!(system::quota("max 100000\n"), None);
    }
}
