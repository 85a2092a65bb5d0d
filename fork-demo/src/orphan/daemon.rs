//! The way of a daemon: an orphan that no terminal can reach.
//!
//! `setsid` gives a process a session of its own, which has no controlling terminal: no Ctrl-C and
//! no hang-up comes from one. (It fails for a leader of a process group, such as a program that a
//! shell has started. The first fork is for that: a child leads no group.)
//!
//! But the process now leads its session, and a terminal that such a leader opens becomes its
//! controlling terminal. The second fork is for that: a child of the leader leads nothing.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::Path,
};

use anyhow::{Context, ensure};
use nix::{
    pty::openpty,
    unistd::{Pid, getpid, getsid, setsid, ttyname},
};

use crate::{child, output::say};

pub fn run() -> anyhow::Result<()> {
    let pair = openpty(None, None).context("cannot make a terminal")?;
    let terminal = ttyname(&pair.slave).context("cannot find the terminal's name")?;
    for second_fork in [false, true] {
        say!("{}", become_daemon(second_fork, &terminal)?)?;
    }
    Ok(())
}

/// Has a child go the way of a daemon, with or without its second fork, and then open a terminal.
/// Returns its own report.
fn become_daemon(second_fork: bool, terminal: &Path) -> anyhow::Result<String> {
    let (mut reports, mut reporter) = io::pipe().context("cannot make a pipe")?;
    let child = child::start(|| {
        setsid().context("cannot make a session")?;
        if !second_fork {
            return report("setsid", terminal, &mut reporter);
        }
        child::start(|| report("setsid and a second fork", terminal, &mut reporter))
            .context("cannot fork a second time")?;
        // No wait: the daemon is an orphan.
        Ok(0)
    })
    .context("cannot fork a daemon")?;
    drop(reporter);
    let status = child::wait(child)?;
    let mut text = String::new();
    reports
        .read_to_string(&mut text)
        .context("cannot read the daemon's report")?;
    ensure!(status.success(), "child {child} failed: {status}");

    let (daemon, seen) = text
        .split_once(' ')
        .context("the daemon reported nothing")?;
    if second_fork {
        // It is for us to wait only if we are process 1 (of a container) or a subreaper.
        let daemon = Pid::from_raw(daemon.parse().context("the daemon reported no id")?);
        let _ = child::reap(daemon, 0);
    }
    Ok(seen.to_owned())
}

/// The daemon: opens a terminal, and says what it had before, and has now.
fn report(way: &str, terminal: &Path, reporter: &mut impl Write) -> anyhow::Result<u8> {
    let before = has_controlling_terminal();
    let _terminal = File::open(terminal).context("cannot open the terminal")?;
    let after = has_controlling_terminal();

    let (this, session) = (getpid(), getsid(None).context("cannot find the session")?);
    let leads = if this == session { "leads" } else { "is in" };
    let has = if before { "a" } else { "no" };
    let gets = if after { "one" } else { "none" };
    write!(
        reporter,
        "{this} After {way}, process {this} {leads} session {session}, with {has} controlling \
         terminal; by opening a terminal it gets {gets}."
    )
    .context("cannot send the report")?;
    Ok(0)
}

/// The name `/dev/tty` stands for the controlling terminal of whoever opens it.
fn has_controlling_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}
