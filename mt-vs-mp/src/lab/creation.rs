//! The ways to create a thread or a process, each timed: from just before the call that starts it
//! until it has been joined. The new thread or process does nothing.

use std::{
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use super::role::Role;

/// A way to create a thread or a process.
pub struct Way {
    pub name: &'static str,
    /// How many of them a trial times. Together they take some milliseconds.
    pub calls: usize,
    /// Why this system does not have this way; `None` if it does.
    pub missing: fn() -> Option<&'static str>,
    /// Creates one, joins it, and returns how long that took.
    pub time: fn() -> anyhow::Result<Duration>,
}

pub const THREAD: Way = Way {
    name: "thread",
    calls: 200,
    missing: || None,
    time: thread,
};

/// By Rust's standard library. It also gives each thread a second, small stack, for the handler
/// that reports an overflow of the first.
pub const STD_THREAD: Way = Way {
    name: "thread of Rust's std",
    calls: 200,
    missing: || None,
    time: std_thread,
};

pub const FORK: Way = Way {
    name: "fork",
    calls: 30,
    missing: || cfg!(not(unix)).then_some("it exists on Unix only"),
    time: fork,
};

/// The smallest program that every Unix has.
pub const SPAWN_TRUE: Way = Way {
    name: "spawn of `true`",
    calls: 10,
    missing: || {
        the_true_program()
            .is_none()
            .then_some("there is no such program")
    },
    time: || {
        let program = the_true_program().context("there is no `true`")?;
        spawn(Command::new(program))
    },
};

/// This program, in a role that ends at once.
pub const SPAWN_SELF: Way = Way {
    name: "spawn of this program",
    calls: 10,
    missing: || None,
    time: || spawn(NOTHING.command(&())?),
};

/// This program, which does nothing and ends.
pub static NOTHING: Role<()> = Role {
    name: "nothing",
    play: |()| Ok(()),
};

/// By the call that C programs use. The library (glibc) keeps the stack of a joined thread for the
/// next thread; only the first thread needs a new stack.
#[cfg(unix)]
fn thread() -> anyhow::Result<Duration> {
    use std::{ffi::c_void, io, mem::MaybeUninit, ptr};

    use nix::libc;
    extern "C" fn nothing(_: *mut c_void) -> *mut c_void {
        ptr::null_mut()
    }
    let mut thread = MaybeUninit::uninit();
    let start = Instant::now();
    // SAFETY: `nothing` accesses nothing, and there is room for the id that is written.
    let error =
        unsafe { libc::pthread_create(thread.as_mut_ptr(), ptr::null(), nothing, ptr::null_mut()) };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error)).context("cannot start a thread");
    }
    // SAFETY: the call has written the id, and this thread is joined once.
    unsafe { libc::pthread_join(thread.assume_init(), ptr::null_mut()) };
    Ok(start.elapsed())
}

/// On other systems, the thread is that of the standard library.
#[cfg(not(unix))]
fn thread() -> anyhow::Result<Duration> {
    std_thread()
}

fn std_thread() -> anyhow::Result<Duration> {
    let start = Instant::now();
    let thread = thread::Builder::new()
        .spawn(|| {})
        .context("cannot start a thread")?;
    thread.join().expect("it cannot panic");
    Ok(start.elapsed())
}

fn fork() -> anyhow::Result<Duration> {
    let start = Instant::now();
    // SAFETY: a trial that forks has started no thread, or joined all of them.
    let child = unsafe { super::fork::child(|| Ok(())) }?;
    child.join()?;
    Ok(start.elapsed())
}

/// `Command` starts a program by `posix_spawn` where it can.
fn spawn(mut program: Command) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let status = program
        .stdout(std::process::Stdio::null())
        .status()
        .with_context(|| format!("cannot start {program:?}"))?;
    let time = start.elapsed();
    ensure!(status.success(), "{program:?} failed: {status}");
    Ok(time)
}

/// Where Unix has the program `true`; `None` on other systems.
fn the_true_program() -> Option<&'static Path> {
    let paths = ["/bin/true", "/usr/bin/true"].map(Path::new);
    paths.into_iter().find(|path| cfg!(unix) && path.exists())
}
