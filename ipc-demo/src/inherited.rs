//! What this program is protected from: what it inherits, and a library that panics.

use std::{
    any::Any,
    io,
    panic::{self, AssertUnwindSafe},
    sync::atomic::{AtomicBool, Ordering},
};

use crate::output::report_error;

/// Runs all that this program does.
///
/// # Errors
/// What `program` returns, and what the system refuses to it.
pub fn run(program: impl FnOnce() -> anyhow::Result<u8>) -> anyhow::Result<u8> {
    #[cfg(unix)]
    reset_sigchld()?;
    report_the_librarys_panics();
    // Caught, and not ended at once: so what was opened is closed, and what was made is removed.
    panic::catch_unwind(AssertUnwindSafe(program)).unwrap_or_else(the_librarys_or_ours)
}

/// Makes sure that we can wait for our children. Who starts us may ignore SIGCHLD, and we inherit
/// that: then the system reaps our children itself, and `wait` fails with "no child processes".
#[cfg(unix)]
fn reset_sigchld() -> anyhow::Result<()> {
    use anyhow::Context;
    use nix::sys::signal::{SigHandler, Signal, signal};
    // SAFETY: no handler is installed: the default action of SIGCHLD is none.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }.context("cannot reset SIGCHLD")?;
    Ok(())
}

/// Whether the library has panicked.
static LIBRARY_PANICKED: AtomicBool = AtomicBool::new(false);

/// ipc-channel 0.23 panics where the system refuses it something: a descriptor, space for a file,
/// memory to share (`platform/unix/mod.rs`: `From<io::Error> for UnixError`, `BackingStore::new`).
/// To the user of a program that is an error as any other. Our own panics stay what they are.
fn report_the_librarys_panics() {
    let default = panic::take_hook();
    panic::set_hook(Box::new(move |panic| match panic.location() {
        Some(place) if place.file().contains("ipc-channel") => {
            let error = io::Error::last_os_error();
            if !LIBRARY_PANICKED.swap(true, Ordering::Relaxed) {
                report_error(format_args!(
                    "the system refused something to ipc-channel: {error}"
                ));
            }
        }
        _ => default(panic),
    }));
}

fn the_librarys_or_ours(panic: Box<dyn Any + Send>) -> anyhow::Result<u8> {
    if LIBRARY_PANICKED.load(Ordering::Relaxed) {
        return Ok(1);
    }
    panic::resume_unwind(panic)
}
