//! How a child can end, and what its parent then sees.
//!
//! Mirrors Python's `p.exitcode`, `p.terminate()` and `p.kill()`. Run it with
//! `cargo run -p process-demo -- status`.
//!
//! What to notice: a child can end in two ways. If it exits, its parent sees an exit code. If a
//! signal ends it, its parent sees the number of the signal. It does not matter which process sent
//! the signal: an abort is a signal that the child sends to itself. (Windows has only exit codes.)

use std::io::{self, BufRead, BufReader, Read, Write};

use anyhow::{Context, bail, ensure};
use comfy_table::{Table, presets};
#[cfg(unix)]
use nix::sys::resource::{Resource, setrlimit};

use crate::{
    output::say,
    process::{NO_ARGS, Process},
    target,
};

/// How the child ends, the name of its function, and what its parent does to it, if anything.
type Ending = (&'static str, &'static str, Option<Act>);
type Act = fn(&Process) -> anyhow::Result<()>;

const ENDINGS: &[Ending] = &[
    ("returns", "do_nothing", None),
    ("exits by code 3", "exit", None),
    ("returns an error", "fail", None),
    ("panics", "panic", None),
    ("aborts", "abort", None),
    ("is terminated", "wait", Some(Process::terminate)),
    ("is killed", "wait", Some(Process::kill)),
    // The real-time signals have no names, only numbers. SIGRTMIN is the number of the first one.
    #[cfg(target_os = "linux")]
    ("sends itself SIGRTMIN", "send_itself_sigrtmin", None),
];

pub fn run() -> anyhow::Result<u8> {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["the child", "its parent sees", "exit_code, as in Python"]);
    let mut messages = Vec::new();
    for &(ending, target, act) in ENDINGS {
        let (child, stderr) = observe(target, act)?;
        let (status, code) = (child.join()?, child.exit_code()?);
        let code = code.context("a child that was joined has ended")?;
        table.add_row([ending.to_owned(), status.to_string(), code.to_string()]);
        if !stderr.is_empty() {
            messages.push((ending, stderr));
        }
    }
    say!("{table}")?;
    for (ending, stderr) in messages {
        say!("The child that {ending} wrote to stderr:")?;
        for line in stderr.lines().filter(|line| !line.is_empty()) {
            say!("  {line}")?;
        }
    }
    Ok(0)
}

/// Starts a child and waits for its end. Returns the child, and what it wrote to stderr.
fn observe(target: &str, act: Option<Act>) -> anyhow::Result<(Process, String)> {
    let (stderr, writer) = io::pipe().context("cannot make a pipe")?;
    let mut stderr = BufReader::new(stderr);
    let mut child = Process::new(target, NO_ARGS).stderr(writer);
    child.start()?;
    if let Some(act) = act {
        // First wait until the child's function runs. A signal that is sent earlier would end the
        // child before it has done anything.
        let mut ready = String::new();
        let read = stderr.read_line(&mut ready);
        read.context("cannot read the child's stderr")?;
        ensure!(
            ready == READY,
            "the child is not ready, but wrote {ready:?}"
        );
        act(&child)?;
    }
    // We read before the join. In the other order, a child that writes more than a pipe holds (64
    // KiB on Linux) would wait in its write until we read, and we would wait in the join until the
    // child ends: a deadlock. (No child of this lesson writes so much.)
    let mut written = String::new();
    let read = stderr.read_to_string(&mut written);
    read.context("cannot read the child's stderr")?;
    child.join()?;
    Ok((child, written))
}

/// The line that a child writes when its function runs.
const READY: &str = "ready\n";

// The functions that the children run, one for each ending.

pub fn exit(_: &[String]) -> anyhow::Result<u8> {
    // This ends the process at once, in whatever function it is called. No value is dropped.
    std::process::exit(3)
}

pub fn fail(_: &[String]) -> anyhow::Result<u8> {
    bail!("an error that nobody handled")
}

pub fn panic(_: &[String]) -> anyhow::Result<u8> {
    panic!("a bug that shows at run time")
}

pub fn abort(_: &[String]) -> anyhow::Result<u8> {
    // This abort is intended, so no core file is wanted (a copy of the memory, for a debugger).
    #[cfg(unix)]
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    std::process::abort()
}

#[cfg(target_os = "linux")]
pub fn send_itself_sigrtmin(_: &[String]) -> anyhow::Result<u8> {
    use nix::libc;
    // SAFETY: the default action of this signal ends the process, and runs none of our code.
    unsafe {
        // (It may have been inherited as ignored.)
        libc::signal(libc::SIGRTMIN(), libc::SIG_DFL);
        libc::raise(libc::SIGRTMIN());
    }
    bail!("SIGRTMIN did not end this process")
}

pub fn wait(_: &[String]) -> anyhow::Result<u8> {
    io::stderr().write_all(READY.as_bytes())?;
    target::wait_for_end_of_stdin()?;
    Ok(0)
}
