//! Signals, turned into something that `poll` can wait for.
//!
//! A signal's handler may do next to nothing: it interrupts the program anywhere, in the middle of
//! an allocation too. So ours write a byte into a pipe, and the program deals with the signal when
//! it comes round to reading that.

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
    /// Gets a byte whenever one of our signals arrives.
    woken: PipeReader,
    /// Whether one of them asked for the end.
    end: Arc<AtomicBool>,
}

impl Signals {
    pub fn new() -> io::Result<Self> {
        let (woken, waker) = io::pipe()?;
        let end = Arc::default();
        // The flags come first: who is woken finds them set.
        for signal in [SIGINT, SIGTERM] {
            flag::register(signal, Arc::clone(&end))?;
        }
        for signal in [SIGCHLD, SIGINT, SIGTERM] {
            pipe::register(signal, waker.try_clone()?)?;
        }
        // Whoever started us may have had them blocked, and then so have we.
        SigSet::from_iter([Signal::SIGCHLD, Signal::SIGINT, Signal::SIGTERM]).thread_unblock()?;
        Ok(Self { woken, end })
    }

    /// Takes note that signals have arrived; waits for one if none has.
    pub fn take(&mut self) -> io::Result<()> {
        // Signals that arrived together may have left one byte or many.
        let _ = self.woken.read(&mut [0; 64])?;
        Ok(())
    }

    /// Whether SIGINT or SIGTERM has arrived since the last call.
    pub fn take_end(&self) -> bool {
        self.end.swap(false, Ordering::Relaxed)
    }
}

/// In a child: ignores SIGINT and SIGTERM.
///
/// Ctrl-C goes to every process of the terminal's foreground group, so to the children too, and so
/// do the signals of `timeout` and of a shell's `kill %1`. The requests under way are to be answered
/// all the same. And the parent's handlers, which the child has a copy of, would write into the
/// parent's pipe. (One that arrives before this call does so. Then the parent wakes for nothing.)
pub fn ignore_in_child() -> nix::Result<()> {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        // SAFETY: to ignore a signal runs none of our code.
        unsafe { nix::sys::signal::signal(signal, SigHandler::SigIgn) }?;
    }
    Ok(())
}

/// Readable when signals have arrived that were not taken yet.
impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.woken.as_fd()
    }
}
