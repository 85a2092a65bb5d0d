//! Six ways in which a worker can come to its end in the middle of its work.

use std::{hint::black_box, process, ptr, thread};

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    Panic,
    Exit,
    Abort,
    Segfault,
    StackOverflow,
    Kill,
}

impl Ending {
    pub const ALL: [Self; 6] = [
        Self::Panic,
        Self::Exit,
        Self::Abort,
        Self::Segfault,
        Self::StackOverflow,
        Self::Kill,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Panic => "panic",
            Self::Exit => "exit",
            Self::Abort => "abort",
            Self::Segfault => "segfault",
            Self::StackOverflow => "stack overflow",
            Self::Kill => "SIGKILL",
        }
    }

    /// Comes to this end: only a panic is an end that its thread alone can come to.
    pub fn happen(self) -> ! {
        leave_no_core_file();
        match self {
            Self::Panic => panic!("a worker panics"),
            Self::Exit => process::exit(3),
            Self::Abort => process::abort(),
            Self::Segfault => segfault(),
            Self::StackOverflow => {
                limit_the_stack();
                overflow(0);
            }
            Self::Kill => kill(),
        }
        unreachable!("nothing comes after that end")
    }
}

fn segfault() {
    let nowhere = ptr::without_provenance_mut::<u8>(16);
    // SAFETY: a volatile access to an address outside all that Rust knows is what the hardware
    // makes of it. No system maps memory at so low an address, so it makes a fault of it.
    unsafe { nowhere.write_volatile(1) };
}

#[expect(unconditional_recursion, reason = "that is the lesson")]
fn overflow(depth: u64) -> u64 {
    // Used after the call too, so that no call can take the place of the one before.
    let room = black_box([depth; 64]);
    overflow(depth + 1) + room[0]
}

/// SIGKILL to this very process. There is none for a single thread.
#[cfg(unix)]
fn kill() {
    use nix::sys::signal::{Signal, raise};
    let _ = raise(Signal::SIGKILL);
    // It may take a moment to arrive.
    loop {
        thread::park();
    }
}

#[cfg(not(unix))]
fn kill() {
    thread::yield_now();
}

/// The end is intended: nobody wants to study it. With a limit alone, systems that hand cores to a
/// program would do so all the same.
#[cfg(unix)]
fn leave_no_core_file() {
    use nix::sys::resource::{Resource, setrlimit};
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_dumpable(false);
}

#[cfg(not(unix))]
fn leave_no_core_file() {}

/// Where the stack of a process's first thread is unlimited, its overflow would take all of the
/// machine's memory.
#[cfg(unix)]
fn limit_the_stack() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    const LIMIT: u64 = 8 << 20;
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_STACK) {
        let _ = setrlimit(Resource::RLIMIT_STACK, soft.min(LIMIT), hard);
    }
}

#[cfg(not(unix))]
fn limit_the_stack() {}
