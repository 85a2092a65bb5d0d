//! The master's side of one worker process, and of the workers that replace it when it dies.
//!
//! A worker can die at any moment: by a fault in its task, by `kill`, or because the system has no
//! memory left. Then a new worker runs all tasks of the chunk again, each of them alone. When two
//! workers have died while they ran the same task alone, this task is taken to be the cause, and is
//! given up. (Python's `Pool` replaces the worker, but forgets the task. A caller that waits for
//! the result then waits for ever: <https://github.com/python/cpython/issues/66587>.)

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

/// When this many workers have died one after the other, and none of them has returned an outcome,
/// the pool ends. The cause is then hardly a single task.
const MAX_DEATHS: u32 = 10;

pub struct WorkerProcess {
    children: Arc<Children>,
    id: u32,
    connection: ToWorker,
    /// How many workers of this thread have died since one of them returned outcomes.
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

    /// Waits for the worker's greeting, which says that it is ready.
    ///
    /// # Errors
    /// When the worker ends before that. This ends the pool: no task is the cause, so another
    /// worker would do the same.
    pub fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        if let Err(error) = self.connection.receive_greeting(self.children.tasks) {
            let status = self.children.kill_and_wait(self.id)?;
            bail!("worker {} is not ready: {error:#} ({status})", self.id);
        }
        Ok(())
    }

    /// Lets the worker run some tasks. Returns `None` if the worker died; then it has been
    /// replaced.
    ///
    /// # Errors
    /// When the pool must end: for example, because the worker cannot be replaced.
    fn attempt<T: Task>(
        &mut self,
        number: u8,
        tasks: &[T],
    ) -> anyhow::Result<Option<Vec<Outcome<T>>>> {
        match self.connection.send(&(number, tasks)) {
            // The tasks cannot be encoded, which is an error of the tasks and not of the worker.
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                let fail = |task: &T| Err(format!("{task} cannot be sent: {error}"));
                return Ok(Some(tasks.iter().map(fail).collect()));
            }
            // The worker died before it had received all of the message.
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
                // The connection ends because the worker has died.
                Ok(None) | Err(_) => return self.replace(&name(tasks)).map(|()| None),
            }
        }
    }

    /// Runs one task, from attempt 2 up to the last one that it may have.
    fn run_alone<T: Task>(&mut self, task: &T, last_attempt: u8) -> anyhow::Result<Outcome<T>> {
        // `2..=3` are the numbers 2 and 3.
        for number in 2..=last_attempt {
            if let Some(mut outcomes) = self.attempt(number, slice::from_ref(task))? {
                return outcomes.pop().context("a worker gave no outcome");
            }
        }
        Ok(Err(format!("{task} was given up: two workers died in it")))
    }

    /// Reaps the dead worker and starts another.
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
        // The worker died. The outcomes of a chunk come together at its end, so none has come, and
        // it is not known in which task the worker died. So each task runs again alone, also those
        // that had ended. If a worker dies again, it is known which task this worker ran, and the
        // other tasks still get their outcomes.
        //
        // A task is given up when two workers have died while they ran it alone. If it was alone in
        // attempt 1, this was the first death: only attempt 2 is left. If it was in a chunk
        // with others, attempts 2 and 3 are left.
        let last_attempt = if tasks.len() == 1 { 2 } else { 3 };
        let mut outcomes = Vec::new();
        for task in tasks {
            outcomes.push(self.run_alone(task, last_attempt)?);
        }
        Ok(outcomes)
    }
}

/// What a chunk is called in printed lines.
fn name<T: Task>(tasks: &[T]) -> String {
    match tasks {
        [] => "no task".to_owned(),
        [task] => task.to_string(),
        [first, .., last] => format!("one of {first} to {last}"),
    }
}

#[cfg(test)]
mod tests {
    use std::{env, fmt, process::Command};

    use super::*;
    use crate::{
        connection, imap_unordered::UnevenTask, map::Echo, task::Attempt, worker::tests::Unsendable,
    };

    #[test]
    fn a_chunk_is_named_after_its_first_and_last_task() {
        let uneven = [0, 1, 2].map(UnevenTask);
        assert_eq!(name(&uneven), "one of task 0 to task 2");
        assert_eq!(name(&[Echo::Number(7)]), "task 7");
        assert_eq!(name(&[Echo::Text("007".into())]), "a task with 3 bytes");
    }

    impl fmt::Display for Unsendable {
        fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("the secret task")
        }
    }

    impl Task for Unsendable {
        const NAME: &'static str = "unsendable";
        type Output = ();

        fn run(&self, _: Attempt) -> anyhow::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_task_that_cannot_be_sent_fails_and_its_worker_is_not_replaced() {
        // Nothing is sent, so any program can stand for the worker: here this one, which prints its
        // help.
        let program = env::current_exe().expect("it has a path");
        let (mut child, connection) =
            connection::start(Command::new(program).arg("--help")).expect("it can be started");
        child.wait().expect("it can be waited for");
        let mut worker = WorkerProcess {
            children: Arc::new(Children::new(Unsendable::NAME)),
            id: child.id(),
            connection,
            deaths: 0,
        };
        let outcomes = worker.run(&[Unsendable]).expect("the pool goes on");
        let error = outcomes[0].as_ref().expect_err("it cannot be sent");
        assert!(
            error.starts_with("the secret task cannot be sent: "),
            "{error}"
        );
    }
}
