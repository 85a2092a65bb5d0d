//! What Unix has of it.

use std::thread;

use nix::sys::{
    resource::{Resource, getrlimit, setrlimit},
    signal::{Signal, raise},
};

/// What nobody can catch.
pub const KILL: &str = "SIGKILL";

/// Kills this very process. There is no such end for a single thread.
pub fn kill() {
    let _ = raise(Signal::SIGKILL);
    // It may take a moment to arrive.
    loop {
        thread::park();
    }
}

/// The end is intended: nobody wants to study it. With a limit alone, systems that hand cores to a
/// program would do so all the same.
pub fn leave_no_core_file() {
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_dumpable(false);
}

/// Where the stack of a process's first thread is unlimited, its overflow would take all of the
/// machine's memory.
pub fn limit_the_stack() {
    const LIMIT: u64 = 8 << 20;
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_STACK) {
        let _ = setrlimit(Resource::RLIMIT_STACK, soft.min(LIMIT), hard);
    }
}
