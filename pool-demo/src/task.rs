//! A task is what a pool runs: a function together with its argument.
//!
//! Python pickles the function's name and the argument, and the worker looks up the name. Here the
//! function is [`Task::run`], and the argument is the value that it is called on. A worker process
//! gets the name of its type of task on its command line, so the messages carry only arguments.

use std::{
    any::Any,
    fmt,
    panic::{self, AssertUnwindSafe},
    thread::ThreadId,
};

use serde::{Serialize, de::DeserializeOwned};

/// A piece of work that can be sent to another process (`Serialize`, `DeserializeOwned`), or shared
/// with another thread (`Send`, `Sync`). `Display` gives its name in printed lines, as in "task 3".
pub trait Task: fmt::Display + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The name of this type of task, by which a worker process finds it: see `ROLES` in `main.rs`.
    const NAME: &'static str;

    type Output: Serialize + DeserializeOwned + Send + 'static;

    /// Does the work, in a worker.
    fn run(&self, attempt: Attempt) -> anyhow::Result<Self::Output>;
}

/// The result of a task: its output, or a sentence that names the task and says why it has none.
pub type Outcome<T> = Result<<T as Task>::Output, String>;

/// The circumstances in which a task runs.
#[derive(Clone, Copy)]
pub struct Attempt<'a> {
    pub worker: WorkerId,
    /// 1, or more if a worker died while it had this task, alone or in a chunk with others. Then an
    /// earlier attempt may have begun, and what it did is not undone. A task that must not do it
    /// twice can look at this number: 1 means that there was no attempt before. (Message queues
    /// call a message with a later attempt "redelivered".) In the lesson `remote`, the number is
    /// always 1 and says nothing.
    pub number: u8,
    /// Prints a line on the master's stdout. (In a worker process, stdout is the connection.)
    pub print: &'a dyn Fn(&str) -> anyhow::Result<()>,
}

/// The id of a worker: of its process, or of its thread.
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

/// Runs a task. If the task panics, that is an error of this task, and the worker goes on.
pub fn run<T: Task>(task: &T, attempt: Attempt) -> Outcome<T> {
    // `catch_unwind` catches a panic, as `except BaseException` catches an exception in Python. A
    // panic that is not caught would end the worker, which has other tasks to do. (Before it is
    // caught, Rust prints on stderr where it happened.)
    match panic::catch_unwind(AssertUnwindSafe(|| task.run(attempt))) {
        Ok(Ok(output)) => Ok(output),
        Ok(Err(error)) => Err(format!("{task} failed: {error:#}")),
        Err(payload) => Err(format!("{task} panicked: {}", message(&*payload))),
    }
}

/// The message of a panic: a `String` or a `&str`. A panic with a value of another type has none.
pub fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
    text.unwrap_or("with something that is not text")
}
