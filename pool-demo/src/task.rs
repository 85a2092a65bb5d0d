//! What a pool is given to do: a function together with its argument.
//!
//! Python pickles the function's name and the argument, and the worker looks the name up. Here the
//! function is [`Task::run`] and the argument is the task itself. The name of the task's type is on
//! the worker's command line, so that only arguments need to travel.

use std::{
    any::Any,
    fmt,
    panic::{self, AssertUnwindSafe},
    thread::ThreadId,
};

use serde::{Serialize, de::DeserializeOwned};

/// A piece of work that can travel to another process. Its `Display` names it in messages, as in
/// "task 3".
pub trait Task: fmt::Display + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// By this name a worker process knows what to do: see `ROLES` in `main.rs`.
    const NAME: &'static str;

    type Output: Serialize + DeserializeOwned + Send + 'static;

    /// Does the work, in a worker.
    fn run(&self, attempt: Attempt) -> anyhow::Result<Self::Output>;
}

/// What a task came to: its output, or a sentence that names the task and says why there is none.
pub type Outcome<T> = Result<<T as Task>::Output, String>;

/// The circumstances in which a task runs.
#[derive(Clone, Copy)]
pub struct Attempt<'a> {
    pub worker: WorkerId,
    /// 1, or more if a worker died in this task, or in another of the same chunk. What the first attempt did is
    /// done: a task that must not do it twice can tell by this number. (Message queues have the
    /// same and call it "redelivered".)
    pub number: u8,
    /// Prints a line on the master's stdout. (In a worker process, stdout is the connection.)
    pub print: &'a dyn Fn(&str) -> anyhow::Result<()>,
}

/// A worker's name: the id of its process, or of its thread.
#[derive(Clone, Copy)]
pub enum WorkerId {
    Process(u32),
    Thread(ThreadId),
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Process(id) => write!(f, "{id}"),
            Self::Thread(id) => write!(f, "{id:?}"),
        }
    }
}

/// Runs a task so that, if it fails, it fails alone.
pub fn run<T: Task>(task: &T, attempt: Attempt) -> Outcome<T> {
    // A panic would end the worker, which has other tasks to do. Caught, it is an error like any
    // other. (Where it happened, Rust has said on stderr by then.)
    match panic::catch_unwind(AssertUnwindSafe(|| task.run(attempt))) {
        Ok(Ok(output)) => Ok(output),
        Ok(Err(error)) => Err(format!("{task} failed: {error:#}")),
        Err(payload) => Err(format!("{task} panicked: {}", message(&*payload))),
    }
}

/// The message of a panic, which is text of one of two types, or something else altogether.
pub fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
    text.unwrap_or("with something that is not text")
}
