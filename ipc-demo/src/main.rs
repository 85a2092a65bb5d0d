//! # ipc-demo: processes that talk
//!
//! Processes share no memory, so all that passes between them goes through the system: queues,
//! pipes, shared blocks.
//!
//! ```text
//! cargo run -p ipc-demo                   the notes' own program: queue.rs
//! cargo run -p ipc-demo -- queue          the same with many writers, or many items
//! cargo run -p ipc-demo -- pipe           a dialogue, and when its end comes: pipe.rs
//! cargo run -p ipc-demo -- shared         64 MiB, sent and shared: shared.rs
//! cargo run -p ipc-demo -- lock           one number, many who add to it: lock.rs, robust.rs
//! cargo run -p ipc-demo -- fds            descriptors, to a process that is already there: fds.rs
//! cargo run -p ipc-demo -- hangup         the other side dies: hangup.rs, forgotten.rs
//! ```
//!
//! All lessons use [`child`], which starts a child process and hands it its arguments.
//! No call here is repeated after a signal (EINTR): this program has no signal handler,
//! and without one a signal ends or stops a process, but no call fails.

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
    /// Parent and child see the same 64 MiB: what is copied, and how long it takes.
    Shared,
    /// Several processes add to one shared number, without a lock and with one.
    Lock,
    /// A pipe and a file are passed to a process that was there before them.
    Fds,
    /// The other side dies, or a writer is forgotten: what each end sees.
    Hangup,
}

/// What a child of this program can be.
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
    // First of all: in a child process, its role is the whole program.
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
        Lesson::Shared => shared::run(),
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
