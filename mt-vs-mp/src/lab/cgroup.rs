//! The control groups (cgroups) of this process: their limits, and what they use of them.
//! Containers and systemd set such limits. A group's limits also bind the groups inside it.
//!
//! Only Linux has control groups. Elsewhere, this process belongs to none.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A control group, in the hierarchy of one controller.
pub struct Group {
    folder: PathBuf,
    /// Its path in the hierarchy; `/` is the root.
    #[cfg_attr(
        not(target_os = "linux"),
        allow(dead_code, reason = "there is no group whose name could be told")
    )]
    pub name: String,
    /// Whether it belongs to version 1 of control groups, whose files have other names.
    is_v1: bool,
}

/// The groups of this process that have this controller, from the innermost outwards.
pub fn groups(controller: &str) -> Vec<Group> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    listed(&own, controller)
}

/// The groups in such a list, which has a line for each hierarchy: `4:cpu,cpuacct:/a/b`.
fn listed(list: &str, controller: &str) -> Vec<Group> {
    let mut groups = Vec::new();
    for line in list.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        // Version 2 has one hierarchy for all controllers, and it names none of them: `0::/a/b`.
        let is_v1 = !controllers.is_empty();
        if is_v1 && !controllers.split(',').any(|name| name == controller) {
            continue;
        }
        let root = Path::new("/sys/fs/cgroup");
        let mount = match is_v1 {
            true => root.join(controller),
            false => root.to_owned(),
        };
        groups.extend(Path::new(path).ancestors().map(|group| Group {
            folder: mount.join(group.strip_prefix("/").unwrap_or(group)),
            name: group.display().to_string(),
            is_v1,
        }));
    }
    groups
}

impl Group {
    /// The number in a file. `None` if there is none, or the word `max`, which means no limit.
    pub fn number(&self, file: &str) -> Option<u64> {
        self.text(file)?.trim().parse().ok()
    }

    /// The number after a name, in a file with lines of a name and a number.
    fn field(&self, file: &str, name: &str) -> Option<u64> {
        let text = self.text(file)?;
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        let (_, number) = lines.find(|(field, _)| *field == name)?;
        number.parse().ok()
    }

    /// The text of a file; `None` if it cannot be read.
    fn text(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.folder.join(file)).ok()
    }
}

/// How many processors the groups may use on average: the smallest of their quotas.
pub fn cpu_quota(groups: &[Group]) -> Option<f64> {
    let quotas = groups.iter().filter_map(|group| {
        if group.is_v1 {
            let quota = group.number("cpu.cfs_quota_us")?;
            return Some(quota as f64 / group.number("cpu.cfs_period_us")? as f64);
        }
        // "50000 100000" is half a processor; "max 100000" is no limit.
        let text = group.text("cpu.max")?;
        let (quota, period) = text.trim().split_once(' ')?;
        let [quota, period] = [quota, period].map(str::parse::<f64>);
        Some(quota.ok()? / period.ok()?)
    });
    quotas.reduce(f64::min)
}

/// The longest time for which the quota of one of the groups has made it wait, in seconds.
pub fn throttled(groups: &[Group]) -> Option<f64> {
    let times = groups.iter().filter_map(|group| {
        if group.is_v1 {
            return Some(group.field("cpu.stat", "throttled_time")? as f64 / 1e9);
        }
        Some(group.field("cpu.stat", "throttled_usec")? as f64 / 1e6)
    });
    times.reduce(f64::max)
}

/// The least memory that one of the groups still allows, in bytes. Cached files do not count as
/// used: if memory is needed, the system drops them first.
pub fn memory_left(groups: &[Group]) -> Option<u64> {
    let left = groups.iter().filter_map(|group| {
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

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// A group whose folder has these files, with their texts.
    fn group(is_v1: bool, files: &[(&str, &str)]) -> (TempDir, Group) {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        for (name, text) in files {
            fs::write(folder.path().join(name), text).expect("it can be written");
        }
        let group = Group {
            folder: folder.path().to_owned(),
            name: "/".to_owned(),
            is_v1,
        };
        (folder, group)
    }

    /// What `read` makes of three groups. The outer and the inner have these files, and between
    /// them lies one without.
    fn of<T>(
        is_v1: bool,
        [inner, outer]: [&[(&str, &str)]; 2],
        read: impl Fn(&[Group]) -> Option<T>,
    ) -> Option<T> {
        let (folders, groups): (Vec<_>, Vec<_>) = [inner, &[], outer]
            .map(|files| group(is_v1, files))
            .into_iter()
            .unzip();
        let read = read(&groups);
        drop(folders);
        read
    }

    #[cfg(unix)]
    #[test]
    fn a_process_is_in_the_groups_of_its_list_and_in_those_around_them() {
        const LIST: &str = "5:memory:/a:b/c\n4:cpu,cpuacct:/d\n1:name=systemd:/e\n\nnonsense\n";
        let found = |list, controller| -> Vec<_> {
            let groups = listed(list, controller).into_iter();
            let parts = groups.map(|it| (it.name, it.folder.display().to_string(), it.is_v1));
            parts.collect()
        };
        let expected = |groups: &[(&str, &str, bool)]| -> Vec<_> {
            let owned = |&(name, folder, is_v1): &(&str, &str, bool)| {
                (name.to_owned(), format!("/sys/fs/cgroup{folder}"), is_v1)
            };
            groups.iter().map(owned).collect()
        };
        let of_memory = [
            ("/a:b/c", "/memory/a:b/c", true),
            ("/a:b", "/memory/a:b", true),
            ("/", "/memory/", true),
        ];
        assert_eq!(found(LIST, "memory"), expected(&of_memory));
        let of_cpu = [("/d", "/cpu/d", true), ("/", "/cpu/", true)];
        assert_eq!(found(LIST, "cpu"), expected(&of_cpu));
        assert_eq!(found(LIST, "pids"), []);
        // In version 2, each group may have any controller.
        let of_v2 = [
            ("/a/b", "/a/b", false),
            ("/a", "/a", false),
            ("/", "/", false),
        ];
        assert_eq!(found("0::/a/b\n", "pids"), expected(&of_v2));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_outermost_group_of_this_process_is_the_root() {
        // Either hierarchy of processes has a controller of this name, or it names none.
        let groups = ["memory", "pids", "cpu"].map(groups);
        let all = groups.iter().filter(|groups| !groups.is_empty());
        assert!(all.clone().count() > 0, "Linux without control groups");
        for groups in all {
            assert_eq!(groups[groups.len() - 1].name, "/");
        }
    }

    #[test]
    fn the_smallest_quota_of_processors_counts() {
        let quota = |is_v1, inner: &[_], outer: &[_]| of(is_v1, [inner, outer], cpu_quota);
        let v2 = |text| [("cpu.max", text)];
        let (half, three) = (v2("50000 100000\n"), v2("300000 100000\n"));
        assert_eq!(quota(false, &half, &three), Some(0.5));
        assert_eq!(quota(false, &three, &half), Some(0.5));
        assert_eq!(quota(false, &v2("max 100000\n"), &three), Some(3.0));
        assert_eq!(quota(false, &v2("max 100000\n"), &[]), None);
        let v1 = |quota| {
            [
                ("cpu.cfs_quota_us", quota),
                ("cpu.cfs_period_us", "100000\n"),
            ]
        };
        assert_eq!(quota(true, &v1("-1\n"), &v1("150000\n")), Some(1.5));
        // A file of the other version is none.
        assert_eq!(quota(true, &half, &half), None);
        assert_eq!(quota(false, &v1("150000\n"), &[]), None);
    }

    #[test]
    fn the_longest_wait_because_of_a_quota_counts_in_seconds() {
        let wait = |is_v1, inner, outer| {
            let files = [inner, outer].map(|text| [("cpu.stat", text)]);
            of(is_v1, [&files[0], &files[1]], throttled)
        };
        let [short, long] = [
            "throttled_usec 500000\n",
            "nr_periods 9\nthrottled_usec 2500000\n",
        ];
        assert_eq!(wait(false, short, long), Some(2.5));
        assert_eq!(wait(false, long, short), Some(2.5));
        assert_eq!(wait(false, "nr_periods 9\n", "usage_usec 8\n"), None);
        let [short, long] = ["throttled_time 500000000\n", "throttled_time 2500000000\n"];
        assert_eq!(wait(true, short, long), Some(2.5));
        assert_eq!(wait(true, "throttled_usec 500000\n", ""), None);
    }

    #[test]
    fn the_least_memory_that_is_left_counts_and_files_in_memory_are_not_in_use() {
        let left = |inner: &[_], outer: &[_]| of(false, [inner, outer], memory_left);
        let group = |limit, used, stat| {
            [
                ("memory.max", limit),
                ("memory.current", used),
                ("memory.stat", stat),
            ]
        };
        let narrow = group("1000\n", "700\n", "anon 5\ninactive_file 200\n");
        let wide = group("2000\n", "700\n", "");
        assert_eq!(left(&narrow, &wide), Some(500));
        assert_eq!(left(&wide, &narrow), Some(500));
        assert_eq!(left(&group("max\n", "700\n", ""), &wide), Some(1300));
        assert_eq!(left(&group("max\n", "700\n", ""), &[]), None);
        // The limit was lowered to less than what is in use.
        assert_eq!(left(&group("600\n", "700\n", ""), &wide), Some(0));
        let v1 = [
            ("memory.limit_in_bytes", "1000\n"),
            ("memory.usage_in_bytes", "700\n"),
            ("memory.stat", "inactive_file 9\ntotal_inactive_file 100\n"),
        ];
        assert_eq!(of(true, [&v1, &v1], memory_left), Some(400));
        assert_eq!(of(true, [&narrow, &narrow], memory_left), None);
    }
}
