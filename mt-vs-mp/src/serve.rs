//! Three web servers that do the same work: with processes, with threads, and with both.
//!
//! The notes end with servers: Apache uses processes and is stable, IIS uses threads and is not as
//! stable, and both now mix the two. All three models are here, to use, to crash, and to measure.
//! [`prefork`] is Apache's oldest model (since 0.7, 1995), [`threads`] is one process of many
//! threads, [`hybrid`] is what Apache calls its worker model. Each of these files holds only what
//! is different in its model.
//!
//! ```text
//! cargo run -p mt-vs-mp --release -- serve --model prefork
//! ```
//!
//! Open `/status` at the address that it prints. Then open `/crash` in a second window: which
//! workers are gone?
//!
//! All other files are shared by the models. [`worker`] takes one connection after another,
//! [`http`] reads the requests of a connection, [`routes`] answers them. [`scoreboard`] is the
//! memory in which all workers note what they do, and [`status`] shows it. [`supervisor`] starts
//! the processes, and replaces those that die. [`waiting`] makes a worker wait for a client, but
//! not longer than the server runs.

use std::{
    net::{Ipv4Addr, TcpListener},
    process,
    time::Duration,
};

use anyhow::Context;
use clap::{ValueEnum, error::ErrorKind};

use crate::output::say;

mod http;
#[cfg(unix)]
mod hybrid;
#[cfg(unix)]
mod log;
#[cfg(unix)]
mod prefork;
mod routes;
mod scoreboard;
mod signals;
mod status;
#[cfg(unix)]
mod supervisor;
mod threads;
mod waiting;
mod worker;

use scoreboard::Board;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Model {
    /// Processes, each with one connection at a time.
    Prefork,
    /// One process of threads.
    Threads,
    /// Processes of threads.
    Hybrid,
}

#[derive(clap::Args)]
pub struct Options {
    /// Whether the workers are processes, threads, or both.
    #[arg(long, value_enum)]
    model: Model,

    /// How many processes [default: prefork 16, threads 1, hybrid 4].
    #[arg(long, allow_negative_numbers = true, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1000))]
    processes: Option<u16>,

    /// How many threads in each process [default: prefork 1, threads 16, hybrid 4].
    #[arg(long, allow_negative_numbers = true, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1000))]
    threads: Option<u16>,

    /// The port on 127.0.0.1; 0 takes any that is free.
    #[arg(long, allow_negative_numbers = true, default_value_t = 8080)]
    port: u16,

    /// Replace each process after N requests, as servers do whose code may leak memory.
    #[arg(long, allow_negative_numbers = true, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    max_requests: Option<u64>,
}

/// How long the requests under way may take when the server was told to end.
const GRACE: Duration = Duration::from_secs(5);
/// The exit code after a second Ctrl-C.
const INTERRUPTED: u8 = 130;

/// What all workers of a server share. It is made before the first worker starts.
struct Site {
    model: Model,
    listener: TcpListener,
    board: &'static Board,
    /// How many requests a process answers before it is replaced.
    max_requests: u64,
    /// The id of the process that was started first.
    master: u32,
}

/// Serves until SIGINT or SIGTERM (Ctrl-C on Windows) arrives.
///
/// A program that starts this server passes `--port 0`, and reads the first line of its stdout: the
/// line ends with the address.
pub fn run(options: &Options) -> anyhow::Result<u8> {
    let (processes, threads) = options.size();
    let listener = listen(options.port)?;
    let address = listener.local_addr().context("cannot find the port")?;
    // It is never freed, because threads may still use it when `main` returns.
    let site: &Site = Box::leak(Box::new(Site {
        model: options.model,
        listener,
        board: scoreboard::new(processes, threads)?,
        max_requests: options.max_requests.unwrap_or(u64::MAX),
        master: process::id(),
    }));
    let announce = || {
        say!(
            "{} of {}: listening on http://{address}/",
            amount(processes, "process", "es"),
            amount(threads, "thread", "s"),
        )
    };
    match options.model {
        Model::Threads => threads::serve(site, announce),
        #[cfg(unix)]
        Model::Prefork => prefork::serve(site, announce),
        #[cfg(unix)]
        Model::Hybrid => hybrid::serve(site, announce),
        #[cfg(not(unix))]
        Model::Prefork | Model::Hybrid => anyhow::bail!(
            "this model forks its processes, and this system has no fork; try --model threads"
        ),
    }
}

impl Site {
    /// From now on, the server accepts no connections.
    fn close(&self) {
        waiting::close(&self.listener);
    }
}

impl Options {
    /// The number of processes, and of threads in each.
    fn size(&self) -> (usize, usize) {
        let refuse = |why| -> ! { clap::Error::raw(ErrorKind::ArgumentConflict, why).exit() };
        let given = (self.processes.unwrap_or(0), self.threads.unwrap_or(0));
        let (processes, threads) = match (self.model, given) {
            (Model::Prefork, (_, 2..)) => refuse("prefork has one thread in each process\n"),
            (Model::Threads, (2.., _)) => refuse("threads has one process\n"),
            (Model::Threads, _) if self.max_requests.is_some() => {
                refuse("--max-requests replaces a process, and threads has only one\n")
            }
            (Model::Prefork, _) => (16, 1),
            (Model::Threads, _) => (1, 16),
            (Model::Hybrid, _) => (4, 4),
        };
        (
            self.processes.map_or(processes, usize::from),
            self.threads.map_or(threads, usize::from),
        )
    }
}

fn listen(port: u16) -> anyhow::Result<TcpListener> {
    let address = (Ipv4Addr::LOCALHOST, port);
    TcpListener::bind(address)
        .and_then(waiting::prepare)
        .with_context(|| format!("cannot listen on {}:{port}", address.0))
}

/// Text such as "1 process" or "4 processes".
fn amount(number: usize, one: &str, more: &str) -> String {
    format!("{number} {one}{}", if number == 1 { "" } else { more })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_model_has_sixteen_workers_if_no_number_is_given() {
        let size = |model, processes, threads| {
            let options = Options {
                model,
                processes,
                threads,
                port: 0,
                max_requests: None,
            };
            options.size()
        };
        assert_eq!(size(Model::Prefork, None, None), (16, 1));
        assert_eq!(size(Model::Threads, None, None), (1, 16));
        assert_eq!(size(Model::Hybrid, None, None), (4, 4));
        assert_eq!(size(Model::Prefork, Some(3), Some(1)), (3, 1));
        assert_eq!(size(Model::Threads, Some(1), Some(3)), (1, 3));
        assert_eq!(size(Model::Hybrid, Some(2), Some(3)), (2, 3));
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!(amount(0, "process", "es"), "0 processes");
        assert_eq!(amount(1, "process", "es"), "1 process");
        assert_eq!(amount(2, "thread", "s"), "2 threads");
    }
}
