//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, builder::PossibleValuesParser};

use crate::{
    experiments::{self, Experiment},
    lab::Mode,
    output::say,
    serve,
};

/// Threads or processes? Every claim is tried on this machine, and gets a verdict.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub options: Options,
}

#[derive(Subcommand)]
pub enum Command {
    /// Show the names of the experiments, and their claims.
    List,
    /// Run only some of the experiments.
    Run {
        /// Their names.
        #[arg(required = true, value_name = "NAME", value_parser = names())]
        names: Vec<String>,
        #[command(flatten)]
        options: Options,
    },
    /// A web server by processes, by threads, or by both.
    Serve(serve::Options),
    /// Show two runs side by side: two machines, two systems, before and after a change.
    Compare {
        /// The JSON file of one run.
        #[arg(value_name = "A.json")]
        first: PathBuf,
        /// The JSON file of the other run.
        #[arg(value_name = "B.json")]
        second: PathBuf,
    },
}

/// How a run measures, and to which files its figures are written.
#[derive(clap::Args)]
pub struct Options {
    /// Take only a few seconds: the intervals are wider.
    #[arg(long)]
    quick: bool,

    /// Take some minutes: narrower intervals, and more cases.
    #[arg(long, conflicts_with = "quick")]
    full: bool,

    /// How many workers share the work [default: one for each of the machine's cores].
    #[arg(long, allow_negative_numbers = true, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: Option<u16>,

    /// Write all figures to a file, as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Write all of it to a file, as a web page.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

impl Options {
    pub fn mode(&self) -> Mode {
        match (self.quick, self.full) {
            (true, _) => Mode::Quick,
            (_, true) => Mode::Full,
            _ => Mode::Default,
        }
    }
}

/// The experiments of these names, in the order of the list, each once.
pub fn chosen(names: &[String]) -> Vec<&'static Experiment> {
    experiments::ALL
        .iter()
        .filter(|experiment| names.iter().any(|name| name == experiment.name))
        .collect()
}

pub fn list() -> anyhow::Result<u8> {
    for Experiment { name, claim, .. } in experiments::ALL {
        say!("{name:10}  {claim}")?;
    }
    Ok(0)
}

/// Clap refuses any other name, and suggests a similar one.
fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(experiments::ALL.iter().map(|experiment| experiment.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_chooses_the_mode() {
        let mode = |options: &[&str]| {
            let words = ["mt-vs-mp"].iter().chain(options);
            Cli::parse_from(words).options.mode()
        };
        assert_eq!(mode(&[]), Mode::Default);
        assert_eq!(mode(&["--quick"]), Mode::Quick);
        assert_eq!(mode(&["--full"]), Mode::Full);
    }
}
