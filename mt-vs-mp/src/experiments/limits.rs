//! What limits the number of processes here, and a proof that such a limit works: a process lowers
//! a limit for itself, and forks until the system refuses.

use std::{
    io::{self, Read},
    process,
};

use anyhow::Context;
use nix::{
    sys::resource::{getrlimit, setrlimit},
    unistd::{Uid, setuid},
};
use serde::{Deserialize, Serialize};

use super::Experiment;
use crate::{
    finding::{
        Finding,
        figure::{Unit, amount},
        table::{Cell, Table},
        verdict::{self, Verdict},
    },
    lab::{
        Lab, fork, machine, memory_use,
        process_limits::{self, Limit},
        role::{self, Role},
        trial,
    },
};

pub const EXPERIMENT: Experiment = Experiment {
    name: "limits",
    claim: "The number of processes is limited.",
    share: 1,
    run,
    roles: &[&REFUSAL],
    published: &[
        (
            "100,000 threads at once",
            "the NPTL's authors, 2003: Linux on IA-32, started in 2 s",
        ),
        (
            "80,000 threads at once",
            "Jim Blandy, context-switch: Linux on a laptop with 32 GiB",
        ),
    ],
};

/// The limit is lowered to the number of the user's processes and threads, plus this.
const ROOM: u64 = 10;

/// If the system starts this many processes, it does not keep to the limit.
const ENOUGH: usize = 3 * ROOM as usize;

/// The ids from this one on belong to nobody, so these users have no processes. (`RLIMIT_NPROC`
/// counts all processes of a user.)
const UNUSED_IDS: u32 = 1_990_000_000;

/// About what the kernel needs for a process beside the memory that the process maps, in bytes: a
/// stack of 16 KiB, and its record of the process.
const KERNEL: u64 = 20 << 10;

/// The user for whom `RLIMIT_NPROC` is lowered.
struct User {
    limit: &'static str,
    become_user: fn() -> anyhow::Result<()>,
}

const USERS: &[User] = &[OURSELVES, ANOTHER_USER];

const OURSELVES: User = User {
    limit: "RLIMIT_NPROC",
    become_user: || Ok(()),
};

/// The administrator has to become another user, because the limit does not bind the administrator.
const ANOTHER_USER: User = User {
    limit: "RLIMIT_NPROC of an ordinary user",
    become_user: || {
        // Another laboratory that runs now has another user for this.
        let unused = Uid::from_raw(UNUSED_IDS + process::id());
        setuid(unused).context("cannot become another user")?;
        // Both are undone by a change of user: that this process ends with the laboratory, and that
        // it may read its own `/proc/self`.
        role::end_with_the_parent()?;
        #[cfg(target_os = "linux")]
        nix::sys::prctl::set_dumpable(true).context("cannot open /proc/self")?;
        Ok(())
    },
};

/// What came of it.
#[derive(Serialize, Deserialize)]
struct Refusal {
    lowered_to: u64,
    started: usize,
    /// Of the next process; `None` if it was started too.
    error: Option<String>,
    /// How much memory one of the processes took, in bytes.
    memory: Option<u64>,
}

static REFUSAL: Role<usize, Refusal> = Role {
    name: "limits",
    play: |user| {
        (USERS[user].become_user)()?;
        let limit = process_limits::NPROC.context("RLIMIT_NPROC is not known here")?;
        let (soft, hard) = getrlimit(limit)?;
        let lowered_to = soft.min(process_limits::of_this_user() + ROOM);
        setrlimit(limit, lowered_to, hard).context("cannot lower the limit")?;
        fork_until_refused(lowered_to)
    },
};

fn fork_until_refused(lowered_to: u64) -> anyhow::Result<Refusal> {
    // Nobody writes to this pipe. The children end when they see the end of file.
    let (may_end, hold) = io::pipe().context("cannot make a pipe")?;
    let mut hold = Some(hold);
    let mut children = Vec::new();
    let mut error = None;
    while error.is_none() && children.len() < ENOUGH {
        let wait = || {
            // Closes this child's copy. If it stayed open, no child would see the end of file.
            hold = None;
            (&may_end).read_to_end(&mut Vec::new())?;
            Ok(())
        };
        // SAFETY: this trial has started no thread.
        match unsafe { fork::child(wait) } {
            Ok(child) => children.push(child),
            Err(refusal) => error = Some(refusal.root_cause().to_string()),
        }
    }
    let memory = children
        .first()
        .and_then(|child| memory_use::of(child.id()));
    let started = children.len();
    drop(hold);
    children.into_iter().try_for_each(fork::Child::join)?;
    Ok(Refusal {
        lowered_to,
        started,
        error,
        memory: memory.map(|memory| memory.private),
    })
}

fn run(lab: &Lab) -> anyhow::Result<Finding> {
    lab.go_on()?;
    let user = if process_limits::exempt() { 1 } else { 0 };
    let limit = USERS[user].limit;
    let proof = trial::run(&REFUSAL, &user).map_err(|error| format!("{error:#}"));
    let mut limits = process_limits::of_processes();
    let memory = proof.as_ref().ok().and_then(|proof| proof.memory);
    let mut left_out = Vec::new();
    if let Some(memory) = memory {
        limits.push(limit_of_memory(machine::available_memory(), memory));
    } else {
        left_out.push("memory: what a process takes was not measured".to_owned());
    }
    let number = |number: Option<u64>| match number {
        Some(number) => Cell::from(number.to_string()),
        None => "no limit".into(),
    };
    let survey = Table::of(
        "What limits the number of processes here (threads count as well):",
        &limits,
        &[
            ("limit", &|limit| limit.name.clone().into()),
            ("at most", &|limit| number(limit.most)),
            ("there are", &|limit| limit.used.to_string().into()),
            ("room for", &|limit| number(limit.room())),
        ],
    );
    let proofs: Vec<&Refusal> = proof.iter().collect();
    let refusal = Table::of(
        "A process lowers a limit for itself, and forks:",
        &proofs,
        &[
            ("limit", &|_| limit.into()),
            ("lowered to", &|proof| proof.lowered_to.to_string().into()),
            ("processes started", &|proof| {
                proof.started.to_string().into()
            }),
            ("and the next", &|proof| match &proof.error {
                Some(error) => Cell::outcome(format!("refused: {error}"), true),
                None => Cell::outcome("was started too", false),
            }),
        ],
    );
    let mut finding = judge(limit, &proof, &limits);
    finding.tables.push(survey);
    if proof.is_ok() {
        finding.tables.push(refusal);
    }
    finding.left_out = left_out;
    Ok(finding)
}

/// How many processes fit into the memory that is available, if each maps so much of it.
fn limit_of_memory(available: u64, mapped: u64) -> Limit {
    let each = mapped + KERNEL;
    let name = format!(
        "memory: {} available, {} for a process that does nothing",
        amount(available as f64, Unit::Bytes),
        amount(each as f64, Unit::Bytes)
    );
    Limit::new(name, Some(available / each), 0)
}

/// Without a proof it is unclear, even if the system names its limits.
fn judge(lowered: &str, proof: &Result<Refusal, String>, limits: &[Limit]) -> Finding {
    let as_it_is = match process_limits::first(limits) {
        Some((limit, room)) => format!("{room} more, then {}", limit.name),
        None => "no limit was found".to_owned(),
    };
    let (verdict, proof) = match proof {
        Ok(Refusal { started, error, .. }) => (
            verdict::is(error.is_some()),
            match error {
                Some(error) => format!(
                    "when {lowered} had been lowered, {started} processes were started and the next was \
                     refused ({error})"
                ),
                None => format!("{lowered} was lowered, and did not stop {started} processes"),
            },
        ),
        Err(cause) => (
            Verdict::Unclear,
            format!("no limit could be proved: {cause}"),
        ),
    };
    let reason = format!("{proof}; with the limits as they are: {as_it_is}");
    Finding::new(verdict, reason, as_it_is)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_also_takes_memory_of_the_kernel() {
        let limit = limit_of_memory(1 << 30, 108 << 10);
        let name = "memory: 1.00 GiB available, 128 KiB for a process that does nothing";
        assert_eq!(limit, Limit::new(name, Some(8192), 0));
    }

    #[test]
    fn only_a_refused_process_proves_a_limit() {
        let limits = [Limit::new("pid_max", Some(100), 40)];
        let refusal = |error: Option<&str>| Refusal {
            lowered_to: 11,
            started: 10,
            error: error.map(str::to_owned),
            memory: None,
        };
        let judged = |proof| judge("RLIMIT_NPROC", &proof, &limits);
        assert_eq!(judged(Ok(refusal(Some("EAGAIN")))).verdict, Verdict::Holds);
        assert_eq!(judged(Ok(refusal(None))).verdict, Verdict::Fails);
        let unproved = judged(Err("cannot become another user: EPERM".to_owned()));
        assert_eq!(unproved.verdict, Verdict::Unclear);
        assert!(
            unproved
                .reason
                .contains("no limit could be proved: cannot become")
        );
        assert_eq!(unproved.headline, "60 more, then pid_max");
    }
}
