//! A run: the experiments one after the other, and what is told of them.

use std::{
    fs::File,
    io::Write,
    path::PathBuf,
    time::{Instant, SystemTime},
};

use anyhow::{Context, anyhow};

use crate::{
    cli::Options,
    experiments::Experiment,
    lab::{
        Lab,
        interrupt::{self, Interrupted},
        machine::Machine,
        verdict::{Judgement, Verdict},
    },
    output::complain,
    report::{self, Entry, Finding, Report, html, terminal},
};

/// Runs the experiments. The exit code is 1 if one of them failed, 130 if we were interrupted.
pub fn run(experiments: &[&Experiment], options: &Options) -> anyhow::Result<u8> {
    // Before anything is measured: nobody shall wait for a report that cannot be written.
    let json = options.json.as_ref().map(Target::open).transpose()?;
    let html = options.html.as_ref().map(Target::open).transpose()?;
    interrupt::watch()?;

    let begin = Instant::now();
    let machine = Machine::look_at();
    let workers = options.workers.map_or(machine.cores, usize::from);
    let mut lab = Lab::new(options.mode(), workers, machine);
    let mut report = Report {
        format: report::FORMAT,
        complete: false,
        missing: Vec::new(),
        mode: lab.mode,
        workers,
        date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        seconds: 0.0,
        machine: lab.machine.clone(),
        experiments: Vec::new(),
    };
    let result = conduct(experiments, &mut lab, &mut report);
    lab.finish();
    report.seconds = begin.elapsed().as_secs_f64();
    report.complete = result.is_ok();
    let missing = experiments.iter().skip(report.experiments.len());
    report.missing = missing.map(|it| it.name.to_owned()).collect();

    // What was measured until an interruption is written all the same.
    if let Some(target) = json {
        target.write(&(serde_json::to_string_pretty(&report)? + "\n"))?;
    }
    if let Some(target) = html {
        target.write(&html::page(&report))?;
    }
    match result {
        Err(error) if error.is::<Interrupted>() => {
            complain(format_args!(
                "interrupted: the run is incomplete, {} of {} experiments were done",
                report.experiments.len(),
                experiments.len()
            ));
            Ok(interrupt::EXIT_CODE)
        }
        Err(error) => Err(error),
        Ok(failed) => {
            lab.say(&terminal::ledger(&report))?;
            Ok(failed.into())
        }
    }
}

/// Returns whether one of the experiments failed.
fn conduct(
    experiments: &[&Experiment],
    lab: &mut Lab,
    report: &mut Report,
) -> anyhow::Result<bool> {
    lab.say(&terminal::machine(report))?;
    let mut failed = false;
    for experiment in experiments {
        lab.begin(experiment.name, experiment.share);
        let begin = Instant::now();
        let outcome = (experiment.run)(lab);
        if outcome.is_err() {
            // Was it we who ended it?
            lab.go_on()?;
        }
        let outcome = outcome.unwrap_or_else(|error| {
            failed = true;
            not_measured(&error)
        });
        let seconds = begin.elapsed().as_secs_f64();
        let entry = Entry::new((experiment.name, experiment.claim), seconds, outcome);
        lab.say(&terminal::entry(&entry))?;
        report.experiments.push(entry);
    }
    Ok(failed)
}

/// An experiment that fails is no reason not to run the others.
fn not_measured(error: &anyhow::Error) -> (Finding, Judgement) {
    let finding = Finding {
        headline: "an error".to_owned(),
        ..Finding::default()
    };
    let judgement = Judgement::new(Verdict::NotMeasured, format!("{error:#}"));
    (finding, judgement)
}

/// A file to be written when all is done.
struct Target<'a> {
    path: &'a PathBuf,
    file: File,
}

impl<'a> Target<'a> {
    fn open(path: &'a PathBuf) -> anyhow::Result<Self> {
        let file =
            File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { path, file })
    }

    fn write(mut self, text: &str) -> anyhow::Result<()> {
        let written = self.file.write_all(text.as_bytes());
        written
            .map_err(|error| anyhow!(error))
            .with_context(|| format!("cannot write {}", self.path.display()))
    }
}
