//! Ctrl-C at a moment when it would leave something behind.
//!
//! A signal that is blocked is not lost: the system keeps it until it is let in again. (Windows has
//! no such signals, and ipc-channel no sockets in directories there.)

#[cfg(unix)]
mod system {
    use nix::sys::signal::{SigSet, SigmaskHow, Signal};

    /// While this lives, whoever wants to end us has to wait.
    pub struct Deferred(Option<SigSet>);

    impl Drop for Deferred {
        fn drop(&mut self) {
            if let Some(before) = self.0 {
                // It was in force before, so it is not refused.
                let _ = before.thread_set_mask();
            }
        }
    }

    /// Blocks the signals that end a process by the user's wish.
    pub fn defer() -> Deferred {
        Deferred(signals().thread_swap_mask(SigmaskHow::SIG_BLOCK).ok())
    }

    /// In a child: lets them in. A child inherits what its parent blocked when it was started.
    pub fn allow() {
        let _ = signals().thread_unblock();
    }

    fn signals() -> SigSet {
        [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]
            .into_iter()
            .collect()
    }
}

#[cfg(not(unix))]
mod system {
    pub struct Deferred;

    pub fn defer() -> Deferred {
        Deferred
    }

    pub fn allow() {}
}

pub use system::{allow, defer};
