//! # ipc-demo: processes that talk
//!
//! Processes share no memory, so all that passes between them goes through the system: queues,
//! pipes, shared blocks.
//!
//! ```text
//! cargo run -p ipc-demo        the notes' own program: queue.rs
//! ```
//!
//! [`peer`] is what the lessons have in common: how a child process is started and first spoken to.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod output;
mod peer;
mod queue;

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
    Queue,
}

/// What a child of this program can be.
const ROLES: &[(&str, Role)] = &[
    ("queue-reader", queue::read),
    ("queue-writer", queue::write),
];

fn main() -> ExitCode {
    // First of all: in a child process, its role is the whole program.
    if let Some(result) = peer::play_role(ROLES) {
        return ExitCode::from(output::exit_code(result));
    }
    let cli = Cli::parse();
    ExitCode::from(output::exit_code(match cli.lesson {
        None | Some(Lesson::Queue) => queue::run(),
    }))
}
