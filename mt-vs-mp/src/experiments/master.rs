//! A master of three workers is killed. How many workers are alive after that?
//!
//! An observer starts the master, with a pipe for its stdin and one for its stdout. The workers
//! inherit both. When the master is dead, the observer writes one question for each worker into the
//! one pipe, each a single byte, and counts the answers in the other. It needs no clock: it sees
//! the end of file when the last process that could answer is gone.

use std::{
    io::{self, Read, Write},
    os::fd::AsFd,
    process::Child,
    slice, thread,
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
    /// Starts the workers, in the master, which has no other thread.
    start: fn() -> anyhow::Result<()>,
    /// Whether nothing is done to end the workers with their master.
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

/// Each worker says that it has begun, through a pipe of its own. If the worker dies before that,
/// the master sees the end of file.
fn processes(mut work: impl FnMut(&mut dyn Write) -> anyhow::Result<()>) -> anyhow::Result<()> {
    for _ in 0..WORKERS {
        let (mut from_worker, mut begun) = io::pipe().context("cannot make a pipe")?;
        // SAFETY: the master has started no thread.
        unsafe { fork::child(|| work(&mut begun)) }?;
        drop(begun);
        let mut byte = [0];
        from_worker
            .read_exact(&mut byte)
            .context("a worker died before it began")?;
        io::stdout()
            .write_all(&byte)
            .and_then(|()| io::stdout().flush())?;
    }
    Ok(())
}

/// Nobody writes to the pipe that the workers watch. Only the master has its writing end, so the
/// workers see the end of file when the master is dead.
fn watching() -> anyhow::Result<()> {
    let (watched, writing_end) = io::pipe().context("cannot make a pipe")?;
    let mut writing_end = Some(writing_end);
    processes(|begun| {
        // Closes this worker's copy. If it stayed open, no worker would see the end of file.
        writing_end = None;
        answer_one_question(begun, Some(&watched))
    })?;
    // The master keeps its writing end open until it is killed.
    std::mem::forget(writing_end);
    Ok(())
}

/// The worker asks Linux for a SIGKILL at its parent's death.
#[cfg(target_os = "linux")]
fn tied(begun: &mut dyn Write) -> anyhow::Result<()> {
    use nix::sys::{prctl, signal::Signal};
    prctl::set_pdeathsig(Signal::SIGKILL).context("cannot tie the worker to the master")?;
    answer_one_question(begun, None)
}

/// A worker: it says that it has begun, waits for a question, and answers it. At the end of file on
/// `watched`, it ends without an answer.
fn answer_one_question(
    begun: &mut dyn Write,
    watched: Option<&io::PipeReader>,
) -> anyhow::Result<()> {
    begun.write_all(b"!").and_then(|()| begun.flush())?;
    let stdin = io::stdin();
    let mut fds = vec![PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    fds.extend(watched.map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)));
    while poll(&mut fds, PollTimeout::NONE) == Err(Errno::EINTR) {}
    if fds.get(1).is_some_and(|fd| fd.any() == Some(true)) {
        return Ok(());
    }
    // `io::stdin()` has a buffer, and would also read the questions for the other workers.
    let mut question = [0];
    if nix::unistd::read(stdin.as_fd(), &mut question)? == 1 {
        let mut stdout = io::stdout();
        stdout.write_all(b".").and_then(|()| stdout.flush())?;
    }
    Ok(())
}

/// The master: it starts its workers, and waits to be killed. If the observer is killed first, the
/// master sees the end of file on its stdin, and ends.
static MASTER: Role<usize> = Role {
    name: "master-to-be-killed",
    play: |way| {
        (WAYS[way].start)()?;
        let stdin = io::stdin();
        // No `POLLIN`, because the questions are for the workers. `poll` always reports the end of
        // file.
        let mut questions = [PollFd::new(stdin.as_fd(), PollFlags::empty())];
        while poll(&mut questions, PollTimeout::NONE) == Err(Errno::EINTR) {}
        Ok(())
    },
};

/// The observer. It returns how many workers are alive after their master's death.
static OBSERVE: Role<usize, usize> = Role {
    name: "master",
    play: |way| {
        // This process becomes the parent of the orphaned workers, so that it can reap them. On
        // other systems, process 1 reaps them.
        #[cfg(target_os = "linux")]
        nix::sys::prctl::set_child_subreaper(true).context("cannot adopt the orphans")?;
        let (questions, mut ask) = io::pipe().context("cannot make a pipe")?;
        let (mut answers, answer) = io::pipe().context("cannot make a pipe")?;
        let mut command = MASTER.command(&way)?;
        let master = command.stdin(questions).stdout(answer).spawn();
        let mut master = master.context("cannot start the master")?;
        // The command has this process's copies of the master's ends. If they stayed open, the
        // answers would have no end of file.
        drop(command);

        // Each worker writes one byte when it has begun. A master that fails writes something else.
        let mut begun = [0; WORKERS];
        for byte in &mut begun {
            wait_for_answer(&answers, &mut master)?;
            let read = answers.read_exact(slice::from_mut(byte));
            read.context("the workers did not begin")?;
        }
        ensure!(begun == [b'!'; WORKERS], "the master failed");
        master.kill().context("cannot kill the master")?;
        master.wait().context("cannot wait for the master")?;

        // Each living worker reads one question. If no worker lives, the pipe has no reader, and
        // the write fails.
        let _ = ask.write_all(&[b'?'; WORKERS]);
        drop(ask);
        let mut answered = Vec::new();
        let read = answers.read_to_end(&mut answered);
        read.context("cannot read the answers")?;
        while nix::sys::wait::wait().is_ok() {}
        Ok(answered.len())
    },
};

/// Waits until there is something to read. If somebody else kills the master before all workers have
/// begun, there is no end of file, since the others hold the pipe. So the master is looked at too.
fn wait_for_answer(answers: &io::PipeReader, master: &mut Child) -> anyhow::Result<()> {
    const LOOK_AGAIN: u16 = 100; // ms
    let mut fds = [PollFd::new(answers.as_fd(), PollFlags::POLLIN)];
    while matches!(poll(&mut fds, LOOK_AGAIN), Ok(0) | Err(Errno::EINTR)) {
        let status = master.try_wait().context("cannot wait for the master")?;
        ensure!(
            status.is_none(),
            "the master ended before its workers had begun"
        );
    }
    Ok(())
}

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
    let mut finding = judge(&alive);
    finding.tables.push(table);
    if cfg!(not(target_os = "linux")) {
        let why = "processes tied to the master: only Linux has this";
        finding.left_out.push(why.to_owned());
    }
    Ok(finding)
}

/// Only unprepared workers decide: what becomes of the others is their own choice.
fn judge(alive: &[(&Way, usize)]) -> Finding {
    let mut verdicts = Vec::new();
    let mut numbers = Vec::new();
    for (way, alive) in alive {
        if way.unprepared {
            verdicts.push(verdict::is(*alive == 0));
            numbers.push(format!("{} {alive}", way.name));
        }
    }
    let numbers = numbers.join(", ");
    Finding::new(
        verdict::by_case(verdicts),
        format!(
            "workers alive after the master's death, of {WORKERS}: {numbers}; a process dies with its \
             master only if it sees to that itself"
        ),
        format!("alive after the master, of {WORKERS}: {numbers}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::verdict::Verdict;

    #[test]
    fn only_workers_that_nobody_prepared_count() {
        let judged = |processes| {
            let alive = [(&WAYS[0], 0), (&WAYS[1], processes), (&WAYS[2], 3)];
            judge(&alive)
        };
        assert_eq!(judged(0).verdict, Verdict::Holds);
        assert_eq!(judged(3).verdict, Verdict::Depends);
        assert_eq!(
            judged(3).headline,
            "alive after the master, of 3: threads 0, processes 3"
        );
    }
}
