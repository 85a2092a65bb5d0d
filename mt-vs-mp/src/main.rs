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
    if lab::trial::is_this_process() {
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
