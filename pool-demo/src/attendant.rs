//! The master's side of one worker process, and of the one that takes its place when it dies.
//!
//! A worker can die at any moment: of its task, by `kill`, because memory is short. The tasks that
//! it had are then run once more, by a new worker. If that dies too, it is taken to be the task's
//! doing, and the task is given up. (Python's `Pool` replaces the worker, but forgets the task, and
//! who waits for it waits for ever: <https://github.com/python/cpython/issues/66587>.)

use std::{slice, sync::Arc};

use anyhow::{Context, bail, ensure};

use crate::{
    connection::Connection,
    crew::Crew,
    output::say,
    pool::Worker,
    task::{Outcome, Task},
    worker::Ready,
};

/// So many workers in a row may die without having finished anything. More would die the same way.
const DEATHS: u32 = 10;

pub struct Attendant {
    pub crew: Arc<Crew>,
    /// The id of our worker.
    id: u32,
    connection: Connection,
    /// How many workers died here since one finished something.
    deaths: u32,
}

impl Attendant {
    /// Starts a worker, which is not yet ready.
    pub fn new(crew: &Arc<Crew>) -> anyhow::Result<Self> {
        let (id, connection) = crew.start()?;
        Ok(Self {
            crew: Arc::clone(crew),
            id,
            connection,
            deaths: 0,
        })
    }

    /// Waits until the worker has said that it is ready.
    ///
    /// # Errors
    /// When it ends before that. Another would do the same: no task is to blame.
    pub fn await_ready(&mut self) -> anyhow::Result<()> {
        if !matches!(self.connection.receive::<Ready>(), Ok(Some(()))) {
            let status = self.crew.bury(self.id)?;
            bail!("worker {} ended before it was ready ({status})", self.id);
        }
        Ok(())
    }

    /// Has the worker run some tasks. `None`: it died, and another has taken its place.
    fn attempt<T: Task>(
        &mut self,
        number: u8,
        tasks: &[T],
    ) -> anyhow::Result<Option<Vec<Outcome<T>>>> {
        let sent = self.connection.send(&(number, tasks));
        match sent.and_then(|()| self.connection.receive()) {
            Ok(Some(outcomes)) => {
                self.deaths = 0;
                Ok(Some(outcomes))
            }
            // The connection ends with the worker, and only then.
            _ => self.replace_worker(&name(tasks)).map(|()| None),
        }
    }

    fn replace_worker(&mut self, tasks: &str) -> anyhow::Result<()> {
        let (dead, status) = (self.id, self.crew.bury(self.id)?);
        self.deaths += 1;
        ensure!(
            self.deaths < DEATHS,
            "{DEATHS} workers in a row died without finishing anything, \
             the last of them, {dead}, in {tasks} ({status})"
        );
        let replaced = self.crew.start().and_then(|(id, connection)| {
            (self.id, self.connection) = (id, connection);
            self.await_ready()
        });
        replaced.with_context(|| format!("cannot replace worker {dead}, which died in {tasks}"))?;
        let new = self.id;
        say!("Worker {dead} died in {tasks} ({status}); worker {new} takes its place.")
    }
}

impl<T: Task> Worker<T> for Attendant {
    fn run(&mut self, tasks: &[T]) -> anyhow::Result<Vec<Outcome<T>>> {
        if let Some(outcomes) = self.attempt(1, tasks)? {
            return Ok(outcomes);
        }
        // Once more, but now each by itself: so, if one of them is deadly, it is known which, and
        // the others live.
        let mut again = |task| {
            let outcome = self.attempt(2, slice::from_ref(task))?;
            let given_up = || Err(format!("{task} was given up: two workers died in it"));
            anyhow::Ok(
                outcome
                    .and_then(|mut one| one.pop())
                    .unwrap_or_else(given_up),
            )
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
