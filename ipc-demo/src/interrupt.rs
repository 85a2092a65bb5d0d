//! Ctrl-C at a moment when it would leave a file behind.
//!
//! A blocked signal is not lost: it is pending, and is delivered as soon as it is unblocked.
//! (Windows has no such signals, and there ipc-channel makes no files.)

#[cfg(unix)]
mod system {
    use nix::sys::signal::{SigSet, SigmaskHow, Signal};

    /// While this lives, the signals are blocked.
    pub struct Deferred(Option<SigSet>);

    impl Drop for Deferred {
        fn drop(&mut self) {
            if let Some(before) = self.0 {
                // It fails for a wrong argument only.
                let _ = before.thread_set_mask();
            }
        }
    }

    /// Blocks the signals by which a user ends a process.
    pub fn defer() -> Deferred {
        Deferred(signals().thread_swap_mask(SigmaskHow::SIG_BLOCK).ok())
    }

    /// Unblocks them, in a child: it inherited the mask that its parent had when it was started.
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
