//! The worker process: all that runs in it, from start to end.
//!
//! A worker is this same program, started again with `--worker` and the name of a type of task. It
//! reads tasks from its stdin, and writes replies to its stdout. When the master closes the
//! worker's stdin, or dies, the worker reads the end of file. It then ends too, after the tasks
//! that it has already received.

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

/// The first argument of a worker process.
const WORKER: &str = "--worker";

/// A message to a worker: the number of the attempt, and the tasks of a chunk.
pub type Tasks<T> = (u8, Vec<T>);

/// A message from a worker. For each message of tasks, it sends any number of `Line`, and then one
/// `Outcomes`.
#[derive(Serialize, Deserialize)]
pub enum Reply<Output> {
    /// A line that a task printed with [`Attempt::print`]. The master prints it on its own stdout.
    Line(String),
    /// An outcome for each task, and how long all of them took, by the worker's clock.
    Outcomes(Vec<Result<Output, String>>, Duration),
}

/// The arguments that make this program a worker for one type of task.
pub fn arguments(tasks: &str) -> [&str; 2] {
    [WORKER, tasks]
}

/// The command that starts a worker on this machine.
pub fn local_command(tasks: &str) -> io::Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command.args(arguments(tasks));
    Ok(command)
}

/// The name of a type of task, and [`serve`] for this type: what a worker process can be.
pub type Role = (&'static str, fn() -> anyhow::Result<u8>);

pub const fn role<T: Task>() -> Role {
    (T::NAME, serve::<T>)
}

/// In a worker process, runs tasks until its stdin ends, and returns the exit code. In a process
/// that is no worker, returns `None` at once.
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

/// Runs the tasks that come on stdin, and returns the exit code.
fn serve<T: Task>() -> anyhow::Result<u8> {
    let by_hand = io::stdin().is_terminal() || io::stdout().is_terminal();
    ensure!(!by_hand, "a worker is started by a pool only");
    let (stdin, stdout) = streams::take().context("cannot take over stdin and stdout")?;
    match run_tasks::<T, _, _>(Connection::new(stdin, stdout)) {
        Ok(()) => Ok(0),
        // The master has died. No process waits for the outcomes, so this is no error to report.
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
        let sent = master.send(&Reply::<T::Output>::Outcomes(outcomes, start.elapsed()));
        // If the outcomes cannot be encoded, nothing was sent. This is an error of the tasks, and
        // the worker goes on. (If the connection has failed, this second message fails too.)
        if let Err(error) = sent {
            let fail = |task: &T| Err(format!("{task} failed: its output: {error}"));
            let failed = tasks.iter().map(fail).collect();
            master.send(&Reply::<T::Output>::Outcomes(failed, start.elapsed()))?;
        }
    }
    Ok(())
}

/// Whether a connection failed because the other side has ended.
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

/// Keeps stdin and stdout for the connection, and gives the tasks another stdin and stdout. A task,
/// or a program that it starts, then cannot read the messages from the master or write between the
/// worker's messages. Such a program may go on after the worker has died. It does not hold the
/// connection open, so the master reads the end of file nevertheless.
#[cfg(unix)]
mod streams {
    use std::{
        fs::File,
        io::{self, PipeReader, PipeWriter},
        os::fd::AsFd,
    };

    use nix::unistd::{dup2_stdin, dup2_stdout};

    pub fn take() -> io::Result<(PipeReader, PipeWriter)> {
        // The connection uses these copies. They are close-on-exec: no other program inherits them.
        let stdin = io::stdin().as_fd().try_clone_to_owned()?;
        let stdout = io::stdout().as_fd().try_clone_to_owned()?;
        // A task that reads stdin finds the end of file. What it writes to stdout goes to stderr.
        dup2_stdin(File::open("/dev/null")?)?;
        dup2_stdout(io::stderr())?;
        Ok((stdin.into(), stdout.into()))
    }
}

/// On Windows, nothing replaces stdin and stdout, so a task must use neither. What it printed would
/// stand between the messages, and the master would take its first bytes for a length. Mostly this
/// length is not allowed, and the master ends the pool. After a very short line, the length can be
/// allowed: then the master waits for bytes that do not come.
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
pub mod tests {
    use serde::{Deserialize, Serialize, Serializer, ser::Error};

    use super::*;

    /// An output, or a task, that cannot be encoded.
    #[derive(Deserialize)]
    pub struct Unsendable;

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
