//! What Linux tells of a process's memory, in `/proc`. Elsewhere all of it is `None`.

use std::fs;

/// The memory that is nobody else's, and the page tables that map what the process has, in bytes.
///
/// Not in it: the stack that each thread and each process has in the kernel, and the kernel's notes
/// on it. These are the same for both, about 20 KiB.
#[cfg(unix)]
pub fn private(process: &str) -> Option<u64> {
    let names = ["Private_Clean:", "Private_Dirty:"];
    Some(bytes(process, "smaps_rollup", &names)? + page_tables(process)?)
}

/// The tables that say where the process's memory is, in bytes.
pub fn page_tables(process: &str) -> Option<u64> {
    bytes(process, "status", &["VmPTE:"])
}

/// How many bytes of the process's own memory lie in huge pages.
pub fn in_huge_pages(process: &str) -> Option<u64> {
    bytes(process, "smaps_rollup", &["AnonHugePages:"])
}

fn bytes(process: &str, file: &str, names: &[&str]) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/{file}")).ok()?;
    Some(kib(&text, names)? * 1024)
}

/// The sum of some lines of such a file, which look like `VmPTE:        56 kB`.
fn kib(text: &str, names: &[&str]) -> Option<u64> {
    let value = |line: &str| {
        let mut words = line.split_whitespace();
        let known = names.contains(&words.next()?);
        known.then(|| words.next()?.parse::<u64>().ok())?
    };
    text.lines()
        .filter_map(value)
        .reduce(|sum, value| sum + value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_named_lines_are_added_up_and_no_others() {
        let text =
            "Rss: 99 kB\nPrivate_Clean:   4 kB\nPrivate_Dirty:\t60 kB\nPrivate_Hugetlb: 7 kB\n";
        assert_eq!(kib(text, &["Private_Clean:", "Private_Dirty:"]), Some(64));
        assert_eq!(kib(text, &["VmPTE:"]), None);
    }
}
