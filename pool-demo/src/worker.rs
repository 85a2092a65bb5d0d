//! A worker process, seen from both sides: the master's [`Worker`], and what runs in the worker
//! itself.
//!
//! A worker is this same program, started again with a word that says what it is. Master and worker
//! talk over one [`Connection`]: a task goes there, its outcome comes back. When the connection
//! ends, because the master closed it or is gone, in whatever way, the worker ends too.

use std::{
    env,
    ffi::OsStr,
    process::{self, Child, Command},
};

use anyhow::{Context, ensure};

use crate::{connection::Connection, pool::Outcome, task::Task};

/// As the first argument, it tells this program that it is a worker.
const WORKER: &str = "--worker";

/// The master's side of a worker.
pub struct Worker {
    child: Child,
    connection: Connection,
}

impl Worker {
    pub fn start() -> anyhow::Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        command.arg(WORKER);
        let (child, connection) = Connection::open(command)?;
        Ok(Self { child, connection })
    }

    /// Has the worker run a task, and waits for the outcome.
    ///
    /// # Errors
    /// When the worker ends before the task does.
    pub fn run(&mut self, task: &Task) -> anyhow::Result<Outcome> {
        let sent = self.connection.send(task);
        let outcome = sent.and_then(|()| self.connection.receive());
        match outcome {
            Ok(Some(outcome)) => Ok(outcome),
            _ => Ok(Err(format!("worker {} ended before it", self.child.id()))),
        }
    }

    /// Ends the worker, and waits until it has ended.
    pub fn end(mut self) -> anyhow::Result<()> {
        let id = self.child.id();
        // This is how the worker learns that there are no more tasks.
        drop(self.connection);
        let status = self
            .child
            .wait()
            .with_context(|| format!("cannot wait for worker {id}"))?;
        ensure!(status.success(), "worker {id} failed: {status}");
        Ok(())
    }
}

/// In a worker process: runs the tasks that come, until no more can come. Anywhere else: `None`.
pub fn serve_if_worker() -> Option<anyhow::Result<u8>> {
    (env::args_os().nth(1).as_deref() == Some(OsStr::new(WORKER))).then(serve)
}

fn serve() -> anyhow::Result<u8> {
    let mut master = Connection::to_master().context("a worker is started by a pool only")?;
    while let Some(task) = master.receive::<Task>().context("cannot receive a task")? {
        let outcome: Outcome = task
            .run(process::id())
            .map_err(|error| format!("{error:#}"));
        master.send(&outcome).context("cannot send an outcome")?;
    }
    Ok(0)
}
