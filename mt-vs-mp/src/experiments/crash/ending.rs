//! Six ways in which a worker can come to its end in the middle of its work.

use std::{hint::black_box, process, ptr};

use serde::{Deserialize, Serialize};

#[cfg(unix)]
#[path = "ending/unix.rs"]
mod system;
#[cfg(windows)]
#[path = "ending/windows.rs"]
mod system;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    Panic,
    Exit,
    Abort,
    Segfault,
    StackOverflow,
    /// What nobody can catch: SIGKILL, or what comes next to it.
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
            Self::Kill => system::KILL,
        }
    }

    /// Comes to this end: only a panic is an end that its thread alone can come to.
    pub fn happen(self) -> ! {
        system::leave_no_core_file();
        match self {
            Self::Panic => panic!("a worker panics"),
            Self::Exit => process::exit(3),
            Self::Abort => process::abort(),
            Self::Segfault => segfault(),
            Self::StackOverflow => {
                system::limit_the_stack();
                overflow(0);
            }
            Self::Kill => system::kill(),
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
