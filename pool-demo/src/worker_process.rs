//! The master's side of one worker process, and of the one that replaces it when it dies.
//!
//! A worker can die at any moment: because of its task, by `kill`, because memory is short. Its
//! tasks are then run once more, by a new worker. A task that was alone in its worker when it died,
//! twice, is taken to be the cause, and is given up. (Python's `Pool` replaces the worker, but
//! forgets the task, and who waits for its result waits for ever:
//! <https://github.com/python/cpython/issues/66587>.)

use std::{io::ErrorKind, slice, sync::Arc};

use anyhow::{Context, bail, ensure};

use crate::{
    connection::ToWorker,
    output::say,
    pool::Worker,
    process_pool::Children,
    task::{Outcome, Task},
    worker::Reply,
};

/// This many workers in a row may die without having finished anything. More would die the same
/// way.
const MAX_DEATHS: u32 = 10;

pub struct WorkerProcess {
    children: Arc<Children>,
    id: u32,
    connection: ToWorker,
    /// How many workers died here since one finished something.
    deaths: u32,
}

impl WorkerProcess {
    /// Starts a worker, which is not yet ready.
    pub fn start(children: &Arc<Children>) -> anyhow::Result<Self> {
        let (id, connection) = children.start()?;
        Ok(Self {
            children: Arc::clone(children),
            id,
            connection,
            deaths: 0,
        })
    }

    /// Waits until the worker has said that it is ready.
    ///
    /// # Errors
    /// When it ends before that. Another would do the same: no task is the cause.
    pub fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        if let Err(error) = self.connection.receive_greeting(self.children.tasks) {
            let status = self.children.kill_and_wait(self.id)?;
            bail!("worker {} is not ready: {error:#} ({status})", self.id);
        }
        Ok(())
    }

    /// Has the worker run some tasks. `None`: it died, and has been replaced.
    fn attempt<T: Task>(
        &mut self,
        number: u8,
        tasks: &[T],
    ) -> anyhow::Result<Option<Vec<Outcome<T>>>> {
        match self.connection.send(&(number, tasks)) {
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                let fail = |task: &T| Err(format!("{task} cannot be sent: {error}"));
                return Ok(Some(tasks.iter().map(fail).collect()));
            }
            Err(_) => return self.replace(&name(tasks)).map(|()| None),
            Ok(()) => {}
        }
        loop {
            match self.connection.receive::<Reply<T::Output>>() {
                Ok(Some(Reply::Line(line))) => say!("{line}")?,
                Ok(Some(Reply::Outcomes(outcomes, _))) => {
                    self.deaths = 0;
                    return Ok(Some(outcomes));
                }
                Err(error) if error.kind() == ErrorKind::InvalidData => {
                    return Err(error).with_context(|| format!("worker {} replied", self.id));
                }
                // The connection ends when the worker does.
                Ok(None) | Err(_) => return self.replace(&name(tasks)).map(|()| None),
            }
        }
    }

    fn replace(&mut self, tasks: &str) -> anyhow::Result<()> {
        let (dead, status) = (self.id, self.children.kill_and_wait(self.id)?);
        self.deaths += 1;
        ensure!(
            self.deaths < MAX_DEATHS,
            "{MAX_DEATHS} workers in a row died without finishing anything, \
             the last of them, {dead}, in {tasks} ({status})"
        );
        let replaced = self.children.start().and_then(|(id, connection)| {
            (self.id, self.connection) = (id, connection);
            self.wait_until_ready()
        });
        replaced.with_context(|| format!("cannot replace worker {dead}, which died in {tasks}"))?;
        let new = self.id;
        say!("Worker {dead} died in {tasks} ({status}); worker {new} takes its place.")
    }
}

impl<T: Task> Worker<T> for WorkerProcess {
    fn run(&mut self, tasks: &[T]) -> anyhow::Result<Vec<Outcome<T>>> {
        if let Some(outcomes) = self.attempt(1, tasks)? {
            return Ok(outcomes);
        }
        // Once more, but now each by itself: so it is known in which of them a worker dies, and the
        // others get their results. A death among several tasks counts for none of them.
        let mut again = |task| {
            let first_alone = if tasks.len() == 1 { 2 } else { 1 };
            for death in first_alone..=2 {
                // After the chunk's attempt, which was number 1.
                let number = death + u8::from(tasks.len() > 1);
                if let Some(mut one) = self.attempt(number, slice::from_ref(task))? {
                    return one.pop().context("a worker gave no outcome");
                }
            }
            Ok(Err(format!("{task} was given up: two workers died in it")))
        };
        tasks.iter().map(&mut again).collect()
    }
}

fn name<T: Task>(tasks: &[T]) -> String {
    match tasks {
        [] => "no task".to_owned(),
        [task] => task.to_string(),
        [first, .., last] => format!("one of {first} to {last}"),
    }
}
