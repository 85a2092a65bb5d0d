//! A fresh process for one measurement: whatever happens in there, the laboratory goes on.

use std::{
    io::{BufReader, Read},
    process::{ExitStatus, Stdio},
};

use anyhow::{Context, anyhow};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    interrupt,
    role::{self, Role, tell_parent},
};

/// One measurement: from a parameter, which says which variant is tried, to an answer, which is
/// what was measured.
///
/// A `static`, so that both sides, the laboratory that asks and the fresh process that answers,
/// find the same one; the compiler sees to it that they speak of the same types.
pub struct Trial<P, A> {
    /// No two trials have the same name.
    pub name: &'static str,
    /// Runs in the fresh process, in which there is no other thread yet.
    pub body: fn(P) -> anyhow::Result<A>,
}

/// How a trial's process ended.
pub struct Ended<A> {
    /// `None` if it died before it answered. An error that the trial returned is an answer too.
    pub answer: Option<Result<A, String>>,
    pub status: ExitStatus,
}

impl<P: Serialize, A: DeserializeOwned> Trial<P, A>
where
    Self: Role,
{
    /// Runs the trial in a fresh process and returns its answer.
    ///
    /// # Errors
    /// When the trial fails, and when it dies.
    pub fn run(&self, parameter: &P) -> anyhow::Result<A> {
        let ended = self.run_to_its_end(parameter, Stdio::inherit())?;
        let status = ended.status;
        let answer = ended
            .answer
            .with_context(|| format!("the trial {} died: {status}", self.name))?;
        answer.map_err(|error| anyhow!(error).context(format!("the trial {} failed", self.name)))
    }

    /// The same for a trial that may die: how it ended is the result. `stderr` is where its last
    /// words go.
    pub fn run_to_its_end(&self, parameter: &P, stderr: Stdio) -> anyhow::Result<Ended<A>> {
        let mut command = role::command(self, parameter)?;
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr);
        // A group of its own: what is left of it after its end can be ended together, and so can
        // all of it when we are interrupted.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = interrupt::start(&mut command)
            .with_context(|| format!("cannot start the trial {}", self.name))?;

        let mut line = String::new();
        let stdout = child.stdout.take().context("its output is a pipe")?;
        let read = BufReader::new(stdout).read_to_string(&mut line);
        let status = child.wait();
        interrupt::ended();
        read.and(Ok(())).context("cannot read the trial's answer")?;
        let status = status.context("cannot wait for the trial")?;
        let answer = match line.strip_suffix('\n') {
            Some(line) => Some(serde_json::from_str(line).context("the answer is garbled")?),
            None => None,
        };
        Ok(Ended { answer, status })
    }
}

impl<P: DeserializeOwned, A: Serialize> Role for Trial<P, A> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn play(&self, parameter: &str) -> anyhow::Result<u8> {
        end_with_the_laboratory()?;
        let parameter = serde_json::from_str(parameter).context("the parameter is garbled")?;
        let answer = (self.body)(parameter).map_err(|error| format!("{error:#}"));
        tell_parent(&answer)?;
        Ok(0)
    }
}

/// Sees to it that a trial ends when the laboratory is gone, even if that was killed and could end
/// nothing. And a trial that hangs is ended after five minutes.
#[cfg(unix)]
pub fn end_with_the_laboratory() -> anyhow::Result<()> {
    nix::unistd::alarm::set(300);
    // Elsewhere, and if the laboratory is gone already, the trial ends when its work is done and
    // nobody takes the answer.
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)
        .context("cannot tie the trial to the laboratory")?;
    Ok(())
}

#[cfg(not(unix))]
fn end_with_the_laboratory() -> anyhow::Result<()> {
    Ok(())
}
