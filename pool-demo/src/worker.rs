//! A worker process, from its first line to its last.
//!
//! A worker is this same program, started again with `--worker` and the name of its tasks. Tasks
//! come on its stdin, replies leave by its stdout. When stdin ends, because the master closed it or
//! is gone, the worker ends too, as soon as it is done with the tasks that it was sent.

use std::{
    cell::RefCell,
    env,
    ffi::OsStr,
    io::{self, ErrorKind, IsTerminal},
    process::{self, Command},
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::{
    connection::Connection,
    task::{self, Attempt, Outcome, Task, WorkerId},
};

/// As the first argument, it tells this program that it is a worker.
const WORKER: &str = "--worker";

/// A message to a worker: which attempt this is, and tasks.
pub type Tasks<T> = (u8, Vec<T>);

/// A message from a worker: any number of lines, and then an outcome for each task.
#[derive(Serialize, Deserialize)]
pub enum Reply<Output> {
    /// A line that a task printed. The master prints it: the worker's stdout is the connection.
    Line(String),
    /// How long the tasks took, by the worker's clock, comes with them.
    Outcomes(Vec<Result<Output, String>>, Duration),
}

/// The arguments that make this program a worker for some tasks.
pub fn arguments(tasks: &str) -> [&str; 2] {
    [WORKER, tasks]
}

/// The command that starts a worker on this machine.
pub fn local_command(tasks: &str) -> io::Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command.args(arguments(tasks));
    Ok(command)
}

/// What a worker can be: the name of a type of task, and [`serve`] for that type.
pub type Role = (&'static str, fn() -> anyhow::Result<u8>);

pub const fn role<T: Task>() -> Role {
    (T::NAME, serve::<T>)
}

/// In a worker process: serves its master, until no more tasks can come. Anywhere else: `None`.
pub fn serve_if_worker(roles: &[Role]) -> Option<anyhow::Result<u8>> {
    let mut args = env::args_os().skip(1);
    if args.next().as_deref() != Some(OsStr::new(WORKER)) {
        return None;
    }
    let name = args.next().unwrap_or_default();
    let role = roles.iter().find(|(role, _)| name == *role);
    Some(match role.filter(|_| args.next().is_none()) {
        Some((_, serve)) => serve(),
        None => Err(anyhow!(
            "no tasks are named {name:?}: a worker is started by a pool only"
        )),
    })
}

/// Runs the tasks that come.
fn serve<T: Task>() -> anyhow::Result<u8> {
    let by_hand = io::stdin().is_terminal() || io::stdout().is_terminal();
    ensure!(!by_hand, "a worker is started by a pool only");
    let (stdin, stdout) = streams::take().context("a worker is started by a pool only")?;
    match run_tasks::<T, _, _>(Connection::new(stdin, stdout)) {
        Ok(()) => Ok(0),
        // The master died meanwhile. Nobody waits for us, so there is nobody to tell.
        Err(error) if is_hangup(&error) => Ok(0),
        Err(error) => bail!("the connection to the master failed: {error}"),
    }
}

fn run_tasks<T: Task, R: io::Read, W: io::Write>(mut master: Connection<R, W>) -> io::Result<()> {
    let worker = WorkerId::Process(process::id());
    master.send_greeting(T::NAME, &host_name(), process::id())?;
    while let Some((number, tasks)) = master.receive::<Tasks<T>>()? {
        let connection = RefCell::new(&mut master);
        let print = |line: &str| {
            let line = Reply::<T::Output>::Line(line.to_owned());
            Ok(connection.borrow_mut().send(&line)?)
        };
        let attempt = Attempt {
            worker,
            number,
            print: &print,
        };
        let start = Instant::now();
        let outcomes: Vec<Outcome<T>> = tasks.iter().map(|task| task::run(task, attempt)).collect();
        match master.send(&Reply::<T::Output>::Outcomes(outcomes, start.elapsed())) {
            // Not the worker failed, but the tasks did.
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                let fail = |task: &T| Err(format!("{task} failed: its output: {error}"));
                let failed = tasks.iter().map(fail).collect();
                master.send(&Reply::<T::Output>::Outcomes(failed, start.elapsed()))?;
            }
            sent => sent?,
        }
    }
    Ok(())
}

fn is_hangup(error: &io::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    [BrokenPipe, ConnectionReset, UnexpectedEof].contains(&error.kind())
}

/// This machine's name, as one word.
fn host_name() -> String {
    #[cfg(unix)]
    let name = nix::unistd::gethostname().ok();
    #[cfg(not(unix))]
    let name = env::var_os("COMPUTERNAME");
    let name = name.unwrap_or_else(|| "unknown".into());
    name.to_string_lossy().replace(char::is_whitespace, "-")
}

/// The connection takes the places of stdin and stdout away from the tasks. A program that a task
/// starts must not read our tasks, nor hold the connection open after we have ended.
#[cfg(unix)]
mod streams {
    use std::{
        fs::File,
        io::{self, PipeReader, PipeWriter},
        os::fd::AsFd,
    };

    use nix::unistd::{dup2_stdin, dup2_stdout};

    pub fn take() -> io::Result<(PipeReader, PipeWriter)> {
        // These copies are close-on-exec.
        let stdin = io::stdin().as_fd().try_clone_to_owned()?;
        let stdout = io::stdout().as_fd().try_clone_to_owned()?;
        dup2_stdin(File::open("/dev/null")?)?;
        // What a task, or a program of a task, writes to stdout goes to stderr.
        dup2_stdout(io::stderr())?;
        Ok((stdin.into(), stdout.into()))
    }
}

#[cfg(windows)]
mod streams {
    use std::{
        io::{self, PipeReader, PipeWriter},
        os::windows::io::AsHandle,
    };

    pub fn take() -> io::Result<(PipeReader, PipeWriter)> {
        let stdin = io::stdin().as_handle().try_clone_to_owned()?;
        let stdout = io::stdout().as_handle().try_clone_to_owned()?;
        Ok((stdin.into(), stdout.into()))
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize, Serializer, ser::Error};

    use super::*;

    /// What a task returns, and no message can hold.
    #[derive(Deserialize)]
    struct Unsendable;

    impl Serialize for Unsendable {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(S::Error::custom("it stays here"))
        }
    }

    #[derive(Serialize, Deserialize)]
    struct Secret;

    impl std::fmt::Display for Secret {
        fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
            f.write_str("the secret task")
        }
    }

    impl Task for Secret {
        const NAME: &'static str = "secret";
        type Output = Unsendable;

        fn run(&self, _: Attempt) -> anyhow::Result<Unsendable> {
            Ok(Unsendable)
        }
    }

    #[test]
    fn an_output_that_cannot_be_sent_fails_its_task_and_not_the_worker() {
        let mut tasks = Vec::new();
        let mut master = Connection::new(io::empty(), &mut tasks);
        master
            .send(&(1u8, vec![Secret]))
            .expect("a Vec takes everything");
        let mut replies = Vec::new();
        run_tasks::<Secret, _, _>(Connection::new(&tasks[..], &mut replies))
            .expect("the worker goes on until its tasks end");
        let mut master = Connection::new(&replies[..], io::sink());
        master.receive_greeting(Secret::NAME).expect("it greets");
        let reply = master.receive::<Reply<()>>().expect("it is whole");
        let Some(Reply::Outcomes(outcomes, _)) = reply else {
            panic!("it sends outcomes");
        };
        let error = outcomes[0].as_ref().expect_err("it cannot be sent");
        assert!(
            error.starts_with("the secret task failed: its output: "),
            "{error}"
        );
    }
}
