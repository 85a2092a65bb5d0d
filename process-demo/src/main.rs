//! # process-demo: a function in a process of its own
//!
//! Python's `multiprocessing.Process` takes a function and its arguments, and runs the function in
//! a new process. [`process`] has the same type in Rust, small enough to read; the lessons use it.
//! [`target`] shows how a child learns which function it has to run.
//!
//! ```text
//! cargo run -p process-demo                       the program of the study notes: start.rs
//! cargo run -p process-demo -- join               what join does: join.rs
//! cargo run -p process-demo -- status             how a child can end: status.rs
//! cargo run -p process-demo -- signals            what a child can do about a signal: signals.rs
//! cargo run -p process-demo -- daemon             when the parent ends: daemon.rs
//! cargo run -p process-demo --release -- methods  fork, forkserver, spawn: methods.rs
//! ```
//!
//! [`fork`] and [`forkserver`] are two more start methods, which only a Unix has. [`methods`]
//! compares them with spawn; no other lesson starts a child by them. [`inherited`] resets signals,
//! and [`output`] prints lines and errors.

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
    /// A parent without join, with it, and with a timeout.
    Join,
    /// How a child can end, and what its parent then sees.
    Status,
    /// What a child can do about a signal: catch it, ignore it, block it.
    Signals,
    /// What becomes of the children when their parent returns, and when it is killed.
    Daemon,
    /// The same function by fork, by forkserver and by spawn, and what each costs.
    Methods(methods::Options),
}

/// Every function that may run in a child, with the name that is passed to the child.
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
    // A child runs its function, and returns: the code below is for the parent only. In Python,
    // this is the purpose of `if __name__ == "__main__":`. Without it, each child would run the
    // parent's code too, and would start a child of its own.
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
