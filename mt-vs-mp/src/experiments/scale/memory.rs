//! What a process has of memory for itself.

use std::fs;

/// The memory that is nobody else's (`Private_*` in `smaps_rollup`), and the page tables that map
/// what it has (`VmPTE`), in bytes. `None` where the system does not say.
///
/// Not in it: the stack that each thread and each process has in the kernel, and the kernel's notes
/// on it. These are the same for both, about 20 KiB.
pub fn private(process: &str) -> Option<u64> {
    let of = |file, names: &[&str]| {
        let text = fs::read_to_string(format!("/proc/{process}/{file}")).ok()?;
        Some(kib(&text, names) * 1024)
    };
    let pages = of("smaps_rollup", &["Private_Clean:", "Private_Dirty:"])?;
    Some(pages + of("status", &["VmPTE:"])?)
}

/// The sum of some lines of such a file: `VmPTE:        56 kB`.
fn kib(text: &str, names: &[&str]) -> u64 {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let known = names.contains(&words.next()?);
            known.then(|| words.next()?.parse::<u64>().ok())?
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_named_lines_are_added_up_and_no_others() {
        let text =
            "Rss: 99 kB\nPrivate_Clean:   4 kB\nPrivate_Dirty: 60 kB\nPrivate_Hugetlb: 7 kB\n";
        assert_eq!(kib(text, &["Private_Clean:", "Private_Dirty:"]), 64);
        assert_eq!(kib(text, &["VmPTE:"]), 0);
    }
}
