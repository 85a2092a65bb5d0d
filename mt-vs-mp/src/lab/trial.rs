//! A trial: a role that is played in a fresh process, for one measurement. Whatever happens in
//! there, the laboratory goes on.

use std::{
    env,
    io::{BufReader, Read},
    process::{ExitStatus, Stdio},
};

use anyhow::Context;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    interrupt,
    role::{Answer, Role},
};

/// After a role's name and its parameter on the command line: it is a trial.
const TRIAL: &str = "--trial";

/// How a trial's process ended.
pub struct Ended<A> {
    /// `None` if it died before it answered. An error that the trial returned is an answer too.
    pub answer: Option<Answer<A>>,
    pub status: ExitStatus,
}

/// Runs a trial and returns its answer.
///
/// # Errors
/// When the trial fails, and when it dies.
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

/// The same for a trial that may die: how it ended is the result. `stderr` is where its last words
/// go.
pub fn run_to_its_end<P: Serialize, A: DeserializeOwned>(
    role: &Role<P, A>,
    parameter: &P,
    stderr: Stdio,
) -> anyhow::Result<Ended<A>> {
    let mut command = role.command(parameter)?;
    command
        .arg(TRIAL)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(stderr);
    // A group of its own: what is left of it after its end can be ended together, and so can all of
    // it when we are interrupted.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child = interrupt::start(&mut command)
        .with_context(|| format!("cannot start the trial {}", role.name))?;

    let mut line = String::new();
    let stdout = child.stdout.take().context("its output is a pipe")?;
    let read = BufReader::new(stdout).read_to_string(&mut line);
    let status = interrupt::wait(&mut child).context("cannot wait for the trial")?;
    // Ctrl-C ends a trial too, and what came of it is no result.
    interrupt::check()?;
    read.context("cannot read the trial's answer")?;
    let answer = match line.strip_suffix('\n') {
        Some(line) => Some(serde_json::from_str(line).context("the answer is garbled")?),
        None => None,
    };
    Ok(Ended { answer, status })
}

/// Whether this process is a trial.
pub fn is_one() -> bool {
    env::args_os().nth(4).is_some_and(|arg| arg == TRIAL)
}

/// In a trial: sees to it that it ends when the laboratory is gone, even if that was killed and
/// could end nothing; and that a trial that hangs is ended after five minutes.
pub fn end_with_the_laboratory() -> anyhow::Result<()> {
    #[cfg(unix)]
    nix::unistd::alarm::set(300);
    // Elsewhere, and if the laboratory is gone already, the trial ends when its work is done and
    // nobody takes the answer.
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)
        .context("cannot tie the trial to the laboratory")?;
    Ok(())
}
