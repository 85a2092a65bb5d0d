//! # process-demo: a function in a process of its own
//!
//! Python's `multiprocessing.Process` takes a function and its arguments, and runs them in a new
//! process. [`process`] is the same idea in Rust, small enough to read; the lessons use it. What
//! travels to a child, and how, is in [`target`].
//!
//! ```text
//! cargo run -p process-demo                       the notes' own program: start.rs
//! cargo run -p process-demo -- join               what join does: join.rs
//! cargo run -p process-demo -- status             how a child can end: status.rs
//! cargo run -p process-demo -- signals            what a child can do about a signal: signals.rs
//! cargo run -p process-demo -- daemon             who ends with the parent: daemon.rs
//! cargo run -p process-demo --release -- methods  fork, forkserver, spawn: methods.rs
//! ```
//!
//! [`fork`] and [`forkserver`] are the two start methods that only a Unix has; nothing but
//! [`methods`] needs them.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod daemon;
#[cfg(unix)]
mod fork;
#[cfg(unix)]
mod forkserver;
#[cfg(unix)]
mod inherited;
mod join;
mod methods;
mod output;
mod process;
#[cfg(unix)]
mod signals;
mod start;
mod status;
mod target;

use target::Target;

/// A function in a process of its own: start, join, and how a child ends.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    lesson: Option<Lesson>,
}

#[derive(Subcommand)]
enum Lesson {
    /// The parent without join, with it, and with a timeout.
    Join,
    /// How a child can end, and what its parent then sees.
    Status,
    /// What a child can do about a signal: catch it, ignore it, block it.
    Signals,
    /// Which children end with their parent, and which one outlives it.
    Daemon,
    /// The same function by fork, by forkserver and by spawn, and what each costs.
    Methods(methods::Options),
}

/// Every function that may run in a child, under the name that travels to it.
const TARGETS: &[(&str, Target)] = &[
    ("run_child", start::run_child),
    ("write_name", join::write_name),
    ("work_while_needed", join::work_while_needed),
    ("exit", status::exit),
    ("fail", status::fail),
    ("panic", status::panic),
    ("abort", status::abort),
    ("wait", status::wait),
    #[cfg(target_os = "linux")]
    ("send_itself_sigrtmin", status::send_itself_sigrtmin),
    #[cfg(unix)]
    ("finish_at_sigterm", signals::finish_at_sigterm),
    #[cfg(unix)]
    ("ignore_sigterm", signals::ignore_sigterm),
    #[cfg(unix)]
    ("count_sigusr1", signals::count_sigusr1),
    #[cfg(unix)]
    ("read_stdin", signals::read_stdin),
    ("parent", daemon::parent),
    ("child", daemon::child),
    ("do_nothing", methods::do_nothing),
    ("start_by", methods::start_by),
    ("try_lock", methods::try_lock),
    #[cfg(unix)]
    (forkserver::TARGET, forkserver::serve),
];

fn main() -> ExitCode {
    ExitCode::from(output::exit_code(run()))
}

fn run() -> anyhow::Result<u8> {
    #[cfg(unix)]
    inherited::reset_signals()?;
    // A child runs its target and returns here: what follows is for the parent only. In Python
    // `if __name__ == "__main__":` does this. Without it, each child would start children of its own.
    if let Some(result) = target::run_target() {
        return result;
    }
    match Cli::parse().lesson {
        None => start::run(),
        Some(Lesson::Join) => join::run(),
        Some(Lesson::Status) => status::run(),
        #[cfg(unix)]
        Some(Lesson::Signals) => signals::run(),
        #[cfg(not(unix))]
        Some(Lesson::Signals) => anyhow::bail!("this lesson needs signals, which only a Unix has"),
        Some(Lesson::Daemon) => daemon::run(),
        Some(Lesson::Methods(options)) => methods::run(&options),
    }
}
