//! Protects this program from an ignored SIGCHLD, which it may inherit, and from a library that
//! panics.

use std::{
    io,
    panic::{self, AssertUnwindSafe},
    sync::atomic::{AtomicBool, Ordering},
};

use crate::output::report_error;

/// Runs `program`, which is all that this program does.
///
/// # Errors
/// Those of `program`; or SIGCHLD cannot be reset.
pub fn run(program: impl FnOnce() -> anyhow::Result<u8>) -> anyhow::Result<u8> {
    #[cfg(unix)]
    reset_sigchld()?;
    report_the_librarys_panics();
    // A panic is caught here, as Python's `except` catches an exception. Before that, all values of
    // the functions that it leaves are dropped: so pipes are closed and folders are removed.
    // (`AssertUnwindSafe`: no value that the panic has left half changed is used afterwards.)
    // Then the panic has been printed, and the exit code is 1.
    panic::catch_unwind(AssertUnwindSafe(program)).unwrap_or(Ok(1))
}

/// Makes sure that this program can wait for its children. If its parent ignores SIGCHLD, it
/// inherits that. Then the system reaps the children itself, and `wait` fails with "no child
/// processes".
#[cfg(unix)]
fn reset_sigchld() -> anyhow::Result<()> {
    use anyhow::Context;
    use nix::sys::signal::{SigHandler, Signal, signal};
    // SAFETY: this installs no handler. The default action of SIGCHLD is to do nothing.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }.context("cannot reset SIGCHLD")?;
    Ok(())
}

/// Whether the library has panicked.
static LIBRARY_PANICKED: AtomicBool = AtomicBool::new(false);

/// ipc-channel 0.23 panics where the system refuses it something: a descriptor, space for a file,
/// memory to share (`platform/unix/mod.rs`: `From<io::Error> for UnixError`, `BackingStore::new`).
/// For the user of this program that is an error as any other, so it is printed as one line. A
/// panic of this program's own code is a bug, and is printed as usual.
fn report_the_librarys_panics() {
    let default = panic::take_hook();
    panic::set_hook(Box::new(move |panic| match panic.location() {
        Some(place) if place.file().contains("ipc-channel") => {
            let error = io::Error::last_os_error();
            // Only the first panic is printed. Others may follow from it.
            if !LIBRARY_PANICKED.swap(true, Ordering::Relaxed) {
                report_error(format_args!(
                    "the system refused something to ipc-channel: {error}"
                ));
            }
        }
        _ => default(panic),
    }));
}
