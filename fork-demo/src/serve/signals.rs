//! Signals, turned into something that `poll` can wait for.
//!
//! The handler of a signal interrupts the program at any place, even while it allocates memory. So
//! it may do very little: it must not allocate, for instance. Here each handler writes a byte into
//! a pipe. `poll` waits for the other end of the pipe, and the program handles the signal after
//! that.

use std::{
    io::{self, PipeReader, Read},
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use nix::{
    libc::{SIGCHLD, SIGINT, SIGTERM},
    sys::signal::{SigHandler, SigSet, Signal},
};
use signal_hook::{flag, low_level::pipe};

pub struct Signals {
    /// The reading end of the pipe. Each of the signals writes a byte into the pipe.
    woken: PipeReader,
    /// Set by SIGINT and SIGTERM, which tell the server to quit.
    quit: Arc<AtomicBool>,
}

impl Signals {
    pub fn new() -> io::Result<Self> {
        let (woken, waker) = io::pipe()?;
        let quit = Arc::default();
        // The actions for a signal run in the order in which they are registered. So the flag is
        // set before the byte is written, and the program finds the flag set when it reads the
        // byte.
        for signal in [SIGINT, SIGTERM] {
            flag::register(signal, Arc::clone(&quit))?;
        }
        for signal in [SIGCHLD, SIGINT, SIGTERM] {
            pipe::register(signal, waker.try_clone()?)?;
        }
        // The process may have inherited a signal mask that blocks them.
        SigSet::from_iter([Signal::SIGCHLD, Signal::SIGINT, Signal::SIGTERM]).thread_unblock()?;
        Ok(Self { woken, quit })
    }

    /// Takes the bytes of the signals that have arrived out of the pipe. Waits for a signal if none
    /// has arrived.
    pub fn take(&mut self) -> io::Result<()> {
        // There may be one byte or several.
        let _ = self.woken.read(&mut [0; 64])?;
        Ok(())
    }

    /// Whether SIGINT or SIGTERM has arrived since the last call.
    pub fn take_quit(&self) -> bool {
        self.quit.swap(false, Ordering::Relaxed)
    }
}

/// Makes a child ignore SIGINT and SIGTERM.
///
/// Ctrl-C reaches every process of the terminal's foreground process group, and so the children
/// too. So do the signals of `timeout` and of a shell's `kill %1`. But a child should finish its
/// request. And the child has inherited the parent's handlers, which would write into the parent's
/// pipe. (A signal that reaches the child before this call does write there. The parent then wakes,
/// and finds nothing to do.)
pub fn ignore_in_child() -> nix::Result<()> {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        // SAFETY: an ignored signal runs none of our code.
        unsafe { nix::sys::signal::signal(signal, SigHandler::SigIgn) }?;
    }
    Ok(())
}

/// What `poll` waits for: readable when signals have arrived that were not taken yet.
impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.woken.as_fd()
    }
}
