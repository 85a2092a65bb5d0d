//! The observer, the master to be killed, and its workers.
//!
//! The workers hold two pipes to the observer, which outlive the master. When that is gone, the
//! observer asks each of them "are you there?", by one byte in the one pipe, and counts the answers
//! in the other. Nothing needs a clock: a pipe whose last holder is gone ends.

use std::{
    io::{self, Read, Write},
    os::fd::AsFd,
    thread,
};

use anyhow::Context;
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    unistd::pause,
};

use super::{WORKERS, Workers};
use crate::lab::{
    fork,
    role::{self, Peer},
};

pub fn observe(workers: Workers) -> anyhow::Result<usize> {
    // Orphans get us for a parent, so that we can reap them. Elsewhere process 1 does.
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_child_subreaper(true).context("cannot adopt the orphans")?;
    let (questions, mut ask) = io::pipe().context("cannot make a pipe")?;
    let (mut answers, answer) = io::pipe().context("cannot make a pipe")?;
    // The pipes are the master's stdin and stdout, and so its workers'.
    let mut command = role::command(&MASTER, &workers)?;
    let mut master = command.stdin(questions).stdout(answer).spawn()?;
    // It holds our copies of the master's ends: with those open, the answers would never end.
    drop(command);

    // Each worker says that it has begun.
    answers
        .read_exact(&mut [0; WORKERS])
        .context("the workers did not begin")?;
    master.kill().context("cannot kill the master")?;
    master.wait().context("cannot wait for the master")?;

    // Whoever lives takes one question. The pipe's reader is gone if nobody does.
    let _ = ask.write_all(&[b'?'; WORKERS]);
    drop(ask);
    let mut alive = Vec::new();
    answers
        .read_to_end(&mut alive)
        .context("cannot read the answers")?;
    while nix::sys::wait::wait().is_ok() {}
    Ok(alive.len())
}

/// The master: it starts its workers, and waits to be killed.
pub static MASTER: Peer<Workers> = Peer {
    name: "master-to-be-killed",
    play: |workers| {
        if workers == Workers::Threads {
            thread::scope(|scope| {
                for _ in 0..WORKERS {
                    scope.spawn(|| answer_one_question(None));
                }
            });
            return Ok(());
        }
        // As long as the master lives, so does its end of this pipe.
        let (lifeline, held) = io::pipe().context("cannot make a pipe")?;
        let mut held = Some(held);
        for _ in 0..WORKERS {
            let work = || {
                if workers == Workers::Tied {
                    die_with_the_master()?;
                }
                // Closes this worker's copy of the end alone. Kept, it would hold the lifeline.
                held = None;
                answer_one_question((workers == Workers::Watching).then_some(&lifeline))
            };
            // SAFETY: the master has started no thread.
            unsafe { fork::child(work) }?;
        }
        loop {
            pause();
        }
    },
};

/// A worker: it says that it has begun, waits for a question, and answers it. If its lifeline
/// ends, so does it.
fn answer_one_question(lifeline: Option<&io::PipeReader>) -> anyhow::Result<()> {
    let mut stdout = io::stdout();
    stdout.write_all(b"!").and_then(|()| stdout.flush())?;
    let stdin = io::stdin();
    let mut fds = vec![PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    fds.extend(lifeline.map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)));
    poll(&mut fds, PollTimeout::NONE)?;
    if fds.get(1).is_some_and(|fd| fd.any() == Some(true)) {
        return Ok(());
    }
    // Not by way of `io::stdin()`, whose buffer would take the others' questions too.
    let mut question = [0];
    if nix::unistd::read(stdin.as_fd(), &mut question)? == 1 {
        stdout.write_all(b".").and_then(|()| stdout.flush())?;
    }
    Ok(())
}

#[cfg(target_os = "linux")]
fn die_with_the_master() -> anyhow::Result<()> {
    use nix::sys::{prctl, signal::Signal};
    prctl::set_pdeathsig(Signal::SIGKILL).context("cannot tie the worker to the master")
}

#[cfg(not(target_os = "linux"))]
fn die_with_the_master() -> anyhow::Result<()> {
    Ok(())
}
