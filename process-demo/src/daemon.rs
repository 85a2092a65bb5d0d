//! Who ends with the parent, and who outlives it.
//!
//! Mirrors Python's `Process(..., daemon=True)`. Run it with `cargo run -p process-demo -- daemon`.
//!
//! What to notice: a parent that returns joins its child, or terminates it if it is a daemon. A
//! parent that is killed can do neither, in Python too. But then the system closes the parent's end
//! of a pipe. A child that reads the other end finds the end of file: it can finish its work and
//! end. A parent does not wait for a detached child.

use std::io::{self, BufRead, BufReader, Write};

use anyhow::{Context, bail};
use comfy_table::{Table, presets};

use crate::{output::say, process::Process, target};

const KINDS: [&str; 3] = ["ordinary", "daemon", "detached"];

pub fn run() -> anyhow::Result<u8> {
    // When its parent has died, a child gets a new parent: the nearest ancestor that has asked to
    // be one, as we do here, or else the system's first process. So we can reap all. (Linux only.)
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_child_subreaper(true).context("cannot adopt orphans")?;
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header([
        "the child",
        "when its parent returns",
        "when its parent is killed",
    ]);
    for kind in KINDS {
        let returned = lines_after(kind, |parent| {
            // This ends its stdin, at which it returns.
            drop(parent);
            Ok(())
        })?;
        let killed = lines_after(kind, |parent| parent.kill())?;
        table.add_row([kind.to_owned(), returned, killed]);
    }
    say!("{table}")?;
    say!("A parent that returns terminates its daemon: the daemon does not finish its work.")?;
    Ok(0)
}

/// Starts a parent with a child, ends the parent, and returns what the two wrote from then on.
fn lines_after(
    kind: &str,
    end: impl FnOnce(Process) -> anyhow::Result<()>,
) -> anyhow::Result<String> {
    let (stderr, writer) = io::pipe().context("cannot make a pipe")?;
    let mut lines = BufReader::new(stderr).lines();
    let mut parent = Process::new("parent", [kind]).stderr(writer);
    parent.start()?;
    let started = lines.next().context("the parent wrote nothing")??;
    let child = started.strip_prefix(STARTED);
    let child = child.with_context(|| format!("the parent started no child: {started:?}"))?;
    end(parent)?;
    // The lines end when both have ended: parent and child both hold the pipe's writing end.
    let lines: Vec<_> = lines.collect::<io::Result<_>>()?;
    reap_orphan(child)?;
    Ok(if lines.is_empty() {
        "it ends, and writes nothing".to_owned()
    } else {
        lines.join(", then ")
    })
}

/// Reaps a child that its parent has not reaped: it is ours now. (Elsewhere than on Linux it is the
/// first process's.)
fn reap_orphan(child: &str) -> anyhow::Result<()> {
    let _id: i32 = child.parse().context("cannot read a process id")?;
    // It fails if the parent has reaped it.
    #[cfg(target_os = "linux")]
    let _ = crate::fork::wait(nix::unistd::Pid::from_raw(_id));
    Ok(())
}

/// The parent writes it with its child's process id.
const STARTED: &str = "started ";

/// The parent: starts a child, says so, and returns when it is asked to.
///
/// (If the child said so itself, a child that is killed before would never say it, and the two who
/// wait for each other, this parent and the one who reads the line, would wait for ever.)
pub fn parent(args: &[String]) -> anyhow::Result<u8> {
    let kind = args.first().context("no kind of child")?;
    let mut child = Process::new("child", [kind]);
    match kind.as_str() {
        "daemon" => child = child.daemon(),
        "ordinary" | "detached" => {}
        _ => bail!("no such kind of child: {kind:?}"),
    }
    child.start()?;
    let id = child.pid().context("it was started")?;
    writeln!(io::stderr(), "{STARTED}{id}")?;
    target::wait_for_the_parent_to_go()?;
    if kind == "detached" {
        child.detach();
    } else {
        drop(child);
    }
    writeln!(io::stderr(), "the parent returns")?;
    Ok(0)
}

/// The child, of whatever kind: works until it finds that its parent has gone.
pub fn child(args: &[String]) -> anyhow::Result<u8> {
    if args == ["detached"] {
        // In a session of its own it has no terminal, whose Ctrl-C would end it.
        #[cfg(unix)]
        nix::unistd::setsid().context("cannot make a session")?;
    }
    target::wait_for_the_parent_to_go()?;
    writeln!(io::stderr(), "the child finishes its work")?;
    Ok(0)
}
