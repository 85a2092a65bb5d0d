//! Signals, turned into something that can be waited for.

pub use system::*;

/// A signal handler interrupts the program at any point, for example in the middle of an
/// allocation, so it may call very few functions. This one writes the signal's number into a pipe.
#[cfg(unix)]
mod system {
    use std::{
        io::{self, PipeReader, Read},
        os::fd::{AsFd, BorrowedFd, IntoRawFd},
        sync::atomic::{AtomicI32, Ordering::Relaxed},
    };

    use anyhow::Context;
    use nix::{
        errno::Errno,
        fcntl::{FcntlArg, OFlag, fcntl},
        libc,
        sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction, signal},
    };

    /// The descriptor of the pipe's writing end, for the handler.
    static PIPE: AtomicI32 = AtomicI32::new(-1);

    pub struct Signals {
        arrived: PipeReader,
    }

    impl Signals {
        pub fn new() -> anyhow::Result<Self> {
            let (arrived, pipe) = io::pipe().context("cannot make a pipe for signals")?;
            // The handler must not wait when the pipe is full: the program would stand still.
            fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).context("cannot use the pipe")?;
            PIPE.store(pipe.into_raw_fd(), Relaxed);
            let action = SigAction::new(
                SigHandler::Handler(note),
                SaFlags::SA_RESTART,
                SigSet::empty(),
            );
            for signal in SIGNALS {
                // SAFETY: the handler only calls `write`, which is allowed there, and restores
                // errno.
                unsafe { sigaction(signal, &action) }
                    .with_context(|| format!("cannot handle {signal}"))?;
            }
            // A process inherits blocked signals from the process that started it.
            unblock().context("cannot unblock signals")?;
            Ok(Self { arrived })
        }

        /// Waits for a signal that asks for the end.
        pub fn wait(&self) -> anyhow::Result<()> {
            while !self.take()?.iter().any(|&signal| asks_for_the_end(signal)) {}
            Ok(())
        }

        /// The signals that have arrived. If there is none, it waits for one.
        pub fn take(&self) -> anyhow::Result<Vec<Signal>> {
            let mut numbers = [0; 256];
            // No signal interrupts this read: the handlers have SA_RESTART.
            let count = (&self.arrived).read(&mut numbers);
            let count = count.context("cannot read the signals")?;
            let signals = numbers[..count].iter();
            Ok(signals
                .filter_map(|&number| Signal::try_from(i32::from(number)).ok())
                .collect())
        }
    }

    /// For `poll`: readable if [`Signals::take`] would not wait.
    impl AsFd for Signals {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.arrived.as_fd()
        }
    }

    const SIGNALS: [Signal; 3] = [Signal::SIGCHLD, Signal::SIGINT, Signal::SIGTERM];

    pub fn asks_for_the_end(signal: Signal) -> bool {
        signal != Signal::SIGCHLD
    }

    extern "C" fn note(signal: libc::c_int) {
        let errno = Errno::last_raw();
        let number = signal as u8;
        // SAFETY: the pointer is to one byte, and one byte is read. The descriptor is never closed
        // while this handler is in use.
        let _ = unsafe { libc::write(PIPE.load(Relaxed), (&raw const number).cast(), 1) };
        Errno::set_raw(errno);
    }

    /// The [`SIGNALS`] wait until [`unblock`].
    pub fn block() -> nix::Result<()> {
        SigSet::from_iter(SIGNALS).thread_block()
    }

    pub fn unblock() -> nix::Result<()> {
        SigSet::from_iter(SIGNALS).thread_unblock()
    }

    /// Leaves the signals to the parent. A forked child calls this while they are blocked.
    ///
    /// Ctrl-C sends SIGINT to every process of the terminal's foreground group, and `timeout`
    /// signals its whole group too. The master receives the signal, and lets the workers finish
    /// their requests.
    pub fn leave_to_the_parent() -> nix::Result<()> {
        for (number, handler) in
            SIGNALS
                .into_iter()
                .zip([SigHandler::SigDfl, SigHandler::SigIgn, SigHandler::SigIgn])
        {
            // SAFETY: neither of them runs a function of this program.
            unsafe { signal(number, handler) }?;
        }
        // The pipe is the parent's: no signal of this child belongs there.
        let _ = nix::unistd::close(PIPE.swap(-1, Relaxed));
        unblock()
    }

    #[cfg(test)]
    mod tests {
        use std::io::Write;

        use super::*;

        #[test]
        fn only_a_signal_that_asks_for_the_end_ends_the_wait() {
            assert!(!asks_for_the_end(Signal::SIGCHLD));
            assert!(asks_for_the_end(Signal::SIGINT));
            assert!(asks_for_the_end(Signal::SIGTERM));

            let (arrived, mut pipe) = io::pipe().expect("a pipe can be made");
            let signals = Signals { arrived };
            // More than are taken at once.
            let mut numbers = [Signal::SIGCHLD as u8; 257];
            numbers[256] = Signal::SIGTERM as u8;
            pipe.write_all(&numbers).expect("there is room");
            drop(pipe);
            signals.wait().expect("they can be read");
            assert_eq!(signals.take().expect("it can be read"), []);
        }
    }
}

#[cfg(not(unix))]
mod system {
    use std::sync::{
        Mutex,
        mpsc::{self, Receiver},
    };

    use anyhow::Context;

    pub struct Signals {
        arrived: Mutex<Receiver<()>>,
    }

    impl Signals {
        pub fn new() -> anyhow::Result<Self> {
            let (arrive, arrived) = mpsc::channel();
            ctrlc::set_handler(move || {
                let _ = arrive.send(());
            })
            .context("cannot handle Ctrl-C")?;
            Ok(Self {
                arrived: Mutex::new(arrived),
            })
        }

        /// Waits for Ctrl-C.
        pub fn wait(&self) -> anyhow::Result<()> {
            let arrived = self.arrived.lock();
            Ok(arrived.expect("only one thread waits").recv()?)
        }
    }
}
