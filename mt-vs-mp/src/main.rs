//! # mt-vs-mp: a laboratory for threads and processes
//!
//! The notes weigh threads against processes: which are cheaper, which are faster, which survive a
//! crash. Here every claim is tried on the machine at hand, and gets a verdict.
//!
//! ```text
//! cargo run -p mt-vs-mp --release                         all experiments, the ledger at the end
//! cargo run -p mt-vs-mp --release -- list                 what there is to try
//! cargo run -p mt-vs-mp --release -- run create crash     some of it
//! cargo run -p mt-vs-mp --release -- compare A.json B.json
//!                                                         two runs side by side
//! cargo run -p mt-vs-mp --release -- serve                a web server by processes, threads, or both
//! ```
//!
//! In reading order, and each imports only what stands after it: [`run`] conducts the
//! [`experiments`], one file each; [`report`] shows what came of them; [`lab`] is how anything is
//! measured; [`finding`] is what a measurement ends as: figures, tables, plots, verdicts.

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
    // First of all: a measurement runs in a fresh process of this same program, in another role.
    if lab::trial::is_one() {
        lab::trial::end_with_the_laboratory()?;
    }
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
