//! A worker process, from its first line to its last.
//!
//! A worker is this same program, started again with a word that says what it is, and the name of
//! the tasks it will get. Master and worker talk over one [`Connection`]: tasks go there, outcomes
//! come back. When the connection ends, because the master closed it or is gone, in whatever way,
//! the worker ends too, as soon as it is done with the tasks that it was sent together.

use std::{
    env,
    ffi::OsStr,
    io,
    process::{self, Child, Command},
};

use anyhow::{Context, anyhow, bail};

use crate::{
    connection::Connection,
    task::{self, Attempt, Outcome, Task, WorkerId},
};

/// As the first argument, it tells this program that it is a worker.
const WORKER: &str = "--worker";

/// A worker's first message: it says nothing but that the worker has come so far.
pub type Ready = ();

/// A message to a worker: which attempt this is, and tasks. It is answered by one [`Outcome`] for
/// each.
pub type Tasks<T> = (u8, Vec<T>);

/// Starts a worker for tasks of that name.
pub fn start(tasks: &str) -> io::Result<(Child, Connection)> {
    let mut command = Command::new(env::current_exe()?);
    command.args([WORKER, tasks]);
    Connection::open(command)
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
    Some(match roles.iter().find(|(role, _)| name == *role) {
        Some((_, serve)) => serve(),
        None => Err(anyhow!(
            "no tasks are named {name:?}: a worker is started by a pool only"
        )),
    })
}

/// Runs the tasks that come.
fn serve<T: Task>() -> anyhow::Result<u8> {
    let mut master = Connection::to_master().context("a worker is started by a pool only")?;
    match run_tasks::<T>(&mut master) {
        Ok(()) => Ok(0),
        // The master died meanwhile. Nobody waits for us, so there is nobody to tell.
        Err(error) if is_hangup(&error) => Ok(0),
        Err(error) => bail!("the connection to the master failed: {error}"),
    }
}

fn run_tasks<T: Task>(master: &mut Connection) -> io::Result<()> {
    let worker = WorkerId::Process(process::id());
    master.send::<Ready>(&())?;
    while let Some((number, tasks)) = master.receive::<Tasks<T>>()? {
        let attempt = Attempt { worker, number };
        let run = |task| task::run(task, attempt);
        master.send::<Vec<Outcome<T>>>(&tasks.iter().map(run).collect())?;
    }
    Ok(())
}

fn is_hangup(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    [BrokenPipe, ConnectionReset, UnexpectedEof].contains(&error.kind())
}
