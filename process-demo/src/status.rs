//! How a child can end, and what its parent then sees.
//!
//! Mirrors Python's `p.exitcode`, `p.terminate()` and `p.kill()`. Run it with
//! `cargo run -p process-demo -- status`.
//!
//! What to notice: there are two kinds of endings. A child that ends itself leaves an exit code, a
//! child that is ended leaves the signal that did it; who aborts sends the signal to himself. (On
//! Windows there are only exit codes.)

use std::io::{self, BufRead, BufReader, Read, Write};

use anyhow::{Context, bail, ensure};
use comfy_table::{Table, presets};
#[cfg(unix)]
use nix::sys::resource::{Resource, setrlimit};

use crate::{output::say, process::Process, target};

/// What happens to the child, its target, and what its parent does to it.
type Ending = (&'static str, &'static str, Option<Act>);
type Act = fn(&Process) -> anyhow::Result<()>;

const ENDINGS: [Ending; 7] = [
    ("returns", "do_nothing", None),
    ("exits by code 3", "exit", None),
    ("returns an error", "fail", None),
    ("panics", "panic", None),
    ("aborts", "abort", None),
    ("is terminated", "wait", Some(Process::terminate)),
    ("is killed", "wait", Some(Process::kill)),
];

pub fn run() -> anyhow::Result<u8> {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["the child", "its parent sees", "exit_code, as in Python"]);
    let mut words = Vec::new();
    for (ending, target, act) in ENDINGS {
        let (child, stderr) = observe(target, act)?;
        let (status, code) = (child.join()?, child.exit_code()?);
        let code = code.context("a child that was joined has ended")?;
        table.add_row([ending.to_owned(), status.to_string(), code.to_string()]);
        if !stderr.is_empty() {
            words.push((ending, stderr));
        }
    }
    say!("{table}")?;
    for (ending, stderr) in words {
        say!("The child that {ending} said on stderr:")?;
        for line in stderr.lines().filter(|line| !line.is_empty()) {
            say!("  {line}")?;
        }
    }
    Ok(0)
}

/// Runs a child to its end, and returns it with what it said on its stderr.
fn observe(target: &str, act: Option<Act>) -> anyhow::Result<(Process, String)> {
    let (stderr, writer) = io::pipe()?;
    let mut stderr = BufReader::new(stderr);
    let mut child = Process::new(target, [""; 0]).stderr(writer);
    child.start()?;
    if let Some(act) = act {
        // The child says when it is past its start. A signal that comes earlier would end it too,
        // but it would end a process in which nothing of ours had run yet.
        let mut ready = String::new();
        stderr.read_line(&mut ready)?;
        ensure!(ready == READY, "the child is not ready, but says {ready:?}");
        act(&child)?;
    }
    // Before the join: a child with more to say than a pipe holds ends only when somebody reads.
    let mut said = String::new();
    stderr.read_to_string(&mut said)?;
    child.join()?;
    Ok((child, said))
}

const READY: &str = "ready\n";

// The children, one for each ending.

pub fn exit(_: &[String]) -> anyhow::Result<u8> {
    // From any place, however deep: nothing more of this process runs.
    std::process::exit(3)
}

pub fn fail(_: &[String]) -> anyhow::Result<u8> {
    bail!("an error that nobody handled")
}

pub fn panic(_: &[String]) -> anyhow::Result<u8> {
    panic!("a bug that shows at run time")
}

pub fn abort(_: &[String]) -> anyhow::Result<u8> {
    // This abort is meant: no file for the debugger need be left behind.
    #[cfg(unix)]
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    std::process::abort()
}

pub fn wait(_: &[String]) -> anyhow::Result<u8> {
    io::stderr().write_all(READY.as_bytes())?;
    target::wait_for_the_parent_to_go()?;
    Ok(0)
}
