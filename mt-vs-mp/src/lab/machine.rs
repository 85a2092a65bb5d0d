//! The machine on which the figures were measured, and what may influence them there.

use std::{env, fs, thread};

use serde::{Deserialize, Serialize};
use sysinfo::{CpuRefreshKind, System};

use super::cgroup;

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
        // Linux tells the rest in files that no other system has.
        let file = |path| fs::read_to_string(path).ok();
        let groups = cgroup::groups("cpu");
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
            is_virtual: file("/proc/cpuinfo").and_then(|text| is_virtual(&text)),
            smt: file("/sys/devices/system/cpu/smt/active").map(|text| is_on(&text)),
            governor: file("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
                .map(|text| text.trim().to_owned()),
            huge_pages: file("/sys/kernel/mm/transparent_hugepage/enabled")
                .and_then(|text| Some(chosen(&text)?.to_owned())),
            cpu_quota: cgroup::cpu_quota(&groups),
            load_before: load(),
            load_after: None,
            // Since the group began. After the run, this is subtracted.
            throttled: cgroup::throttled(&groups),
        }
    }

    /// After the run.
    pub fn look_again(&mut self) {
        self.load_after = load();
        let now = cgroup::throttled(&cgroup::groups("cpu"));
        self.throttled = self.throttled.zip(now).map(|(before, now)| now - before);
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
    let by_groups = cgroup::memory_left(&cgroup::groups("memory"));
    by_groups.map_or(by_system, |left| left.min(by_system))
}

fn load() -> Option<f64> {
    cfg!(unix).then(|| System::load_average().one)
}

/// A hypervisor adds a flag to the processors of its guests.
fn is_virtual(processors: &str) -> Option<bool> {
    let flags = processors.lines().find(|line| line.starts_with("flags"))?;
    Some(flags.split_whitespace().any(|flag| flag == "hypervisor"))
}

fn is_on(switch: &str) -> bool {
    switch.trim() == "1"
}

/// The chosen word is in brackets: `always [madvise] never`.
fn chosen(words: &str) -> Option<&str> {
    let (_, rest) = words.split_once('[')?;
    Some(rest.split_once(']')?.0)
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

    #[test]
    fn what_makes_no_figure_worse_is_not_said() {
        let limited = Machine {
            cores: 4,
            profile: "release".to_owned(),
            cpu_quota: Some(2.0),
            throttled: Some(0.0),
            load_before: Some(2.0),
            ..Machine::look_at()
        };
        let [quota] = &limited.caveats()[..] else {
            panic!("not one: {:?}", limited.caveats());
        };
        assert!(!quota.contains("had to wait"), "{quota}");
    }

    #[test]
    fn a_single_core_is_no_cores() {
        let cores = |cores| {
            let machine = Machine {
                cores,
                ..Machine::look_at()
            };
            machine.cores_in_words()
        };
        assert_eq!([cores(1), cores(2)], ["1 core", "2 cores"]);
    }

    #[test]
    fn linux_writes_a_flag_a_switch_and_a_choice() {
        let flags = |flags| format!("processor : 0\nflags : {flags}\nbugs : hypervisor\n");
        assert_eq!(is_virtual(&flags("fpu hypervisor sse")), Some(true));
        assert_eq!(is_virtual(&flags("fpu sse")), Some(false));
        assert_eq!(is_virtual("Features : fp asimd\n"), None);
        assert_eq!(["1\n", "0\n"].map(is_on), [true, false]);
        assert_eq!(chosen("always [madvise] never\n"), Some("madvise"));
        assert_eq!(chosen("unknown\n"), None);
    }

    /// What the system's files say under a name.
    #[cfg(target_os = "linux")]
    fn told(file: &str, name: &str) -> Option<String> {
        let text = fs::read_to_string(file).expect("Linux has it");
        let mut lines = text.lines().filter_map(|line| line.split_once(':'));
        let (_, value) = lines.find(|(it, _)| it.trim() == name)?;
        Some(value.trim().to_owned())
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_machine_is_the_one_that_the_systems_files_tell_of() {
        let machine = Machine::look_at();
        if let Some(name) = told("/proc/cpuinfo", "model name") {
            assert_eq!(machine.processor, name);
        }
        let memory = told("/proc/meminfo", "MemTotal").expect("it is told");
        assert_eq!(format!("{} kB", machine.memory / 1024), memory);
        assert!((1 << 20..machine.memory).contains(&machine.memory_available));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_load_is_that_of_the_last_minute() {
        let told = || {
            let text = fs::read_to_string("/proc/loadavg").expect("Linux has it");
            let of_a_minute = text.split(' ').next().and_then(|load| load.parse().ok());
            of_a_minute.expect("it is a number")
        };
        // Every few seconds there is a new one.
        loop {
            let (before, load, after): (f64, _, f64) = (told(), load(), told());
            if before == after {
                return assert_eq!(load, Some(before));
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn after_the_run_the_load_and_the_wait_since_its_begin_are_known() {
        let mut machine = Machine::look_at();
        assert_eq!(machine.load_after, None);
        // As if the wait had become a second longer since then.
        machine.throttled = machine.throttled.map(|before| before - 1.0);
        machine.look_again();
        assert!(machine.load_after.is_some());
        // This test takes less than an hour.
        let waited = machine.throttled.unwrap_or(1.0);
        assert!((1.0..3600.0).contains(&waited), "{waited}");
        machine.throttled = None;
        machine.look_again();
        assert_eq!(machine.throttled, None);
    }
}
