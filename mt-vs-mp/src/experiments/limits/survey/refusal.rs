//! The proof: a process lowers a limit for itself, and forks until the system refuses.

use std::io::{self, Read};

use anyhow::{Context, Result};
use nix::{
    sys::resource::{Resource, getrlimit, setrlimit},
    unistd::{Uid, setuid},
};
use serde::{Deserialize, Serialize};

use crate::lab::{
    fork, limits, memory,
    trial::{self, Trial},
};

/// So many more than there are may be started.
const ROOM: u64 = 10;

/// A system that still refuses none has no such limit.
const ENOUGH: usize = 3 * ROOM as usize;

/// An id that nobody is given: `RLIMIT_NPROC` counts what a user has already.
const NOBODY_ELSE: Uid = Uid::from_raw(1_999_999_999);

/// Which limit is lowered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// `RLIMIT_NPROC`.
    Ourselves,
    /// The same, as a user without the right to ignore it.
    AnotherUser,
    /// `RLIMIT_NOFILE`, which binds everyone, with a pipe for each child.
    Pipes,
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Refusal {
    /// What the limit was lowered to.
    pub lowered_to: u64,
    pub started: usize,
    /// With which the next one was refused; `None` if none was.
    pub error: Option<String>,
    /// What one of them took of memory, in bytes.
    pub memory: Option<u64>,
}

pub static REFUSAL: Trial<Way, Refusal> = Trial {
    name: "limits",
    body: |way| {
        if way == Way::AnotherUser {
            setuid(NOBODY_ELSE).context("cannot become another user")?;
            // A change of user undoes this, and closes `/proc/self` to ourselves.
            trial::end_with_the_laboratory()?;
            #[cfg(target_os = "linux")]
            nix::sys::prctl::set_dumpable(true).context("cannot open /proc/self")?;
        }
        let lowered_to = match way {
            Way::Ourselves | Way::AnotherUser => {
                let limit = limits::NPROC.context("RLIMIT_NPROC is not known here")?;
                lower(limit, limits::of_this_user() + ROOM)?
            }
            // Each child's pipe has two ends here.
            Way::Pipes => lower(Resource::RLIMIT_NOFILE, 2 * ROOM)?,
        };
        let (started, error, memory) = fork_until_refused(way)?;
        Ok(Refusal {
            lowered_to,
            started,
            error,
            memory,
        })
    },
};

/// Lowers a limit for this process, and those that it forks.
fn lower(limit: Resource, to: u64) -> Result<u64> {
    let (soft, hard) = getrlimit(limit)?;
    let to = to.min(soft);
    setrlimit(limit, to, hard).context("cannot lower the limit")?;
    Ok(to)
}

fn fork_until_refused(way: Way) -> Result<(usize, Option<String>, Option<u64>)> {
    let (stay, leave) = io::pipe().context("cannot make a pipe")?;
    let mut leave = Some(leave);
    let (mut children, mut pipes) = (Vec::new(), Vec::new());
    let mut refusal = None;
    while refusal.is_none() && children.len() < ENOUGH {
        if way == Way::Pipes {
            match io::pipe() {
                Ok(pipe) => pipes.push(pipe),
                Err(error) => {
                    refusal = Some(error.to_string());
                    break;
                }
            }
        }
        let wait = || {
            // Closes this child's copy alone. Kept, it would keep its brothers.
            leave = None;
            (&stay).read_to_end(&mut Vec::new())?;
            Ok(())
        };
        // SAFETY: this trial has started no thread.
        match unsafe { fork::child(wait) } {
            Ok(child) => children.push(child),
            Err(error) => refusal = Some(error.root_cause().to_string()),
        }
    }
    let memory = children
        .first()
        .and_then(|child| memory::private(&child.to_string()));
    let started = children.len();
    drop(leave);
    children.into_iter().try_for_each(fork::join)?;
    Ok((started, refusal, memory))
}
