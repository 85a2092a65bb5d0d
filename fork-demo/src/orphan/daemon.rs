//! How a process becomes a daemon: it serves in the background, as an orphan without a terminal.
//!
//! A session is a set of process groups, and has one controlling terminal or none. The programs of
//! one command line are a process group, and Ctrl-C reaches the group in the foreground. `setsid`
//! makes a new session, which has no controlling terminal. So no terminal sends Ctrl-C to it, or
//! SIGHUP when it is closed. The process that calls `setsid` becomes the leader of the new session,
//! and of a new process group in it.
//!
//! The first fork is needed because `setsid` fails in a process that already leads a process group.
//! An interactive shell makes the first program of a command line such a leader. A forked child
//! leads no group.
//!
//! The second fork is needed because a session leader that opens a terminal gets it as its
//! controlling terminal. A child of the leader leads no session, and gets none.

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

/// Forks a child that becomes a daemon, with or without the second fork, and then opens a terminal.
/// Returns what the daemon reports.
fn become_daemon(second_fork: bool, terminal: &Path) -> anyhow::Result<String> {
    let (mut reports, mut reporter) = io::pipe().context("cannot make a pipe")?;
    // The first fork.
    let child = child::start(|| {
        setsid().context("cannot make a session")?;
        if !second_fork {
            return report("setsid", terminal, &mut reporter);
        }
        child::start(|| report("setsid and a second fork", terminal, &mut reporter))
            .context("cannot fork a second time")?;
        // The session leader ends without waiting for its child, which becomes an orphan.
        Ok(0)
    })
    .context("cannot fork a daemon")?;
    // While a copy of the writing end is open, the read below finds no end of file.
    drop(reporter);
    let status = child::wait(child)?;
    let mut text = String::new();
    reports
        .read_to_string(&mut text)
        .context("cannot read the daemon's report")?;
    ensure!(status.success(), "child {child} failed: {status}");

    let (daemon, seen) =
        parse(&text).with_context(|| format!("the daemon's report is not whole: {text:?}"))?;
    if second_fork {
        // This process has to wait for the orphan if it is process 1 (of a container) or a
        // subreaper. Otherwise the daemon is not its child, and the call fails.
        let _ = child::reap(daemon, 0);
    }
    Ok(seen.to_owned())
}

/// What the daemon does: it opens a terminal, and reports whether it had a controlling terminal
/// before, and whether it has one now.
fn report(way: &str, terminal: &Path, reporter: &mut impl Write) -> anyhow::Result<u8> {
    let before = has_controlling_terminal();
    let _terminal = File::open(terminal).context("cannot open the terminal")?;
    let after = has_controlling_terminal();

    let (this, session) = (getpid(), getsid(None).context("cannot find the session")?);
    let leads = if this == session { "leads" } else { "is in" };
    let has = if before { "a" } else { "no" };
    let becomes = if after { "becomes" } else { "does not become" };
    let report = format!(
        "{this} After {way}, process {this} {leads} session {session}, with {has} controlling \
         terminal; the terminal that it opens {becomes} one.\n"
    );
    // In one single write. (`write!` would write piece by piece, and a daemon that is killed
    // meanwhile would leave a part of the report.)
    reporter
        .write_all(report.as_bytes())
        .context("cannot send the report")?;
    Ok(0)
}

/// The daemon's id, and what it has seen. `None` if the end of the line is missing: then the daemon
/// has failed or was killed before. (Its exit status would tell that too, but only the orphan's new
/// parent gets it.)
fn parse(report: &str) -> Option<(Pid, &str)> {
    let (daemon, seen) = report.strip_suffix('\n')?.split_once(' ')?;
    Some((Pid::from_raw(daemon.parse().ok()?), seen))
}

/// The name `/dev/tty` stands for the controlling terminal of the process that opens it.
fn has_controlling_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What one write has written. A second one fails.
    struct OneWrite(Vec<u8>);

    impl Write for OneWrite {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if !self.0.is_empty() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.0.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_report_is_one_write_and_a_part_of_it_is_none() {
        let mut sent = OneWrite(Vec::new());
        let code = report("a test", Path::new("/dev/null"), &mut sent);
        assert_eq!(code.expect("it is one write"), 0);
        let text = String::from_utf8(sent.0).expect("it is text");
        let (daemon, seen) = parse(&text).expect("it is whole");
        assert_eq!(daemon, getpid());
        assert!(seen.ends_with(" one."), "{seen}");
        for end in 0..text.len() {
            assert_eq!(parse(&text[..end]), None, "{end}");
        }
    }
}
