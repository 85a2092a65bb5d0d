//! What becomes of the children when their parent ends.
//!
//! Mirrors Python's `Process(..., daemon=True)`. Run it with `cargo run -p process-demo -- daemon`.
//!
//! What to notice: a parent that returns waits for an ordinary child, and terminates a daemon. It
//! does neither for a detached child. A parent that is killed can do nothing, in Python too. But
//! then the system closes the parent's end of a pipe. A child that reads the other end finds the
//! end of file: it can finish its work, and end.

use std::io::{self, BufRead, BufReader, Write};

use anyhow::{Context, bail};
use comfy_table::{Table, presets};

use crate::{output::say, process::Process, target};

const KINDS: [&str; 3] = ["ordinary", "daemon", "detached"];

pub fn run() -> anyhow::Result<u8> {
    // A child whose parent has died is an orphan. It gets a new parent: its nearest ancestor that
    // is a subreaper, or else the system's first process. This call makes us a subreaper, so that
    // we can reap the orphans. (Linux only.)
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
            // This closes our pipe to the parent's stdin. The parent returns when its stdin ends.
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

/// Starts a parent, which starts a child. Then ends the parent, and returns what the two wrote from
/// that moment on.
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
    // Parent and child both have the pipe's writing end open, as their stderr. So the end of file
    // comes when both have ended.
    let lines: Vec<_> = lines.collect::<io::Result<_>>()?;
    reap_orphan(child)?;
    Ok(if lines.is_empty() {
        "it ends, and writes nothing".to_owned()
    } else {
        lines.join(", then ")
    })
}

/// Reaps the child if its parent did not: then we are its parent now. (Only on Linux. On another
/// system, the system's first process is its parent now, and reaps it.)
fn reap_orphan(child: &str) -> anyhow::Result<()> {
    let _id: i32 = child.parse().context("cannot read a process id")?;
    // This fails if the parent has reaped the child. So its result is ignored.
    #[cfg(target_os = "linux")]
    let _ = crate::fork::wait(nix::unistd::Pid::from_raw(_id));
    Ok(())
}

/// The parent writes this word, and the process id of its child, when it has started the child.
const STARTED: &str = "started ";

/// The parent: starts a child, writes a line about it, and returns when its own stdin ends.
///
/// The parent writes the line, and not the child, because the child could be killed before it has
/// written. Then `lines_after` would wait for the line, and this parent for the end of its stdin,
/// which comes only after the line: both would wait for ever.
pub fn parent(args: &[String]) -> anyhow::Result<u8> {
    let kind = args.first().context("no kind of child")?;
    let mut child = Process::new("child", [kind]);
    match kind.as_str() {
        "daemon" => child = child.daemon(),
        "ordinary" | "detached" => {}
        _ => bail!("no such kind of child: {kind:?}"),
    }
    child.start()?;
    let id = child.pid().context("the child was not started")?;
    writeln!(io::stderr(), "{STARTED}{id}")?;
    target::wait_for_end_of_stdin()?;
    if kind == "detached" {
        child.detach();
    } else {
        drop(child);
    }
    writeln!(io::stderr(), "the parent returns")?;
    Ok(0)
}

/// The child of each kind: works until its stdin ends, then finishes its work.
pub fn child(args: &[String]) -> anyhow::Result<u8> {
    if args == ["detached"] {
        // At Ctrl-C, the terminal sends SIGINT to its foreground process group: to a parent and its
        // children. The new session has another process group, and no terminal. So this child does
        // not get the SIGINT.
        #[cfg(unix)]
        nix::unistd::setsid().context("cannot make a session")?;
    }
    target::wait_for_end_of_stdin()?;
    writeln!(io::stderr(), "the child finishes its work")?;
    Ok(0)
}
