//! A child that hangs, and its own children, are gone when the time is up.
//!
//! Mirrors Python's `subprocess.run(..., timeout=1)`, which kills the child alone: its children go
//! on. Run it with `cargo run -p subprocess-demo -- timeout`.
//!
//! What to notice: first they are asked (SIGTERM), for a program may have something to put in
//! order. This one is deaf to that. Then they are killed (SIGKILL), which no program can refuse.
//! And not the child is killed, but its process group: a child can start others, and they outlive
//! it. That all are gone is not assumed but seen: the pipe that they all wrote to has ended.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::{
    ending,
    family::Family,
    output::say,
    role::{self, Role},
};

/// The children of this lesson.
pub const ROLES: [(&str, Role); 2] = [("stubborn", stubborn), ("helper", helper)];

/// How long one may take to put things in order, once asked.
const GRACE: Duration = Duration::from_millis(500);

/// How long the system may take to clear away who was killed.
const CLEARING: Duration = Duration::from_secs(10);

/// Runs the child for at most `limit`.
pub fn run(limit: Duration) -> anyhow::Result<u8> {
    let mut family = Family::start(role::command("stubborn")?)?;
    let id = family.id();
    let watched = watch(&mut family, limit);
    // Whatever came of the watching: nobody stays.
    let status = family.end()?;
    let ended_by_us = watched?;
    say!("Child {id}: {}", ending::words(status))?;
    Ok(if ended_by_us {
        0
    } else {
        ending::shell_code(status)
    })
}

/// Watches the family to its end, and says whether we had to end it.
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
    ensure!(gone, "somebody is still there");
    let after = limit_reached.elapsed().as_secs_f64();
    say!("All gone, {after:.2} s after the limit.")?;
    Ok(true)
}

/// The child: deaf to SIGTERM, and not alone.
fn stubborn() -> anyhow::Result<u8> {
    #[cfg(unix)]
    {
        use nix::sys::signal::{SigHandler, Signal, signal};
        // What is ignored stays ignored in the children, and in whatever program they run.
        // SAFETY: no code of ours is installed as a handler.
        unsafe { signal(Signal::SIGTERM, SigHandler::SigIgn) }?;
    }
    let start = || {
        role::command("helper")?
            .spawn()
            .context("cannot start a helper")
    };
    let mut helpers = [start()?, start()?];
    let ids = helpers.each_ref().map(|helper| helper.id());
    say!("I don't end when asked, nor do my children {ids:?}.")?;
    // This stands for a hang. The end of input comes only if the lesson itself dies.
    role::wait_for_end_of_stdin()?;
    for helper in &mut helpers {
        helper.wait().context("cannot wait for a helper")?;
    }
    Ok(0)
}

/// A child of the child, with the same stdin.
fn helper() -> anyhow::Result<u8> {
    role::wait_for_end_of_stdin()?;
    Ok(0)
}
