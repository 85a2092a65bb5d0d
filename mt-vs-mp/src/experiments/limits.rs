//! What limits the number of processes here, and the proof that such a limit binds: a process lowers
//! one for itself, and forks until it is refused.

use std::io::{self, Read};

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
        Lab, fork,
        limits::{self, Limit},
        machine, memory,
        role::Role,
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

/// So many more than there are may be started.
const ROOM: u64 = 10;

/// A system that still refuses none has no such limit.
const ENOUGH: usize = 3 * ROOM as usize;

/// An id that nobody is given: `RLIMIT_NPROC` counts what a user has already.
const NOBODY_ELSE: Uid = Uid::from_raw(1_999_999_999);

/// About what the kernel needs for a process beside the memory that it maps, in bytes: its stack of
/// 16 KiB, and its record of the process.
const KERNEL: u64 = 20 << 10;

/// As whom `RLIMIT_NPROC` is lowered.
struct Way {
    name: &'static str,
    become_it: fn() -> anyhow::Result<()>,
}

const WAYS: &[Way] = &[OURSELVES, ANOTHER_USER];

const OURSELVES: Way = Way {
    name: "RLIMIT_NPROC",
    become_it: || Ok(()),
};

/// For the administrator, whom the limit spares.
const ANOTHER_USER: Way = Way {
    name: "RLIMIT_NPROC, for an ordinary user",
    become_it: || {
        setuid(NOBODY_ELSE).context("cannot become another user")?;
        // A change of user undoes this, and closes `/proc/self` to ourselves.
        trial::end_with_the_laboratory()?;
        #[cfg(target_os = "linux")]
        nix::sys::prctl::set_dumpable(true).context("cannot open /proc/self")?;
        Ok(())
    },
};

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
struct Refusal {
    /// What the limit was lowered to.
    lowered_to: u64,
    started: usize,
    /// With which the next one was refused; `None` if none was.
    error: Option<String>,
    /// What one of them took of memory, in bytes.
    memory: Option<u64>,
}

static REFUSAL: Role<usize, Refusal> = Role {
    name: "limits",
    play: |way| {
        (WAYS[way].become_it)()?;
        let limit = limits::NPROC.context("RLIMIT_NPROC is not known here")?;
        let (soft, hard) = getrlimit(limit)?;
        let lowered_to = soft.min(limits::of_this_user() + ROOM);
        setrlimit(limit, lowered_to, hard).context("cannot lower the limit")?;
        let (started, error, memory) = fork_until_refused()?;
        Ok(Refusal {
            lowered_to,
            started,
            error,
            memory,
        })
    },
};

fn fork_until_refused() -> anyhow::Result<(usize, Option<String>, Option<u64>)> {
    let (stay, leave) = io::pipe().context("cannot make a pipe")?;
    let mut leave = Some(leave);
    let mut children = Vec::new();
    let mut refusal = None;
    while refusal.is_none() && children.len() < ENOUGH {
        let wait = || {
            // Closes this child's copy alone. Kept, its siblings would never see the pipe's end.
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
    let memory = children.first().and_then(|child| memory::of(child.id()));
    let started = children.len();
    drop(leave);
    children.into_iter().try_for_each(fork::Child::join)?;
    Ok((started, refusal, memory.map(|memory| memory.private)))
}

fn run(lab: &Lab) -> anyhow::Result<Finding> {
    lab.go_on()?;
    let (number, way) = match limits::exempt() {
        false => (0, &OURSELVES),
        true => (1, &ANOTHER_USER),
    };
    let proof = trial::run(&REFUSAL, &number).map_err(|error| format!("{error:#}"));
    let mut limits = limits::of_processes();
    let each = proof.as_ref().ok().and_then(|proof| proof.memory);
    let mut left_out = Vec::new();
    match each.map(|memory| memory + KERNEL) {
        Some(each) => {
            let free = machine::available_memory();
            let [each_has, has] = [each, free].map(|bytes| amount(bytes as f64, Unit::Bytes));
            let name =
                format!("memory: {has} available, {each_has} for a process that does nothing");
            limits.push(Limit::new(name, Some(free / each), 0));
        }
        None => left_out.push("memory: the system does not say what a process takes".to_owned()),
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
            ("so many more", &|limit| number(limit.room())),
        ],
    );
    let refusal = Table::of(
        "A process lowers a limit for itself, and forks:",
        proof.as_ref().map_or(&[][..], std::slice::from_ref),
        &[
            ("limit", &|_| way.name.into()),
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
    let mut tables = vec![survey];
    tables.extend(proof.is_ok().then_some(refusal));
    Ok(Finding {
        tables,
        left_out,
        ..judge(way.name, &proof, &limits)
    })
}

/// A limit that is named and not proved leaves it unclear.
fn judge(lowered: &str, proof: &Result<Refusal, String>, limits: &[Limit]) -> Finding {
    let first = limits::first(limits);
    let as_it_is = match first {
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
    let reason = format!("{proof}; as the machine is, there is room for {as_it_is}");
    Finding::new(verdict, reason, as_it_is)
}

#[cfg(test)]
mod tests {
    use super::*;

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
