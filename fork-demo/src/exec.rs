//! A new program in the same process: what `exec` leaves, and what it takes away.
//!
//! `fork` makes a process, and `exec` puts a new program into it. These are the two steps by which
//! Unix starts a program. Between them the child can set what the new program will find.
//!
//! Mirrors Python's `os.fork()` followed by `os.execv()`. Run it with `cargo run -p fork-demo --
//! exec`.
//!
//! What to notice: the process id stays the same, and so does what the system keeps *about* the
//! process: its directory, its open descriptors, which signals it ignores and blocks. What was *in*
//! its memory is gone: variables, threads, and the code of signal handlers. A library that starts
//! programs need not fork: see [`command`].

use std::{
    env,
    ffi::CString,
    io,
    mem::MaybeUninit,
    os::{
        fd::{AsRawFd, RawFd},
        unix::ffi::OsStringExt,
    },
    ptr,
    sync::atomic::{AtomicU8, Ordering},
    thread,
};

use anyhow::Context;
use nix::{
    libc,
    sys::signal::{SigHandler, SigSet, Signal, signal},
    unistd::{dup, execv, getpid},
};

use crate::{child, output::say, process_table};

mod command;

static VARIABLE: AtomicU8 = AtomicU8::new(1);

pub fn run() -> anyhow::Result<u8> {
    let child = child::start(prepare_and_exec).context("cannot fork")?;
    let status = child::wait(child)?;
    let code = status.code().and_then(|code| code.try_into().ok());
    let code = code.with_context(|| format!("child {child} did not end by itself: {status}"))?;
    if code == 0 {
        command::run()?;
    }
    // A child that failed has printed why.
    Ok(code)
}

/// What the child does: it sets what the new program may find, and becomes that program.
fn prepare_and_exec() -> anyhow::Result<u8> {
    let this = env::current_exe().context("cannot find this program")?;
    // Rust marks each descriptor that it opens as close-on-exec. A copy by the system call `dup` is
    // not marked. (Python's `os.dup` marks its copy.)
    let (marked, _writer) = io::pipe().context("cannot make a pipe")?;
    let unmarked = dup(&marked).context("cannot copy a descriptor")?;
    env::set_current_dir("/").context("cannot go to /")?;
    // SAFETY: this child has no other thread yet.
    unsafe { env::set_var("LESSON", "exec") };
    // SAFETY: the handler does nothing.
    unsafe {
        signal(Signal::SIGUSR1, SigHandler::SigIgn)
            .context("cannot set the disposition of SIGUSR1")?;
        signal(Signal::SIGUSR2, SigHandler::Handler(nothing))
            .context("cannot set the disposition of SIGUSR2")?;
    }
    SigSet::from(Signal::SIGALRM)
        .thread_block()
        .context("cannot block SIGALRM")?;
    VARIABLE.store(2, Ordering::Relaxed);
    thread::Builder::new()
        .spawn(|| {
            loop {
                thread::park()
            }
        })
        .context("cannot start a thread")?;

    let descriptors = [unmarked.as_raw_fd(), marked.as_raw_fd()];
    say!("Before exec, in the forked child:")?;
    report(descriptors)?;

    let mut words = vec![CString::new(this.into_os_string().into_vec())?];
    for word in ["after-exec".to_owned()]
        .into_iter()
        .chain(descriptors.map(|fd| fd.to_string()))
    {
        words.push(CString::new(word)?);
    }
    let program = &words[0];
    // (This is the system call alone. The `exec` of Rust's `Command` resets SIGPIPE before it.)
    execv(program, &words).with_context(|| format!("cannot exec {program:?}"))?;
    Ok(0)
}

/// What the new program does.
pub fn after(descriptors: [RawFd; 2]) -> anyhow::Result<u8> {
    say!("After exec, in the new program:")?;
    report(descriptors)?;
    Ok(0)
}

/// Prints what the process finds.
fn report([unmarked, marked]: [RawFd; 2]) -> anyhow::Result<()> {
    let directory = env::current_dir().context("cannot find the working directory")?;
    say!("  process id: {}", getpid())?;
    say!("  descriptor: {}", open(unmarked))?;
    say!("  descriptor, close-on-exec: {}", open(marked))?;
    say!(
        "  variable LESSON of the environment: {:?}",
        env::var("LESSON").ok()
    )?;
    say!("  working directory: {}", directory.display())?;
    say!("  SIGUSR1, ignored: {}", disposition(Signal::SIGUSR1)?)?;
    say!(
        "  SIGUSR2, with a handler: {}",
        disposition(Signal::SIGUSR2)?
    )?;
    // The signal mask is the set of the signals that are blocked.
    let mask = SigSet::thread_get_mask().context("cannot read the signal mask")?;
    say!("  SIGALRM blocked: {}", mask.contains(Signal::SIGALRM))?;
    say!("  variable in memory: {}", VARIABLE.load(Ordering::Relaxed))?;
    say!("  threads: {}", process_table::threads(getpid())?)
}

fn open(descriptor: RawFd) -> &'static str {
    // SAFETY: the call only asks about a number. It fails if no descriptor has this number.
    match unsafe { libc::fcntl(descriptor, libc::F_GETFD) } {
        -1 => "closed",
        _ => "open",
    }
}

extern "C" fn nothing(_: libc::c_int) {}

/// What the process does when this signal arrives.
fn disposition(signal: Signal) -> anyhow::Result<&'static str> {
    let mut now = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: the null pointer says that nothing is to be set. The call writes to `now`, which is
    // ours.
    let result = unsafe { libc::sigaction(signal as _, ptr::null(), now.as_mut_ptr()) };
    nix::errno::Errno::result(result).with_context(|| format!("cannot ask about {signal}"))?;
    // SAFETY: the call succeeded, so it has written to `now`.
    Ok(match unsafe { now.assume_init() }.sa_sigaction {
        libc::SIG_DFL => "default",
        libc::SIG_IGN => "ignored",
        _ => "handled",
    })
}
