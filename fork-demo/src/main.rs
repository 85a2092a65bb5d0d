//! # fork-demo: one process becomes two
//!
//! `fork` is called once and returns twice, in two processes. Python's `multiprocessing` at first
//! started every process by this call on Unix. So this demo is the first one.
//!
//! ```text
//! cargo run -p fork-demo                 the notes' own program: fork.rs
//! cargo run -p fork-demo -- many         many children, and how each one ended: many.rs
//! cargo run -p fork-demo -- copy         what a child gets a copy of, and what it shares: copy.rs
//! cargo run -p fork-demo -- order        which process runs first, and how to enforce it: order.rs
//! cargo run -p fork-demo -- exec         what a new program finds in its process: exec.rs
//! cargo run -p fork-demo -- locked       why a program with threads should not fork: locked.rs
//! cargo run -p fork-demo -- orphan       children not waited for, and without a parent: orphan.rs
//! cargo run -p fork-demo -- serve        a web server, and a child for each request: serve.rs
//! ```
//!
//! The lessons share [`child`] (how a child starts and ends) and [`process_table`] (what the system
//! tells about a process).

use std::{process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};

#[cfg(unix)]
mod child;
#[cfg(unix)]
mod copy;
#[cfg(unix)]
mod exec;
#[cfg(unix)]
mod fork;
#[cfg(unix)]
mod locked;
#[cfg(unix)]
mod many;
#[cfg(unix)]
mod order;
#[cfg(unix)]
mod orphan;
#[cfg_attr(not(unix), allow(unused, reason = "there is no lesson"))]
mod output;
#[cfg(unix)]
mod process_table;
#[cfg(unix)]
mod serve;

/// One process becomes two: fork, and what a parent owes its children.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    lesson: Option<Lesson>,
}

#[derive(Subcommand)]
#[cfg_attr(not(unix), allow(dead_code, reason = "there is no lesson"))]
enum Lesson {
    /// Fork many children, and wait until the last one has ended.
    Many {
        /// How many children.
        #[arg(long, default_value_t = 3, allow_negative_numbers = true)]
        #[arg(value_parser = clap::value_parser!(u32).range(0..=10_000))]
        children: u32,
    },
    /// What the child has a copy of, and what it shares with its parent.
    Copy,
    /// Which of the two runs first: counted, and then enforced.
    Order {
        /// How often each try forks.
        #[arg(long, default_value_t = 1000, allow_negative_numbers = true)]
        #[arg(value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
        forks: u32,
    },
    /// What a new program finds in the process that it is put into.
    Exec,
    /// A lock that another thread holds during the fork: the child never gets it.
    Locked,
    /// A child that nobody waits for, and one whose parent is gone.
    Orphan,
    /// A web server that forks a child for every request. (`/slow?ms=N` waits, `/crash` crashes.)
    Serve {
        /// Where to listen, on 127.0.0.1; 0 takes any port that is free.
        #[arg(long, default_value_t = 8080, allow_negative_numbers = true)]
        port: u16,

        /// How many children may run at once. When all are busy, a new client waits.
        #[arg(long, default_value_t = 64, allow_negative_numbers = true)]
        #[arg(value_parser = clap::value_parser!(u16).range(1..=10_000))]
        max_children: u16,

        /// How long a client may take for the head of its request, in seconds.
        #[arg(
            long,
            value_name = "SECONDS",
            default_value = "5",
            allow_negative_numbers = true
        )]
        #[arg(value_parser = seconds)]
        head_timeout: Duration,
    },
    /// What the new program of the lesson `exec` does. (`marked` and `unmarked` are descriptors.)
    #[command(hide = true)]
    AfterExec { unmarked: i32, marked: i32 },
    /// What the new program of the lesson `locked` does.
    #[command(hide = true)]
    TakeTheLock,
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        // (Any number from 0.001 to 3600, which gets the name `seconds`.)
        Ok(seconds @ 0.001..=3600.0) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("a number of seconds from 0.001 to 3600 is allowed".into()),
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    ExitCode::from(output::exit_code(run(cli.lesson)))
}

#[cfg(unix)]
fn run(lesson: Option<Lesson>) -> anyhow::Result<u8> {
    child::keep_until_waited_for()?;
    match lesson {
        None => fork::run(),
        Some(Lesson::Many { children }) => many::run(children),
        Some(Lesson::Copy) => copy::run(),
        Some(Lesson::Order { forks }) => order::run(forks),
        Some(Lesson::Exec) => exec::run(),
        Some(Lesson::AfterExec { unmarked, marked }) => exec::after([unmarked, marked]),
        Some(Lesson::Locked) => locked::run(),
        Some(Lesson::TakeTheLock) => locked::take_the_lock(),
        Some(Lesson::Orphan) => orphan::run(),
        Some(Lesson::Serve {
            port,
            max_children,
            head_timeout,
        }) => serve::run(port, max_children.into(), head_timeout),
    }
}

#[cfg(not(unix))]
fn run(_: Option<Lesson>) -> anyhow::Result<u8> {
    anyhow::bail!(
        "fork exists on Unix only; see the same idea on every system with: cargo run -p process-demo"
    )
}
