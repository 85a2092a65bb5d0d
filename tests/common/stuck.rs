//! Notices long before the limit that all processes of a demo wait for one another.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

/// How long all processes of a demo may wait. No lesson needs as long as that. (In fork-demo's
/// `locked`, all of them wait for a second, until a signal ends one of them.)
const LIMIT: Duration = Duration::from_secs(5);

/// Remembers since when all processes of a demo have been waiting.
pub struct Watch {
    demo: u32,
    /// The file that the demo has as its stdin.
    stdin: Option<PathBuf>,
    /// `None` if some process was not waiting at the last look.
    since: Option<Instant>,
}

impl Watch {
    pub fn new(demo: u32) -> Self {
        Self {
            demo,
            stdin: stdin_of(demo),
            since: None,
        }
    }

    /// Looks at the demo. Returns whether all its processes have been waiting, at each look, for
    /// longer than the limit.
    pub fn is_stuck(&mut self) -> bool {
        if !all_wait(self.demo, self.stdin.as_ref()) {
            self.since = None;
            return false;
        }
        self.since.get_or_insert_with(Instant::now).elapsed() > LIMIT
    }
}

/// Whether all processes of a demo wait for one another: the demo, its descendants, and the orphans
/// that it has left to this process. `stdin` is the demo's.
#[cfg(target_os = "linux")]
fn all_wait(demo: u32, stdin: Option<&PathBuf>) -> bool {
    let group = super::pid(demo);
    let mut ours = children(std::process::id());
    ours.retain(|&child| nix::unistd::getpgid(Some(super::pid(child))) == Ok(group));
    // If only zombies are left of them, a process that we do not know holds the demo's output.
    let zombie = |process: &u32| of_threads(*process, "syscall") == Some(vec![ZOMBIE.to_owned()]);
    let waits = |process: &u32| waits_with_descendants(*process, stdin);
    !ours.iter().all(zombie) && ours.iter().all(waits)
}

/// Whether each thread of the process, and of its descendants, waits in a system call: for a pipe,
/// for a connection, for a lock, or for a child's end. (A process that is stopped waits for SIGCONT.)
#[cfg(target_os = "linux")]
fn waits_with_descendants(process: u32, stdin: Option<&PathBuf>) -> bool {
    // What the demo's own stdin brings may come from outside of the demo.
    let outside = stdin_of(process).as_ref() == stdin;
    let all = |file, check: &dyn Fn(&str) -> bool| {
        of_threads(process, file).is_some_and(|texts| texts.iter().all(|text| check(text)))
    };
    // ssh waits for another host, of which nothing is known here.
    let local = all("comm", &|name| name != "ssh\n");
    let stopped = all("stat", &|stat| stat.contains(") T "));
    local
        && (stopped || all("syscall", &|call| waits(call, outside)))
        && children(process)
            .into_iter()
            .all(|child| waits_with_descendants(child, stdin))
}

#[cfg(target_os = "linux")]
pub fn children(process: u32) -> Vec<u32> {
    let lists = of_threads(process, "children").unwrap_or_default();
    let ids = lists.iter().flat_map(|list| list.split_whitespace());
    ids.filter_map(|id| id.parse().ok()).collect()
}

/// What a file in `/proc` says of each thread of a process. `None` if a thread has just ended.
#[cfg(target_os = "linux")]
fn of_threads(process: u32, file: &str) -> Option<Vec<String>> {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).ok()?;
    threads
        .map(|thread| std::fs::read_to_string(thread.ok()?.path().join(file)).ok())
        .collect()
}

fn stdin_of(process: u32) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{process}/fd/0")).ok()
}

/// What `/proc` shows as the system call of a zombie.
#[cfg(target_os = "linux")]
const ZOMBIE: &str = "-1 0x0 0x0\n";

/// Whether a system call ends only when another thread or process does something. `call` is what
/// `/proc` shows: the number of the call and its arguments. (If a thread runs, it shows `running`.)
/// A read from stdin does not count if it is from `outside` of the demo.
#[cfg(target_os = "linux")]
fn waits(call: &str, outside: bool) -> bool {
    if call == ZOMBIE {
        // The thread does nothing any more.
        return true;
    }
    let mut words = call.split(' ');
    let number = words.next().and_then(|number| number.parse().ok());
    let arguments: Vec<&str> = words.collect();
    match number {
        Some(nix::libc::SYS_read) => arguments[0] != "0x0" || !outside,
        // Stdout and stderr may be read outside of the demo.
        Some(nix::libc::SYS_write) => !["0x1", "0x2"].contains(&arguments[0]),
        // A wait for a lock, without a time limit.
        Some(nix::libc::SYS_futex) => arguments[3] == "0x0",
        // A wait for a file or a signal, without a time limit.
        Some(nix::libc::SYS_pselect6) => arguments[4] == "0x0",
        Some(nix::libc::SYS_ppoll) => arguments[2] == "0x0",
        #[cfg(target_arch = "x86_64")]
        Some(nix::libc::SYS_poll) => is_endless(arguments[2]),
        #[cfg(target_arch = "x86_64")]
        Some(nix::libc::SYS_epoll_wait) => is_endless(arguments[3]),
        Some(nix::libc::SYS_epoll_pwait) => is_endless(arguments[3]),
        Some(
            nix::libc::SYS_wait4
            | nix::libc::SYS_waitid
            | nix::libc::SYS_accept4
            | nix::libc::SYS_recvfrom
            | nix::libc::SYS_recvmsg,
        ) => true,
        _ => false,
    }
}

/// Whether a time limit, in milliseconds, is the number -1.
#[cfg(target_os = "linux")]
fn is_endless(limit: &str) -> bool {
    limit.ends_with("ffffffff")
}

/// Other systems do not say what a process waits for.
#[cfg(not(target_os = "linux"))]
fn all_wait(_: u32, _: Option<&PathBuf>) -> bool {
    false
}
