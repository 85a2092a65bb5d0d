//! What the control groups that this process is in limit, and what they count. Containers and
//! systemd set such limits; those of the groups around a group bind it too.

use std::{
    fs,
    path::{Path, PathBuf},
};

use procfs::process::Process;

/// A control group, in the hierarchy of one controller.
pub struct Group {
    folder: PathBuf,
    /// As the system calls it: `/` is the root.
    pub name: String,
    /// Of the two versions of control groups, the files of the older have other names.
    pub is_v1: bool,
}

/// The groups that this process is in, from the innermost outwards.
pub fn groups(controller: &str) -> Vec<Group> {
    let own = Process::myself().and_then(|process| process.cgroups());
    let mut groups = Vec::new();
    for of in own.map_or_else(|_| Vec::new(), |own| own.0) {
        // In version 2 there is one hierarchy for all controllers, and it names none.
        let is_v1 = !of.controllers.iter().all(String::is_empty);
        if is_v1 && !of.controllers.iter().any(|name| name == controller) {
            continue;
        }
        let root = Path::new("/sys/fs/cgroup");
        let mount = match is_v1 {
            true => root.join(controller),
            false => root.to_owned(),
        };
        let path = Path::new(&of.pathname);
        groups.extend(path.ancestors().map(|group| Group {
            folder: mount.join(group.strip_prefix("/").unwrap_or(group)),
            name: group.display().to_string(),
            is_v1,
        }));
    }
    groups
}

impl Group {
    /// A file that holds a number; `None` also for the word `max`, which means that there is no
    /// limit.
    pub fn number(&self, file: &str) -> Option<u64> {
        self.text(file)?.trim().parse().ok()
    }

    /// The number after a name, in a file of lines of both.
    pub fn field(&self, file: &str, name: &str) -> Option<u64> {
        let text = self.text(file)?;
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        let (_, number) = lines.find(|(field, _)| *field == name)?;
        number.parse().ok()
    }

    pub fn text(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.folder.join(file)).ok()
    }
}
