//! A child that hangs is ended when its time is up, and its own children with it.
//!
//! Mirrors Python's `subprocess.run(..., timeout=1)`, which kills the child alone: its children go
//! on. Run it with `cargo run -p subprocess-demo -- timeout`.
//!
//! What to notice: first we ask a child to end, by SIGTERM, since a program may have work to
//! finish. The first child here finishes its work and ends. The second child ignores the signal,
//! and so do its own children. Then we send SIGKILL, which no program can ignore. Both signals go
//! to the child's whole process group: if only the child ended, its own children would go on. We do
//! not assume that all of them have ended, we check it. All of them hold the writing end of one
//! pipe. If we read the end of file from that pipe, no process holds the writing end any more.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::{
    ending,
    family::Family,
    output::say,
    role::{self, Role},
};

/// The children of this lesson.
pub const ROLES: [(&str, Role); 3] = [
    ("polite", polite),
    ("stubborn", stubborn),
    ("helper", helper),
];

/// How long a child may take to end after SIGTERM.
const GRACE: Duration = Duration::from_millis(500);

/// How long it may take until all processes have ended after SIGKILL.
const CLEARING: Duration = Duration::from_secs(10);

/// Runs two children. Each has the time `limit`, and is ended after that.
pub fn run(limit: Duration) -> anyhow::Result<u8> {
    let polite = run_child("polite", limit)?;
    let stubborn = run_child("stubborn", limit)?;
    Ok(if polite == 0 { stubborn } else { polite })
}

/// Runs a child in this role. Returns its exit code, or 0 if we ended it.
fn run_child(role: &str, limit: Duration) -> anyhow::Result<u8> {
    let mut family = Family::start(role::command(role)?)?;
    let id = family.id();
    let watched = watch(&mut family, limit);
    // Also if `watch` failed: no process may be left behind.
    let status = family.end()?;
    let ended_by_us = watched?;
    say!("Child {id}: {}", ending::words(status))?;
    Ok(if ended_by_us {
        0
    } else {
        ending::shell_code(status)
    })
}

/// Waits until the child and its own children have ended, and ends them when the time is up.
/// Returns whether we ended them.
fn watch(family: &mut Family, limit: Duration) -> anyhow::Result<bool> {
    say!("Child {} has {} s.", family.id(), limit.as_secs_f64())?;
    if family.relay(limit)? {
        say!("All ended in time.")?;
        return Ok(false);
    }
    let limit_reached = Instant::now();
    if cfg!(unix) {
        say!("Time is up: asked to end.")?;
        family.terminate();
        if family.relay(GRACE)? {
            say!("All ended when asked.")?;
            return Ok(true);
        }
    }
    say!("Still there: killed.")?;
    family.kill();
    let gone = family.relay(CLEARING)?;
    ensure!(
        gone,
        "a process is still there, {CLEARING:?} after it was killed"
    );
    let after = limit_reached.elapsed().as_secs_f64();
    say!("All gone, {after:.2} s after the limit.")?;
    Ok(true)
}

/// The first child: it ends when it is asked.
fn polite() -> anyhow::Result<u8> {
    // A blocked signal does not end us: it stays pending until we take it (`sigterm.wait` below).
    // We block SIGTERM before `end_with_stdin` starts a thread, since a new thread inherits which
    // signals are blocked. If one thread did not block SIGTERM, the system could deliver the signal
    // to that thread, and the signal would end the whole process.
    #[cfg(unix)]
    let sigterm = {
        use nix::sys::signal::{SigSet, Signal};
        let sigterm = SigSet::from(Signal::SIGTERM);
        sigterm.thread_block().context("cannot block SIGTERM")?;
        sigterm
    };
    role::end_with_stdin()?;
    say!("I end when I am asked.")?;
    #[cfg(unix)]
    {
        sigterm.wait().context("cannot wait for SIGTERM")?;
        say!("I was asked: my work is saved, and I end.")?;
        Ok(0)
    }
    // Windows has no SIGTERM, so there this child waits until it is killed.
    #[cfg(not(unix))]
    loop {
        std::thread::park();
    }
}

/// The second child: it ignores SIGTERM, and has children of its own.
fn stubborn() -> anyhow::Result<u8> {
    #[cfg(unix)]
    {
        use nix::sys::signal::{SigHandler, Signal, signal};
        // A signal that is ignored here stays ignored in the children, and in any program that they
        // run.
        // SAFETY: no code of ours is installed as a handler.
        unsafe { signal(Signal::SIGTERM, SigHandler::SigIgn) }?;
    }
    let start = || {
        role::command("helper")?
            .spawn()
            .context("cannot start a helper")
    };
    let mut helpers = [start()?, start()?];
    let ids = [helpers[0].id(), helpers[1].id()];
    say!("I don't end when asked, nor do my children {ids:?}.")?;
    // This stands for a hang: stdin ends only if the lesson itself ends.
    role::wait_for_end_of_stdin()?;
    for helper in &mut helpers {
        helper.wait().context("cannot wait for a helper")?;
    }
    Ok(0)
}

/// A child of the second child. Its stdin is inherited from the second child.
fn helper() -> anyhow::Result<u8> {
    role::wait_for_end_of_stdin()?;
    Ok(0)
}
