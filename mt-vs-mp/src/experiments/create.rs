//! What a thread costs, and what a process: from the call that starts it until it has been joined.
//!
//! Each of them does nothing, so that only its making and its end are timed. The process that makes
//! them is as small as a process of this program can be; what a large one pays for its forks is
//! another experiment.

use std::{
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use super::Experiment;
use crate::{
    lab::{
        Lab,
        role::{self, Peer},
        statistics::median,
        trial::Trial,
        verdict::{self, Judgement},
    },
    report::{Finding, Table, figure::Figure},
};

pub const EXPERIMENT: Experiment = Experiment {
    name: "create",
    claim: "Creating a process is expensive, but with fork it will do.",
    share: 6,
    run,
    roles: &[&CREATE, &NOTHING],
};

/// "Expensive": at least so many times as much as a thread.
const EXPENSIVE: f64 = 3.0;

/// What is created.
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) enum Way {
    /// By the system's own call: what a C program gets.
    Thread,
    /// By Rust's standard library, which also makes room for a handler that names the thread if its
    /// stack overflows.
    StdThread,
    Fork,
    /// The smallest program that every Unix has.
    SpawnTrue,
    /// This program, in a role that ends at once.
    SpawnSelf,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Thread => "thread",
            Self::StdThread => "thread of Rust's std",
            Self::Fork => "fork",
            Self::SpawnTrue => "spawn of `true`",
            Self::SpawnSelf => "spawn of this program",
        }
    }

    /// How many are timed in one trial, after a few that are not: some milliseconds' worth.
    fn calls(self) -> usize {
        match self {
            Self::Thread | Self::StdThread => 200,
            Self::Fork => 60,
            Self::SpawnTrue | Self::SpawnSelf => 15,
        }
    }
}

fn run(lab: &Lab) -> anyhow::Result<(Finding, Judgement)> {
    let mut finding = Finding::default();
    let mut ways = vec![Way::Thread];
    if cfg!(unix) {
        ways.extend([Way::StdThread, Way::Fork]);
    } else {
        finding
            .left_out
            .push("fork: it exists on Unix only".to_owned());
    }
    match the_true_program() {
        Some(_) => ways.push(Way::SpawnTrue),
        None => finding
            .left_out
            .push("spawn of `true`: there is no such program".to_owned()),
    }
    ways.push(Way::SpawnSelf);

    let samples = lab.alternate(lab.budget, &ways, |way| CREATE.run(way))?;
    let mut table = Table::new(
        "One after the other, each doing nothing:",
        ["what", "from its start to its joined end", "times a thread"],
    );
    for (way, samples_of_way) in ways.iter().zip(&samples) {
        table.rows.push(vec![
            way.name().into(),
            Figure::seconds(samples_of_way).into(),
            Figure::times(samples_of_way, &samples[0]).into(),
        ]);
    }
    table.bars = Some(1);
    finding.tables.push(table);

    let of = |way| {
        ways.iter()
            .position(|&w| w == way)
            .map(|place| &samples[place])
    };
    let thread = &samples[0];
    let spawn = of(Way::SpawnTrue)
        .or(of(Way::SpawnSelf))
        .context("one of them was measured")?;
    let dear = Figure::times(spawn, thread);
    finding.headline = format!("spawn / thread = {}", dear);
    let expensive = verdict::at_least(dear.interval, EXPENSIVE);
    let judgement = match of(Way::Fork) {
        None => Judgement::new(
            expensive,
            format!(
                "a process costs {} as much as a thread; there is no fork here",
                dear
            ),
        ),
        Some(fork) => {
            let cheap = Figure::times(fork, spawn);
            Judgement::new(
                verdict::all([expensive, verdict::at_most(cheap.interval, 1.0)]),
                format!(
                    "a spawned process costs {} as much as a thread; a forked one {} as much as a spawned one",
                    dear, cheap
                ),
            )
        }
    };
    Ok((finding, judgement))
}

/// The median time of one creation, in seconds.
static CREATE: Trial<Way, f64> = Trial {
    name: "create",
    body: |way| {
        let mut times = Vec::with_capacity(way.calls());
        for _ in 0..way.calls() / 10 {
            time(way)?;
        }
        for _ in 0..way.calls() {
            times.push(time(way)?.as_secs_f64());
        }
        Ok(median(times))
    },
};

static NOTHING: Peer<()> = Peer {
    name: "nothing",
    play: |()| Ok(()),
};

/// One creation.
pub(super) fn time(way: Way) -> anyhow::Result<Duration> {
    match way {
        Way::Thread => time_thread(),
        Way::StdThread => time_std_thread(),
        Way::Fork => time_fork(),
        Way::SpawnTrue => time_spawn(Command::new(
            the_true_program().context("there is no `true`")?,
        )),
        Way::SpawnSelf => time_spawn(role::command(&NOTHING, &())?),
    }
}

#[cfg(unix)]
fn time_thread() -> anyhow::Result<Duration> {
    use std::{ffi::c_void, io, mem::MaybeUninit, ptr};

    use nix::libc;
    extern "C" fn nothing(_: *mut c_void) -> *mut c_void {
        ptr::null_mut()
    }
    let mut thread = MaybeUninit::uninit();
    let start = Instant::now();
    // SAFETY: `nothing` is a function that touches nothing, and the id is written where there is
    // room for one.
    let error =
        unsafe { libc::pthread_create(thread.as_mut_ptr(), ptr::null(), nothing, ptr::null_mut()) };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error)).context("cannot start a thread");
    }
    // SAFETY: the call has written the id, and this thread is joined once.
    unsafe { libc::pthread_join(thread.assume_init(), ptr::null_mut()) };
    Ok(start.elapsed())
}

/// Elsewhere the standard library's threads are all there is.
#[cfg(not(unix))]
fn time_thread() -> anyhow::Result<Duration> {
    time_std_thread()
}

fn time_std_thread() -> anyhow::Result<Duration> {
    let start = Instant::now();
    let thread = thread::Builder::new()
        .spawn(|| {})
        .context("cannot start a thread")?;
    thread
        .join()
        .expect("it does nothing, so it does not panic");
    Ok(start.elapsed())
}

#[cfg(unix)]
fn time_fork() -> anyhow::Result<Duration> {
    use nix::{
        libc,
        sys::wait::{WaitStatus, waitpid},
        unistd::{ForkResult, fork},
    };
    let start = Instant::now();
    // SAFETY: a trial that forks starts no thread, so no lock is held in the child for ever.
    match unsafe { fork() }.context("cannot fork")? {
        // SAFETY: `_exit` has no precondition. It runs none of our destructors and flushes none of
        // our buffers: those are the parent's.
        ForkResult::Child => unsafe { libc::_exit(0) },
        ForkResult::Parent { child } => {
            let status = waitpid(child, None).context("cannot wait for the child")?;
            let time = start.elapsed();
            ensure!(
                status == WaitStatus::Exited(child, 0),
                "the child failed: {status:?}"
            );
            Ok(time)
        }
    }
}

#[cfg(not(unix))]
fn time_fork() -> anyhow::Result<Duration> {
    anyhow::bail!("fork exists on Unix only")
}

/// `Command` starts a program by `posix_spawn` where it can.
fn time_spawn(mut program: Command) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let status = program
        .status()
        .with_context(|| format!("cannot start {program:?}"))?;
    let time = start.elapsed();
    ensure!(status.success(), "{program:?} failed: {status}");
    Ok(time)
}

pub(super) fn the_true_program() -> Option<&'static Path> {
    ["/bin/true", "/usr/bin/true"]
        .map(Path::new)
        .into_iter()
        .find(|path| path.exists())
}
