//! The worker processes of a pool as the system sees them: children that must be waited for, and
//! sometimes killed.
//!
//! They do not belong to their attendants, who most of the time wait for an outcome: to end the
//! pool early, somebody else must be able to end them.

use std::{
    collections::HashMap,
    process::{Child, ExitStatus},
    sync::{Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context, ensure};

use crate::{connection::Connection, worker};

const ENDED: &str = "the pool has ended";

pub struct Crew {
    /// The name of the tasks that they work on.
    tasks: &'static str,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By their ids.
    children: HashMap<u32, Child>,
    /// Whether the pool is to end, and nobody is started any more.
    over: bool,
    /// Why it ends, unless it was asked to.
    error: Option<anyhow::Error>,
}

impl Crew {
    pub fn new(tasks: &'static str) -> Self {
        let state = Mutex::default();
        Self { tasks, state }
    }

    /// Starts a worker, and returns its id with the connection to it.
    pub fn start(&self) -> anyhow::Result<(u32, Connection)> {
        // The lock is held until the child is in the list: whoever ends the pool comes before it,
        // and we see that, or after it, and sees this child.
        let mut state = self.lock();
        ensure!(!state.over, ENDED);
        let (child, connection) = worker::start(self.tasks)?;
        let id = child.id();
        state.children.insert(id, child);
        Ok((id, connection))
    }

    /// Waits for a worker that has died, and says how.
    pub fn bury(&self, id: u32) -> anyhow::Result<ExitStatus> {
        let child = self.lock().children.remove(&id);
        let mut child = child.with_context(|| format!("there is no worker {id}"))?;
        // One that only closed its connection would keep us waiting.
        let _ = child.kill();
        let status = child.wait();
        status.with_context(|| format!("cannot wait for worker {id}"))
    }

    /// # Errors
    /// When the pool is to end.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(!self.lock().over, ENDED);
        Ok(())
    }

    /// Kills all workers, so that the pool ends; whose attendant waits for one sees it die.
    pub fn end(&self, error: Option<anyhow::Error>) {
        let mut state = self.lock();
        if !state.over {
            // What fails from now on fails because of this.
            state.over = true;
            state.error = error;
            for child in state.children.values_mut() {
                let _ = child.kill();
            }
        }
    }

    /// Waits until all workers have ended, and returns the error for which the pool ended.
    pub fn wait(&self) -> anyhow::Result<()> {
        let mut state = self.lock();
        for (id, mut child) in state.children.drain() {
            let status = child.wait();
            // How it ended does not matter: it had no task.
            status.with_context(|| format!("cannot wait for worker {id}"))?;
        }
        state.error.take().map_or(Ok(()), Err)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
