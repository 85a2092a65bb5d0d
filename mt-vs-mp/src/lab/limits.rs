//! What limits the number of processes here, and how many more each limit leaves room for.
//!
//! To the system a thread is a process that shares its memory, so each of these counts both.

use std::{fs, path::Path, process::Command};

use nix::{
    sys::resource::{RLIM_INFINITY, Resource, getrlimit},
    unistd::getuid,
};

/// A limit on how many processes there may be.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    pub name: String,
    /// `None`: it limits nobody, or not us.
    pub most: Option<u64>,
    /// How many of them there are already.
    pub used: u64,
}

impl Limit {
    pub fn new(name: impl Into<String>, most: Option<u64>, used: u64) -> Self {
        let name = name.into();
        Self { name, most, used }
    }

    /// How many more there may be.
    pub fn room(&self) -> Option<u64> {
        self.most.map(|most| most.saturating_sub(self.used))
    }
}

/// Which of them would be hit first, and how many more it leaves room for.
pub fn first(limits: &[Limit]) -> Option<(&Limit, u64)> {
    let bounded = limits
        .iter()
        .filter_map(|limit| Some((limit, limit.room()?)));
    bounded.min_by_key(|(_, room)| *room)
}

/// What a user may have. On macOS nix does not offer it; `kern.maxprocperuid` says the same there.
#[cfg(not(target_os = "macos"))]
pub const NPROC: Option<Resource> = Some(Resource::RLIMIT_NPROC);
#[cfg(target_os = "macos")]
pub const NPROC: Option<Resource> = None;

/// All that count processes. What they take of memory is another matter.
pub fn of_processes() -> Vec<Limit> {
    let mut limits = Vec::from_iter(NPROC.map(of_the_user));
    // The fourth field is "running/all", of the whole system.
    let all = read("/proc/loadavg").and_then(|line| {
        let (_, all) = line.split_whitespace().nth(3)?.split_once('/')?;
        all.parse().ok()
    });
    for name in ["pid_max", "threads-max"] {
        if let Some(most) = number(Path::new("/proc/sys/kernel").join(name)) {
            let name = format!("kernel.{name}");
            limits.push(Limit::new(name, Some(most), all.unwrap_or(0)));
        }
    }
    if cfg!(target_os = "macos") {
        limits.extend(
            ["kern.maxproc", "kern.maxprocperuid"].map(|name| Limit::new(name, sysctl(name), 0)),
        );
    }
    limits.extend(of_the_control_groups());
    limits
}

/// `RLIMIT_NPROC`, which counts what a user has, in all sessions together.
fn of_the_user(limit: Resource) -> Limit {
    let name = "RLIMIT_NPROC (ulimit -u)";
    let (soft, _) = getrlimit(limit).unwrap_or((RLIM_INFINITY, RLIM_INFINITY));
    if exempt() {
        return Limit::new(format!("{name}: the administrator is exempt"), None, 0);
    }
    Limit::new(
        name,
        (soft != RLIM_INFINITY).then_some(soft),
        of_this_user(),
    )
}

/// Whether `RLIMIT_NPROC` does not bind us: it spares the user root, and who may administer
/// resources or the system (`CAP_SYS_RESOURCE`, `CAP_SYS_ADMIN`), but not the root of a user
/// namespace. See getrlimit(2).
pub fn exempt() -> bool {
    const CAPABILITIES: u64 = 1 << 24 | 1 << 21;
    let Some(capabilities) = field("/proc/self/status", "CapEff:") else {
        return getuid().is_root();
    };
    let able = u64::from_str_radix(&capabilities, 16).is_ok_and(|of| of & CAPABILITIES != 0);
    // In a namespace of users, not all of them are mapped.
    let everyone = read("/proc/self/uid_map")
        .is_none_or(|map| map.split_whitespace().eq(["0", "0", "4294967295"]));
    everyone && (able || getuid().is_root())
}

/// How many processes and threads this user has.
pub fn of_this_user() -> u64 {
    let uid = getuid().to_string();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .map(|entry| entry.path())
        // Not `self` and `thread-self`: these would be counted twice.
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.as_encoded_bytes()[0].is_ascii_digit())
        })
        .map(|process| process.join("status"))
        .filter(|status| field(status, "Uid:").as_deref() == Some(&uid))
        .filter_map(|status| field(status, "Threads:")?.parse::<u64>().ok())
        .sum()
}

/// The `pids.max` of the control group that we are in, and of those around it: containers and
/// systemd set these.
fn of_the_control_groups() -> Vec<Limit> {
    let mut limits = Vec::new();
    for line in read("/proc/self/cgroup").unwrap_or_default().lines() {
        // "hierarchy:controllers:path"; the controllers are empty in version 2.
        let mut fields = line.splitn(3, ':').skip(1);
        let mount = match fields.next() {
            Some("") => "/sys/fs/cgroup",
            Some("pids") => "/sys/fs/cgroup/pids",
            _ => continue,
        };
        let path = Path::new(fields.next().unwrap_or_default());
        for group in path.ancestors() {
            let folder = Path::new(mount).join(group.strip_prefix("/").unwrap_or(group));
            if let Some(most) = number(folder.join("pids.max")) {
                let used = number(folder.join("pids.current")).unwrap_or(0);
                let name = format!("pids.max of the control group {}", group.display());
                limits.push(Limit::new(name, Some(most), used));
            }
        }
    }
    limits
}

fn read(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// `None` also for the word `max`, which means that there is no limit.
fn number(path: impl AsRef<Path>) -> Option<u64> {
    read(path)?.trim().parse().ok()
}

/// The first word after a name at the beginning of a line.
fn field(path: impl AsRef<Path>, name: &str) -> Option<String> {
    let text = read(path)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next().map(str::to_owned)
}

fn sysctl(name: &str) -> Option<u64> {
    let output = Command::new("sysctl").args(["-n", name]).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
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
        // More than there may be: somebody lowered the limit afterwards.
        assert_eq!(Limit::new("overrun", Some(5), 9).room(), Some(0));
    }
}
