//! The limits on the number of processes here, and how many more each of them allows.
//!
//! To Linux, a thread is a process that shares its memory, so each of its limits counts both.

use nix::sys::resource::Resource;

/// A limit on how many processes there may be.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    pub name: String,
    /// `None` if there is no limit, or none for this process.
    pub most: Option<u64>,
    /// How many of `most` are already in use.
    pub used: u64,
}

impl Limit {
    pub fn new(name: impl Into<String>, most: Option<u64>, used: u64) -> Self {
        Self {
            name: name.into(),
            most,
            used,
        }
    }

    /// How many more there may be.
    pub fn room(&self) -> Option<u64> {
        self.most.map(|most| most.saturating_sub(self.used))
    }
}

/// The limit that would be reached first, and how many more it allows.
pub fn first(limits: &[Limit]) -> Option<(&Limit, u64)> {
    let bounded = limits
        .iter()
        .filter_map(|limit| Some((limit, limit.room()?)));
    bounded.min_by_key(|(_, room)| *room)
}

/// The limit on the processes of a user. nix does not offer it on macOS; there,
/// `kern.maxprocperuid` tells the same limit.
#[cfg(not(target_os = "macos"))]
pub const NPROC: Option<Resource> = Some(Resource::RLIMIT_NPROC);
#[cfg(target_os = "macos")]
pub const NPROC: Option<Resource> = None;

pub use system::{exempt, of_processes, of_this_user};

#[cfg(target_os = "linux")]
mod system {
    use std::fs;

    use nix::unistd::getuid;
    use procfs::{
        Current, LoadAverage,
        process::{LimitValue, Process, all_processes},
        sys::kernel,
    };

    use super::Limit;
    use crate::lab::cgroup::groups;

    /// In `/proc/self/uid_map`: all ids are the same inside and outside.
    const ALL_IDS: &str = "0 0 4294967295";

    /// All limits that count processes. (The memory that processes need is another limit.)
    pub fn of_processes() -> Vec<Limit> {
        let all = LoadAverage::current().map_or(0, |load| load.max.into());
        let kernel = [
            (
                "kernel.pid_max",
                kernel::pid_max().ok().map(|most| most as u64),
            ),
            (
                "kernel.threads-max",
                kernel::threads_max().ok().map(u64::from),
            ),
        ];
        let kernel = kernel.map(|(name, most)| Limit::new(name, most, all));
        let groups = groups("pids").into_iter().filter_map(|group| {
            let most = group.number("pids.max")?;
            let used = group.number("pids.current").unwrap_or(0);
            let name = format!("pids.max of the control group {}", group.name);
            Some(Limit::new(name, Some(most), used))
        });
        [of_the_user()]
            .into_iter()
            .chain(kernel)
            .chain(groups)
            .collect()
    }

    /// `RLIMIT_NPROC`, which counts a user's processes and threads in all sessions.
    fn of_the_user() -> Limit {
        let name = "RLIMIT_NPROC (ulimit -u)";
        if exempt() {
            return Limit::new(format!("{name}: the administrator is exempt"), None, 0);
        }
        let limits = Process::myself().and_then(|process| process.limits());
        let most = match limits.map(|limits| limits.max_processes.soft_limit) {
            Ok(LimitValue::Value(most)) => Some(most),
            _ => None,
        };
        Limit::new(name, most, of_this_user())
    }

    /// Whether `RLIMIT_NPROC` does not limit this process. It does not limit the user root, nor a
    /// process with the capability `CAP_SYS_RESOURCE` or `CAP_SYS_ADMIN`. But it limits the root of
    /// a user namespace. See getrlimit(2).
    pub fn exempt() -> bool {
        let status = Process::myself().and_then(|process| process.status());
        let capabilities = status.map_or(0, |status| status.capeff);
        let map = fs::read_to_string("/proc/self/uid_map").unwrap_or(ALL_IDS.to_owned());
        is_exempt(getuid().is_root(), capabilities, &map)
    }

    /// For a process with these capabilities, one bit for each, in a user namespace with this map.
    fn is_exempt(root: bool, capabilities: u64, map: &str) -> bool {
        // CAP_SYS_RESOURCE and CAP_SYS_ADMIN.
        let able = capabilities & (1 << 24 | 1 << 21) != 0;
        // A user namespace other than the first one usually maps only some of the ids.
        let all_ids = map.split_whitespace().eq(ALL_IDS.split_whitespace());
        all_ids && (able || root)
    }

    /// The number of this user's processes and threads.
    pub fn of_this_user() -> u64 {
        let own = getuid().as_raw();
        let processes = all_processes().into_iter().flatten().flatten();
        let of_user = processes.filter_map(|process| {
            let status = process.status().ok()?;
            (status.ruid == own).then_some(status.threads)
        });
        of_user.sum()
    }

    #[cfg(test)]
    mod tests {
        use std::{sync::Barrier, thread};

        use super::*;

        #[test]
        fn the_administrator_of_the_whole_system_is_exempt() {
            const NAMESPACE: &str = "         0       1000          1\n";
            let all = "         0          0 4294967295\n";
            let [resource, admin, others] = [1 << 24, 1 << 21, !(1 << 24 | 1 << 21)];
            assert!(is_exempt(true, 0, all));
            assert!(is_exempt(false, resource, all) && is_exempt(false, admin, all));
            assert!(!is_exempt(false, others, all));
            assert!(!is_exempt(true, resource | admin, NAMESPACE));
        }

        #[test]
        fn all_threads_of_this_user_count() {
            let end = Barrier::new(31);
            let counted = thread::scope(|scope| {
                for _ in 0..30 {
                    scope.spawn(|| end.wait());
                }
                let counted = of_this_user();
                end.wait();
                counted
            });
            assert!(counted > 30, "{counted}");
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::process::Command;

    use super::Limit;

    /// By their names on macOS.
    pub fn of_processes() -> Vec<Limit> {
        let names = ["kern.maxproc", "kern.maxprocperuid"];
        names
            .map(|name| Limit::new(name, sysctl(name), of_this_user()))
            .into()
    }

    pub fn exempt() -> bool {
        nix::unistd::getuid().is_root()
    }

    pub fn of_this_user() -> u64 {
        let user = nix::unistd::getuid().to_string();
        let output = Command::new("ps")
            .args(["-o", "pid=", "-u", &user])
            .output();
        output.map_or(0, |output| {
            output.stdout.split(|&byte| byte == b'\n').count() as u64
        })
    }

    fn sysctl(name: &str) -> Option<u64> {
        let output = Command::new("sysctl").args(["-n", name]).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_limit_is_the_one_that_leaves_least_room() {
        let limits = [
            Limit::new("none", None, 7),
            Limit::new("wide", Some(1000), 10),
            Limit::new("high but used", Some(2000), 1900),
        ];
        assert_eq!(first(&limits), Some((&limits[2], 100)));
        assert_eq!(first(&limits[..1]), None);
        // More are in use than allowed: the limit was lowered afterwards.
        assert_eq!(Limit::new("overrun", Some(5), 9).room(), Some(0));
    }
}
