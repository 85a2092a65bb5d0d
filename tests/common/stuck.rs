//! Notices a demo whose processes wait for one another, long before it has taken too long.

use std::time::{Duration, Instant};

/// Longer than any lesson of fork-demo leaves all its processes waiting. (`locked` does so for a
/// second, until the system ends one of them.)
const LIMIT: Duration = Duration::from_secs(5);

/// Looks at a demo again and again, and remembers since when nobody in it can go on.
pub struct Watch {
    demo: u32,
    since: Option<Instant>,
}

impl Watch {
    pub fn new(demo: u32) -> Self {
        Self { demo, since: None }
    }

    /// Whether nobody in the demo could go on for some time.
    pub fn is_stuck(&mut self) -> bool {
        // The other demos wait for programs that are not theirs, or for each other by other calls.
        if env!("CARGO_PKG_NAME") != "fork-demo" || !all_wait(self.demo) {
            self.since = None;
            return false;
        }
        self.since.get_or_insert_with(Instant::now).elapsed() > LIMIT
    }
}

/// Whether each thread of the demo, and of its descendants, waits for another one of them: for a
/// pipe, for a lock, or for a child's end.
#[cfg(target_os = "linux")]
fn all_wait(process: u32) -> bool {
    let Ok(mut threads) = std::fs::read_dir(format!("/proc/{process}/task")) else {
        return false;
    };
    threads.all(|thread| {
        let read = |name| std::fs::read_to_string(thread.as_ref().ok()?.path().join(name)).ok();
        let (call, children) = (read("syscall"), read("children").unwrap_or_default());
        let mut children = children.split_whitespace().filter_map(|id| id.parse().ok());
        call.is_some_and(|call| waits(&call)) && children.all(all_wait)
    })
}

/// Whether a system call, as `/proc` shows it, ends only when somebody else does something. (While a
/// process runs, it shows none.)
#[cfg(target_os = "linux")]
fn waits(call: &str) -> bool {
    if call == "-1 0x0 0x0\n" {
        // A zombie: it will do nothing any more.
        return true;
    }
    let mut words = call.split(' ');
    let number = words.next().and_then(|number| number.parse().ok());
    let arguments: Vec<&str> = words.collect();
    match number {
        // Stdin may come from elsewhere.
        Some(nix::libc::SYS_read) => arguments[0] != "0x0",
        // Without a time limit.
        Some(nix::libc::SYS_futex) => arguments[3] == "0x0",
        Some(nix::libc::SYS_wait4 | nix::libc::SYS_waitid) => true,
        _ => false,
    }
}

/// Elsewhere nobody tells what a process waits for.
#[cfg(not(target_os = "linux"))]
fn all_wait(_: u32) -> bool {
    false
}
