//! The type [`Process`], in the shape of Python's `multiprocessing.Process`.
//!
//! A new process shares no memory with us, so no closure can be handed to it. What can travel is a
//! name. The child is this same program, started again with the name of a function and its
//! arguments on its command line: what Python calls the start method "spawn". It works on every
//! system.

use std::{
    env,
    ffi::OsStr,
    process::{Child, Command, ExitStatus},
};

use anyhow::{Context, bail};

/// What a child process runs: it gets the arguments, and what it returns becomes the exit code.
pub type Target = fn(&[String]) -> anyhow::Result<u8>;

/// As the first argument, it tells this program that it is a child.
const CHILD: &str = "--child";

/// A function that runs, or will run, in a process of its own.
pub struct Process {
    target: String,
    args: Vec<String>,
    child: Option<Child>,
}

impl Process {
    /// Prepares to run the function named `target`; nothing runs before [`start`](Self::start).
    pub fn new<A: Into<String>>(target: &str, args: impl IntoIterator<Item = A>) -> Self {
        Self {
            target: target.to_owned(),
            args: args.into_iter().map(Into::into).collect(),
            child: None,
        }
    }

    /// Starts the child process.
    ///
    /// # Errors
    /// When it was started before, and when the system refuses a new process.
    pub fn start(&mut self) -> anyhow::Result<()> {
        if self.child.is_some() {
            bail!("a process can be started only once");
        }
        let program = env::current_exe().context("cannot find this program's own file")?;
        let child = Command::new(program)
            .args([CHILD, &self.target])
            .args(&self.args)
            .spawn()
            .with_context(|| format!("cannot start a process for {:?}", self.target))?;
        self.child = Some(child);
        Ok(())
    }

    /// Waits until the child has ended, and says how.
    ///
    /// # Errors
    /// When it was never started.
    pub fn join(&mut self) -> anyhow::Result<ExitStatus> {
        let child = self
            .child
            .as_mut()
            .context("a process must be started before it can be joined")?;
        child
            .wait()
            .with_context(|| format!("cannot wait for process {}", child.id()))
    }
}

/// In a child: runs its target, and returns the target's result. Anywhere else: `None`.
pub fn run_target(targets: &[(&str, Target)]) -> Option<anyhow::Result<u8>> {
    let mut args = env::args_os().skip(1);
    if args.next().as_deref() != Some(OsStr::new(CHILD)) {
        return None;
    }
    let args: Vec<String> = args.map(|arg| arg.to_string_lossy().into_owned()).collect();
    Some(match args.split_first() {
        Some((name, args)) => match targets.iter().find(|(target, _)| target == name) {
            Some((_, target)) => target(args),
            None => Err(anyhow::anyhow!(
                "no function named {name:?} can run in a child"
            )),
        },
        None => Err(anyhow::anyhow!("{CHILD} needs the name of a function")),
    })
}
