//! What a process inherits from whoever started it, and must not rely on: how it treats signals.

use anyhow::Context;
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};

/// Gives two signals their default action, for this process and the children that it starts.
///
/// SIGCHLD: after `trap '' CHLD` in a shell, the system reaps every child of the programs that it
/// starts, and a wait finds none. Where it is blocked, a wait with a timeout never learns that a
/// child has ended.
///
/// SIGTERM: after `trap '' TERM`, children inherit that it is ignored, and cannot be terminated.
pub fn reset_signals() -> anyhow::Result<()> {
    for of in [Signal::SIGCHLD, Signal::SIGTERM] {
        // SAFETY: the default action is none of our code.
        unsafe { signal(of, SigHandler::SigDfl) }.with_context(|| format!("cannot reset {of}"))?;
        SigSet::from(of)
            .thread_unblock()
            .with_context(|| format!("cannot unblock {of}"))?;
    }
    Ok(())
}
