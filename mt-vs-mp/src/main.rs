//! # mt-vs-mp: a laboratory for threads and processes
//!
//! The notes compare threads with processes: which are cheaper, which are faster, which survive a
//! crash? Here every claim is tried on this machine, and gets a verdict.
//!
//! ```text
//! cargo run -p mt-vs-mp --release                         all experiments, the ledger at the end
//! cargo run -p mt-vs-mp --release -- list                 the experiments and their claims
//! cargo run -p mt-vs-mp --release -- run create crash     some of them
//! cargo run -p mt-vs-mp --release -- compare A.json B.json
//!                                                         two runs side by side
//! cargo run -p mt-vs-mp --release -- serve                a web server, in three models
//! ```
//!
//! In reading order, and each module imports only modules that are named after it: [`run`] conducts
//! the [`experiments`], one file each; [`report`] shows their findings; [`lab`] measures;
//! [`finding`] is what an experiment returns: figures, tables, plots, and a verdict.
//!
//! To read one experiment, these words are enough:
//!
//! - A *trial* is one measurement, in a process of its own: this program, started again in the
//!   *role* that the command line names, with a parameter as JSON. So no measurement influences the
//!   next one. The threads and processes that a trial starts have the trial's process as their
//!   *master*. What the role returns is the *sample*. It comes back on the process's stdout, as a
//!   line of JSON.
//! - `lab.alternate` measures all *variants* in *rounds*: in each round one trial of each variant,
//!   in an order that changes. There are at least six rounds, and more while there is time: an
//!   experiment has its `share` of it. `lab.mode.pick(quick, default, full)` is the value for the
//!   run's mode.
//! - `those_that_fit` tries each variant once. If the machine has no room for it (a limit, or the
//!   system's refusal), it is *left out*, and the report says so. Any other error ends the
//!   experiment, and the report says "not measured". The run goes on, and its exit code is 1.
//! - A figure is the median of its samples, with the interval that encloses the true median with at
//!   least 95%. A ratio is taken round by round, so a slow round does not spoil it.
//! - `verdict::at_least` and `at_most` compare an interval with a bound. The claim *holds* or
//!   *fails* if the whole interval is on one side, and is *unclear* if the bound lies inside. Of
//!   several cases (`by_case`), the verdict *depends* if one holds and another fails; otherwise it
//!   is unclear if one of them is. Of several statements (`every`), the worst counts.
//! - Windows has no fork: an experiment that needs it is a module for Unix alone, and is "not
//!   measured" elsewhere. The others run there too.

use std::process::ExitCode;

use clap::Parser;

mod cli;
mod experiments;
mod finding;
mod lab;
mod output;
mod report;
mod run;
mod serve;
mod work;

use cli::{Cli, Command};

fn main() -> ExitCode {
    ExitCode::from(output::exit_code(begin()))
}

fn begin() -> anyhow::Result<u8> {
    // This comes first: this process may be one that the laboratory has started to play a role.
    if let Some(played) = lab::role::play_role(experiments::roles()) {
        return played;
    }
    let Cli { command, options } = Cli::parse();
    match command {
        None => run::run(&experiments::ALL.iter().collect::<Vec<_>>(), &options),
        Some(Command::Run { names, options }) => run::run(&cli::chosen(&names), &options),
        Some(Command::List) => cli::list(),
        Some(Command::Compare { first, second }) => report::comparison::show(&first, &second),
        Some(Command::Serve(options)) => serve::run(&options),
    }
}
