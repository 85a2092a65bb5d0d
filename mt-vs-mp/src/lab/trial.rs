//! A trial: a fresh process that plays a role for one measurement. However it ends, the laboratory
//! goes on.

use std::{
    io::{BufReader, Read},
    process::{ExitStatus, Stdio},
};

use anyhow::Context;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    interrupt,
    role::{Answer, Role},
};

/// How a trial's process ended.
pub struct Ended<A> {
    /// `None` if the process died before it answered. If the role returned an error, that is its
    /// answer.
    pub answer: Option<Answer<A>>,
    pub status: ExitStatus,
}

/// Runs a trial and returns its answer.
///
/// # Errors
/// When the role returns an error, or the process dies.
pub fn run<P: Serialize, A: DeserializeOwned>(
    role: &Role<P, A>,
    parameter: &P,
) -> anyhow::Result<A> {
    let ended = run_to_its_end(role, parameter, Stdio::inherit())?;
    let name = role.name;
    let answer = ended
        .answer
        .with_context(|| format!("the trial {name} died: {}", ended.status))?;
    answer
        .map_err(anyhow::Error::from)
        .with_context(|| format!("the trial {name} failed"))
}

/// Runs a trial whose process may die: how it ended is the result.
///
/// # Errors
/// When the process hangs: after half a minute its alarm ends it.
pub fn run_to_its_end<P: Serialize, A: DeserializeOwned>(
    role: &Role<P, A>,
    parameter: &P,
    stderr: Stdio,
) -> anyhow::Result<Ended<A>> {
    let mut command = role.command(parameter)?;
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(stderr);
    // It leads a new process group: so it can be killed together with all processes that it has
    // started, after its end or when the run is interrupted.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child = interrupt::start(&mut command)
        .with_context(|| format!("cannot start the trial {}", role.name))?;

    let mut line = String::new();
    let stdout = child.stdout.take().context("its output is a pipe")?;
    let read = BufReader::new(stdout).read_to_string(&mut line);
    let status = interrupt::wait(&mut child).context("cannot wait for the trial")?;
    // A trial that Ctrl-C has ended is no result.
    interrupt::check()?;
    #[cfg(unix)]
    {
        use nix::sys::signal::Signal::SIGALRM;
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        anyhow::ensure!(
            signal != Some(SIGALRM as i32),
            "the trial {} hung",
            role.name
        );
    }
    read.context("cannot read the trial's answer")?;
    let answer = match line.strip_suffix('\n') {
        Some(line) => Some(serde_json::from_str(line).context("the answer is garbled")?),
        None => None,
    };
    Ok(Ended { answer, status })
}
