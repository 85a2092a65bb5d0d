//! Signals may be ignored or blocked by whoever started this program. Here this is undone.

use anyhow::Context;
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};

/// Gives two signals their default action, for this process and the children that it starts.
///
/// A program inherits which signals are ignored, and which are blocked. A shell can be told to ignore
/// one: `trap '' CHLD`.
///
/// SIGCHLD tells a parent that a child has ended. If it is ignored, the system reaps each child at
/// once, and `wait` fails: there is no such child any more. If it is blocked, a join with a timeout
/// does not learn that the child has ended.
///
/// SIGTERM: if it is ignored, our children ignore it, too, and `terminate` does not end them.
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
