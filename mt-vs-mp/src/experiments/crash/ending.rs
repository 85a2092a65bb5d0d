//! Six ways in which a worker can end in the middle of its work.

use std::{hint::black_box, panic, process, ptr};

/// A way to end.
pub struct Ending {
    pub name: &'static str,
    /// Ends the worker. Only a panic can end a thread alone: each other way ends its process.
    happen: fn(),
}

pub const ENDINGS: &[Ending] = &[
    Ending {
        name: "panic",
        // As `panic!` does, but without a message and a back trace, for which memory may be too
        // short.
        happen: || panic::resume_unwind(Box::new("a worker panics")),
    },
    Ending {
        name: "exit",
        happen: || process::exit(3),
    },
    Ending {
        name: "abort",
        happen: || process::abort(),
    },
    Ending {
        name: "segfault",
        happen: segfault,
    },
    Ending {
        name: "stack overflow",
        happen: || {
            system::limit_the_stack();
            overflow(0);
        },
    },
    // No program can catch or ignore this one.
    Ending {
        name: system::KILL,
        happen: system::kill,
    },
];

impl Ending {
    pub fn happen(&self) -> ! {
        system::leave_no_core_file();
        (self.happen)();
        unreachable!("the worker has ended")
    }
}

fn segfault() {
    let nowhere = ptr::without_provenance_mut::<u8>(16);
    // SAFETY: a volatile write to an address outside of Rust's own memory does what the hardware
    // does there. No system maps memory at address 16, so the hardware reports a fault.
    unsafe { nowhere.write_volatile(1) };
}

#[expect(unconditional_recursion, reason = "that is the lesson")]
fn overflow(depth: u64) -> u64 {
    // It is used after the call too. Otherwise the compiler could make a loop of the recursion.
    let room = black_box([depth; 64]);
    overflow(depth + 1) + room[0]
}

#[cfg(unix)]
mod system {
    use std::thread;

    use nix::sys::{
        resource::{Resource, getrlimit, setrlimit},
        signal::{Signal, raise},
    };

    pub const KILL: &str = "SIGKILL";

    /// Kills this process. SIGKILL never ends a single thread.
    pub fn kill() {
        let _ = raise(Signal::SIGKILL);
        // The signal may take a moment to arrive, and until then this thread must not go on.
        loop {
            thread::park();
        }
    }

    /// The crash is intended, so nobody needs a core file. The limit alone is not enough: Linux can
    /// give the core to a program instead of a file, and then ignores the limit.
    pub fn leave_no_core_file() {
        let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
        #[cfg(target_os = "linux")]
        let _ = nix::sys::prctl::set_dumpable(false);
    }

    /// The stack of a process's first thread may be unlimited (`ulimit -s`). Then its overflow
    /// would take all of the machine's memory.
    pub fn limit_the_stack() {
        const LIMIT: u64 = 8 << 20;
        if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_STACK) {
            let _ = setrlimit(Resource::RLIMIT_STACK, soft.min(LIMIT), hard);
        }
    }
}

#[cfg(windows)]
mod system {
    use windows_sys::Win32::System::{
        Diagnostics::Debug::{
            EXCEPTION_EXECUTE_HANDLER, EXCEPTION_POINTERS, SEM_NOGPFAULTERRORBOX, SetErrorMode,
            SetUnhandledExceptionFilter,
        },
        Threading::{GetCurrentProcess, TerminateProcess},
    };

    pub const KILL: &str = "TerminateProcess";

    /// Kills this process, as [`std::process::Child::kill`] would from outside.
    pub fn kill() {
        // SAFETY: the handle is the process's own, and always valid.
        unsafe { TerminateProcess(GetCurrentProcess(), 1) };
    }

    /// The crash is intended, so nobody needs a window or a debugger that shows it. (Such a
    /// debugger would also write to this process's stdout, which is for the answer to the
    /// laboratory.)
    pub fn leave_no_core_file() {
        unsafe extern "system" fn end(_: *const EXCEPTION_POINTERS) -> i32 {
            EXCEPTION_EXECUTE_HANDLER
        }
        // SAFETY: the filter touches no memory, and it exists as long as the program runs.
        unsafe {
            SetErrorMode(SEM_NOGPFAULTERRORBOX);
            SetUnhandledExceptionFilter(Some(end));
        }
    }

    /// On Windows every stack is limited.
    pub fn limit_the_stack() {}
}
