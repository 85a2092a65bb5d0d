//! A master of three workers is killed, and whoever is still there is counted.
//!
//! An observer starts the master. The workers hold two pipes to the observer, which outlive the
//! master. When that is gone, the observer asks each of them "are you there?", by one byte in one
//! pipe, and counts the answers in the other. Nothing needs a clock: a pipe whose last holder is
//! gone ends.

use std::{
    io::{self, Read, Write},
    os::fd::AsFd,
    thread,
};

use anyhow::{Context, ensure};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use super::Experiment;
use crate::{
    finding::{
        Finding,
        table::{Cell, Table},
        verdict,
    },
    lab::{Lab, fork, role::Role, trial},
};

pub const EXPERIMENT: Experiment = Experiment {
    name: "master",
    claim: "If the master dies, all die.",
    share: 1,
    run,
    roles: &[&OBSERVE, &MASTER],
    published: &[],
};

const WORKERS: usize = 3;

/// What the workers are.
struct Way {
    name: &'static str,
    /// In the master, which is single-threaded: starts the workers.
    start: fn() -> anyhow::Result<()>,
    /// Whether nobody told the workers to end with their master, nor to live on.
    unprepared: bool,
}

const WAYS: &[Way] = &[
    Way {
        name: "threads",
        start: threads,
        unprepared: true,
    },
    Way {
        name: "processes",
        start: || processes(|begun| answer_one_question(begun, None)),
        unprepared: true,
    },
    Way {
        name: "processes that watch a pipe from the master",
        start: watching,
        unprepared: false,
    },
    #[cfg(target_os = "linux")]
    Way {
        name: "processes tied to the master (PR_SET_PDEATHSIG)",
        start: || processes(tied),
        unprepared: false,
    },
];

fn threads() -> anyhow::Result<()> {
    for _ in 0..WORKERS {
        thread::Builder::new()
            .spawn(|| answer_one_question(&mut io::stdout(), None))
            .context("cannot start a thread")?;
    }
    Ok(())
}

/// Each worker says that it has begun by a pipe of its own, which ends if the worker dies before.
fn processes(mut work: impl FnMut(&mut dyn Write) -> anyhow::Result<()>) -> anyhow::Result<()> {
    for _ in 0..WORKERS {
        let (mut begun, mut begin) = io::pipe().context("cannot make a pipe")?;
        // SAFETY: the master has started no thread.
        unsafe { fork::child(|| work(&mut begin)) }?;
        drop(begin);
        let mut byte = [0];
        begun
            .read_exact(&mut byte)
            .context("a worker died before it began")?;
        io::stdout()
            .write_all(&byte)
            .and_then(|()| io::stdout().flush())?;
    }
    Ok(())
}

/// Nobody writes to their pipe. It ends when the master does, who alone holds its other end.
fn watching() -> anyhow::Result<()> {
    let (lifeline, held) = io::pipe().context("cannot make a pipe")?;
    let mut held = Some(held);
    processes(|begun| {
        // Closes this worker's copy of the end. Kept, it would hold the lifeline of all.
        held = None;
        answer_one_question(begun, Some(&lifeline))
    })?;
    // The master keeps its end until it is killed.
    std::mem::forget(held);
    Ok(())
}

/// Linux kills them when their parent dies, because they have asked for it.
#[cfg(target_os = "linux")]
fn tied(begun: &mut dyn Write) -> anyhow::Result<()> {
    use nix::sys::{prctl, signal::Signal};
    prctl::set_pdeathsig(Signal::SIGKILL).context("cannot tie the worker to the master")?;
    answer_one_question(begun, None)
}

/// A worker: it says that it has begun, waits for a question, and answers it. If its lifeline ends,
/// so does it.
fn answer_one_question(
    begun: &mut dyn Write,
    lifeline: Option<&io::PipeReader>,
) -> anyhow::Result<()> {
    begun.write_all(b"!").and_then(|()| begun.flush())?;
    let stdin = io::stdin();
    let mut fds = vec![PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    fds.extend(lifeline.map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)));
    while poll(&mut fds, PollTimeout::NONE) == Err(Errno::EINTR) {}
    if fds.get(1).is_some_and(|fd| fd.any() == Some(true)) {
        return Ok(());
    }
    // Not by way of `io::stdin()`, whose buffer would take the others' questions too.
    let mut question = [0];
    if nix::unistd::read(stdin.as_fd(), &mut question)? == 1 {
        let mut stdout = io::stdout();
        stdout.write_all(b".").and_then(|()| stdout.flush())?;
    }
    Ok(())
}

/// The master: it starts its workers, and waits to be killed. If its observer is killed before that,
/// the pipe of the questions ends, and so does the master.
static MASTER: Role<usize> = Role {
    name: "master-to-be-killed",
    play: |way| {
        (WAYS[way].start)()?;
        let stdin = io::stdin();
        // Not `POLLIN`: the questions are for the workers. The end of a pipe is always told.
        let mut questions = [PollFd::new(stdin.as_fd(), PollFlags::empty())];
        while poll(&mut questions, PollTimeout::NONE) == Err(Errno::EINTR) {}
        Ok(())
    },
};

/// The observer: how many workers are alive after their master.
static OBSERVE: Role<usize, usize> = Role {
    name: "master",
    play: |way| {
        // Orphans get us for a parent, so that we can reap them. Elsewhere process 1 does.
        #[cfg(target_os = "linux")]
        nix::sys::prctl::set_child_subreaper(true).context("cannot adopt the orphans")?;
        let (questions, mut ask) = io::pipe().context("cannot make a pipe")?;
        let (mut answers, answer) = io::pipe().context("cannot make a pipe")?;
        // The pipes are the master's stdin and stdout, and so its workers'.
        let mut command = MASTER.command(&way)?;
        let master = command.stdin(questions).stdout(answer).spawn();
        let mut master = master.context("cannot start the master")?;
        // It holds our copies of the master's ends: with those open, the answers would never end.
        drop(command);

        // Each worker says that it has begun. A master that fails says something else.
        let mut begun = [0; WORKERS];
        let read = answers.read_exact(&mut begun);
        read.context("the workers did not begin")?;
        ensure!(begun == [b'!'; WORKERS], "the master failed");
        master.kill().context("cannot kill the master")?;
        master.wait().context("cannot wait for the master")?;

        // Whoever lives takes one question. The pipe's reader is gone if nobody does.
        let _ = ask.write_all(&[b'?'; WORKERS]);
        drop(ask);
        let mut alive = Vec::new();
        let read = answers.read_to_end(&mut alive);
        read.context("cannot read the answers")?;
        while nix::sys::wait::wait().is_ok() {}
        Ok(alive.len())
    },
};

fn run(lab: &Lab) -> anyhow::Result<Finding> {
    let mut alive = Vec::new();
    for (number, way) in WAYS.iter().enumerate() {
        lab.go_on()?;
        alive.push((way, trial::run(&OBSERVE, &number)?));
    }
    let table = Table::of(
        "The master of three workers is killed (SIGKILL):",
        &alive,
        &[
            ("workers are", &|(way, _)| way.name.into()),
            ("alive after it", &|&(_, alive)| {
                Cell::outcome(format!("{alive} of {WORKERS}"), alive == 0)
            }),
        ],
    );
    let mut left_out = Vec::new();
    if cfg!(not(target_os = "linux")) {
        left_out.push("processes tied to the master: Linux alone has this".to_owned());
    }
    Ok(Finding {
        tables: vec![table],
        left_out,
        ..judge(&alive)
    })
}

/// By the workers that nobody told to die with their master, nor to live on.
fn judge(alive: &[(&Way, usize)]) -> Finding {
    let unprepared = || alive.iter().filter(|(way, _)| way.unprepared);
    let words = unprepared().map(|(way, alive)| format!("{} {alive}", way.name));
    let words = words.collect::<Vec<_>>().join(", ");
    Finding::new(
        verdict::by_case(unprepared().map(|(_, alive)| verdict::is(*alive == 0))),
        format!(
            "of {WORKERS} each, so many lived on: {words}; a process dies with its master only if it sees \
             to that itself"
        ),
        format!("alive after the master, of {WORKERS}: {words}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::verdict::Verdict;

    #[test]
    fn only_workers_that_nobody_prepared_count() {
        let verdict = |processes| {
            let alive = [(&WAYS[0], 0), (&WAYS[1], processes), (&WAYS[2], 3)];
            judge(&alive).verdict
        };
        assert_eq!(verdict(0), Verdict::Holds);
        assert_eq!(verdict(3), Verdict::Depends);
    }
}
