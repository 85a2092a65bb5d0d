//! A program inherits from its parent which signals are ignored and which are blocked. (In a shell,
//! `trap '' CHLD` ignores one for all programs that it starts.) Here that is reset.

use anyhow::Context;
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};

/// Unblocks all signals, and gives two of them their default action, for this process and its
/// children.
///
/// SIGCHLD tells a parent that a child has ended. If it is ignored, the system reaps each child at
/// once, and a wait fails: there is no such child any more. If it is blocked, a join with a timeout
/// waits until the time is up, even if the child ends sooner.
///
/// SIGTERM is what `terminate` sends. If we ignored it, our children would inherit that, and
/// `terminate` would not end them. A signal that a child waits for must not be blocked either.
pub fn reset_signals() -> anyhow::Result<()> {
    for which in [Signal::SIGCHLD, Signal::SIGTERM] {
        // SAFETY: the default action runs none of our code.
        unsafe { signal(which, SigHandler::SigDfl) }
            .with_context(|| format!("cannot reset {which}"))?;
    }
    SigSet::empty()
        .thread_set_mask()
        .context("cannot unblock signals")
}
