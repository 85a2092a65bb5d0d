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
//! cargo run -p ipc-demo -- hangup         the other side dies: hangup.rs, forgotten.rs
//! ```
//!
//! What the lessons have in common: [`peer`] is how a child process is started and first spoken to,
//! [`channel`] how a message is sent and received when signals arrive meanwhile.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod blocks;
mod channel;
mod forgotten;
mod hangup;
mod interrupt;
mod output;
mod peer;
mod pipe;
mod queue;
mod shared;

use peer::Role;

/// Processes that talk: a queue, a pipe, a shared block of memory.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    lesson: Option<Lesson>,
}

#[derive(Subcommand)]
enum Lesson {
    /// One process writes to a queue, another reads until the queue ends.
    Queue(queue::Options),
    /// Parent and child talk over two pipes, until the end of file.
    Pipe(blocks::Options),
    /// Parent and child see the same 64 MiB: what is copied, and how long it takes.
    Shared,
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
    ("dying-pipe-writer", hangup::write_to_pipe),
    ("dying-pipe-reader", hangup::read_from_pipe),
    ("dying-sender", hangup::send),
    ("dying-receiver", hangup::receive),
    ("end-awaiter", forgotten::await_end),
    ("line-writer", forgotten::write_line),
];

fn main() -> ExitCode {
    // First of all: in a child process, its role is the whole program.
    if let Some(result) = peer::play_role(ROLES) {
        return ExitCode::from(output::exit_code(result));
    }
    let cli = Cli::parse();
    let lesson = cli.lesson.unwrap_or(Lesson::Queue(queue::NOTES));
    ExitCode::from(output::exit_code(match lesson {
        Lesson::Queue(options) => queue::run(&options),
        Lesson::Pipe(options) => match options.blocks() {
            None => pipe::run(),
            Some((items, size)) => blocks::run(items, size),
        },
        Lesson::Shared => shared::run(),
        Lesson::Hangup => hangup::run(),
    }))
}
