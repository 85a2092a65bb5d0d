//! Notices long before the limit that all processes of a demo wait for one another.

use std::time::{Duration, Instant};

/// How long all processes of fork-demo may wait. No lesson needs as long as that. (In `locked`, all
/// of them wait for a second, until a signal ends one of them.)
const LIMIT: Duration = Duration::from_secs(5);

/// Remembers since when all processes of a demo have been waiting.
pub struct Watch {
    demo: u32,
    /// `None` if some process was not waiting at the last look.
    since: Option<Instant>,
}

impl Watch {
    pub fn new(demo: u32) -> Self {
        Self { demo, since: None }
    }

    /// Looks at the demo. Returns whether all its processes have been waiting, at each look, for
    /// longer than the limit.
    pub fn is_stuck(&mut self) -> bool {
        // The other demos also wait for programs that are not part of them, or by system calls that
        // `waits` does not know.
        if env!("CARGO_PKG_NAME") != "fork-demo" || !all_wait(self.demo) {
            self.since = None;
            return false;
        }
        self.since.get_or_insert_with(Instant::now).elapsed() > LIMIT
    }
}

/// Whether each thread of the process, and of its descendants, waits in a system call: for a pipe,
/// for a lock, or for a child's end.
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

/// Whether a system call ends only when another thread or process does something. `call` is what
/// `/proc` shows: the number of the call and its arguments. (If a thread runs, it shows `running`.)
#[cfg(target_os = "linux")]
fn waits(call: &str) -> bool {
    if call == "-1 0x0 0x0\n" {
        // The thread is a zombie, and does nothing any more.
        return true;
    }
    let mut words = call.split(' ');
    let number = words.next().and_then(|number| number.parse().ok());
    let arguments: Vec<&str> = words.collect();
    match number {
        // A read. (A read from stdin does not count: the data may come from outside of the demo.)
        Some(nix::libc::SYS_read) => arguments[0] != "0x0",
        // A wait for a lock, without a time limit.
        Some(nix::libc::SYS_futex) => arguments[3] == "0x0",
        Some(nix::libc::SYS_wait4 | nix::libc::SYS_waitid) => true,
        _ => false,
    }
}

/// Other systems do not say what a process waits for.
#[cfg(not(target_os = "linux"))]
fn all_wait(_: u32) -> bool {
    false
}
