//! # process-demo: a function in a process of its own
//!
//! Python's `multiprocessing.Process` takes a function and its arguments, and runs them in a new
//! process. [`process`] is the same idea in Rust, small enough to read; the lessons use it. What
//! travels to a child, and how, is in [`target`].
//!
//! ```text
//! cargo run -p process-demo                       the notes' own program: start.rs
//! cargo run -p process-demo -- join               what join is worth: join.rs
//! cargo run -p process-demo -- status             how a child can end: status.rs
//! cargo run -p process-demo --release -- methods  fork, forkserver, spawn: methods.rs
//! ```
//!
//! [`fork`] and [`forkserver`] are the two start methods that only a Unix has; nothing but
//! [`methods`] needs them.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    // In a child this runs the target, and nothing else. Python's spawn needs `if __name__ ==
    // "__main__":` for the same reason: otherwise a child would start children of its own.
    if let Some(result) = target::run_target() {
        return result;
    }
    match Cli::parse().lesson {
        None => start::run(),
        Some(Lesson::Join) => join::run(),
        Some(Lesson::Status) => status::run(),
        Some(Lesson::Methods(options)) => methods::run(&options),
    }
}
