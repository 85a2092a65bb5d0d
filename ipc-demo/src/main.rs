//! # ipc-demo: processes that talk
//!
//! Each process has its own memory. What passes between processes goes through the system: through
//! a queue or a pipe, or through a block of memory that they ask the system to share.
//!
//! ```text
//! cargo run -p ipc-demo                   the notes' own program: queue.rs
//! cargo run -p ipc-demo -- queue          the same; options for more items, writers, readers
//! cargo run -p ipc-demo -- pipe           a dialogue, and when its end comes: pipe.rs, blocks.rs
//! cargo run -p ipc-demo -- shared         a block, sent and shared: shared.rs
//! cargo run -p ipc-demo -- lock           several processes add to one number: lock.rs, robust.rs
//! cargo run -p ipc-demo -- fds            descriptors for a process that already runs: fds.rs
//! cargo run -p ipc-demo -- hangup         the other side dies: hangup.rs, forgotten.rs
//! ```
//!
//! All lessons use [`child`], which starts a child process and sends it its arguments.
//!
//! About signals: a call that waits can fail with EINTR when a signal handler runs. This program
//! installs no handler, so it repeats no call. It ignores SIGPIPE, because every Rust program
//! starts so, as Python does. So a write to a pipe without a reader does not end the process, but
//! returns the error "Broken pipe".

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod blocks;
mod child;
#[cfg(unix)]
mod fds;
mod folder;
mod forgotten;
mod hangup;
mod inherited;
mod lock;
mod output;
mod pipe;
mod queue;
#[cfg(target_os = "linux")]
mod robust;
mod shared;

use child::Role;

/// Processes that talk: a queue, a pipe, a shared block of memory.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    lesson: Option<Lesson>,
}

#[derive(Subcommand)]
enum Lesson {
    /// Processes write to a queue, others read until the queue ends.
    Queue(queue::Options),
    /// Parent and child talk over two pipes, until the end of file.
    Pipe(blocks::Options),
    /// Parent and child see the same block: what is copied, and how long it takes.
    Shared(shared::Options),
    /// Several processes add to one shared number, without a lock and with one.
    Lock,
    /// A pipe and a file are passed to a process that was started before they were opened.
    Fds,
    /// The other side dies, or a writing end is not closed: what each end sees.
    Hangup,
}

/// The roles that a child of this program can have: the name of each, and its function.
const ROLES: &[(&str, Role)] = &[
    ("queue-reader", queue::read),
    ("queue-writer", queue::write),
    ("pipe-partner", pipe::answer),
    ("block-writer", blocks::write),
    ("shared-reader", shared::read),
    ("adder", lock::add),
    #[cfg(target_os = "linux")]
    ("mutex-owner", robust::change),
    #[cfg(unix)]
    ("fd-receiver", fds::receive_all),
    ("dying-pipe-writer", hangup::write_to_pipe),
    ("dying-pipe-reader", hangup::read_from_pipe),
    ("dying-sender", hangup::send),
    ("dying-receiver", hangup::receive),
    ("end-awaiter", forgotten::await_end),
    ("line-writer", forgotten::write_line),
];

fn main() -> ExitCode {
    ExitCode::from(output::exit_code(inherited::run(run)))
}

fn run() -> anyhow::Result<u8> {
    // This comes first: a child runs its role, and nothing of the rest.
    if let Some(result) = child::play_role(ROLES) {
        return result;
    }
    folder::prepare();
    match Cli::parse().lesson.unwrap_or(Lesson::Queue(queue::NOTES)) {
        Lesson::Queue(options) => queue::run(&options),
        Lesson::Pipe(options) => match options.blocks() {
            None => pipe::run(),
            Some((items, size)) => blocks::run(items, size),
        },
        Lesson::Shared(options) => shared::run(&options),
        Lesson::Lock => lock::run(),
        #[cfg(unix)]
        Lesson::Fds => fds::run(),
        #[cfg(not(unix))]
        Lesson::Fds => {
            anyhow::bail!("this lesson needs sockets that pass descriptors, which only a Unix has")
        }
        Lesson::Hangup => hangup::run(),
    }
}
