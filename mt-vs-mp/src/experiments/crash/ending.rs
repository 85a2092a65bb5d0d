//! Six ways in which a worker can come to its end in the middle of its work.

use std::{hint::black_box, process, ptr};

/// A way to end.
pub struct Ending {
    pub name: &'static str,
    /// Comes to this end. Only a panic is an end that a thread can come to alone.
    happen: fn(),
}

pub const ENDINGS: &[Ending] = &[
    Ending {
        name: "panic",
        happen: || panic!("a worker panics"),
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
    // What nobody can catch.
    Ending {
        name: system::KILL,
        happen: system::kill,
    },
];

impl Ending {
    pub fn happen(&self) -> ! {
        system::leave_no_core_file();
        (self.happen)();
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

#[cfg(unix)]
mod system {
    use std::thread;

    use nix::sys::{
        resource::{Resource, getrlimit, setrlimit},
        signal::{Signal, raise},
    };

    pub const KILL: &str = "SIGKILL";

    /// Kills this very process. There is no such end for a single thread.
    pub fn kill() {
        let _ = raise(Signal::SIGKILL);
        // It may take a moment to arrive.
        loop {
            thread::park();
        }
    }

    /// The end is intended: nobody wants to study it. With a limit alone, systems that hand cores
    /// to a program would do so all the same.
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

    /// Kills this very process, as [`std::process::Child::kill`] would from outside.
    pub fn kill() {
        // SAFETY: the handle is the process's own, and always valid.
        unsafe { TerminateProcess(GetCurrentProcess(), 1) };
    }

    /// The end is intended: nobody wants to study it, in a window or in a debugger. (A debugger that
    /// is started for it also writes where this process writes: into the answer to the laboratory.)
    pub fn leave_no_core_file() {
        unsafe extern "system" fn end(_: *const EXCEPTION_POINTERS) -> i32 {
            EXCEPTION_EXECUTE_HANDLER
        }
        // SAFETY: the filter touches nothing, and stays where it is as long as the program does.
        unsafe {
            SetErrorMode(SEM_NOGPFAULTERRORBOX);
            SetUnhandledExceptionFilter(Some(end));
        }
    }

    /// Every stack of Windows is limited.
    pub fn limit_the_stack() {}
}
