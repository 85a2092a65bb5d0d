//! The control groups (cgroups) of this process: their limits, and what they use of them.
//! Containers and systemd set such limits. A group's limits also bind the groups inside it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use procfs::process::Process;

/// A control group, in the hierarchy of one controller.
pub struct Group {
    folder: PathBuf,
    /// Its path in the hierarchy; `/` is the root.
    pub name: String,
    /// Whether it belongs to version 1 of control groups, whose files have other names.
    pub is_v1: bool,
}

/// The groups of this process that have this controller, from the innermost outwards.
pub fn groups(controller: &str) -> Vec<Group> {
    let own = Process::myself().and_then(|process| process.cgroups());
    let mut groups = Vec::new();
    for hierarchy in own.map_or_else(|_| Vec::new(), |own| own.0) {
        // Version 2 has one hierarchy for all controllers, and it names none of them.
        let is_v1 = !hierarchy.controllers.iter().all(String::is_empty);
        if is_v1 && !hierarchy.controllers.iter().any(|name| name == controller) {
            continue;
        }
        let root = Path::new("/sys/fs/cgroup");
        let mount = match is_v1 {
            true => root.join(controller),
            false => root.to_owned(),
        };
        let path = Path::new(&hierarchy.pathname);
        groups.extend(path.ancestors().map(|group| Group {
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
    pub fn field(&self, file: &str, name: &str) -> Option<u64> {
        let text = self.text(file)?;
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        let (_, number) = lines.find(|(field, _)| *field == name)?;
        number.parse().ok()
    }

    /// The text of a file; `None` if it cannot be read.
    pub fn text(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.folder.join(file)).ok()
    }
}
