//! A run: the experiments one after the other, and their report.

use std::{
    path::{Path, absolute},
    time::{Instant, SystemTime},
};

use clap::{CommandFactory, error::ErrorKind};

use crate::{
    cli::{Cli, Options},
    experiments::Experiment,
    finding::{Finding, verdict::Verdict},
    lab::{
        Lab,
        interrupt::{self, Interrupted},
        machine::Machine,
    },
    output::report_error,
    report::{self, Entry, Published, Report, file::Target, html, terminal},
};

/// Runs the experiments. The exit code is 1 if one of them failed, 130 if the run was interrupted.
pub fn run(experiments: &[&Experiment], options: &Options) -> anyhow::Result<u8> {
    // Before anything is measured: or else a run might end with a report that cannot be written.
    refuse_one_file_for_both(options);
    // Each is `None` if the user did not ask for it.
    let open = |path: &Option<_>| path.as_deref().map(Target::open).transpose();
    let (json, html) = (open(&options.json)?, open(&options.html)?);
    interrupt::watch()?;

    let begin = Instant::now();
    let workers = options.workers.map(usize::from);
    let mut lab = Lab::new(options.mode(), workers, Machine::look_at());
    let mut report = Report {
        format: report::FORMAT,
        complete: false,
        missing: Vec::new(),
        mode: lab.mode,
        workers: lab.workers,
        date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        seconds: 0.0,
        machine: lab.machine.clone(),
        experiments: Vec::new(),
    };
    let result = conduct(experiments, &mut lab, &mut report);
    lab.finish();
    report.seconds = begin.elapsed().as_secs_f64();
    report.machine.look_again();
    report.complete = result.is_ok();
    let missing = experiments.iter().skip(report.experiments.len());
    report.missing = missing.map(|it| it.name.to_owned()).collect();

    // After an interruption, the report holds the experiments that were done before it.
    if let Some(target) = json {
        target.write(&(serde_json::to_string_pretty(&report)? + "\n"))?;
    }
    if let Some(target) = html {
        target.write(&html::page(&report))?;
    }
    match result {
        Err(error) if error.is::<Interrupted>() => {
            report_error(format_args!(
                "interrupted: the run is incomplete, {} of {} experiments were done",
                report.experiments.len(),
                experiments.len()
            ));
            Ok(interrupt::EXIT_CODE)
        }
        Err(error) => Err(error),
        Ok(failed) => {
            lab.say(&terminal::ledger(&report))?;
            Ok(u8::from(failed))
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
        let finding = (experiment.run)(lab);
        // If the experiment ended because the run is to end, its finding does not count.
        lab.go_on()?;
        // If it failed, the other experiments run all the same.
        let finding = finding.unwrap_or_else(|error| {
            failed = true;
            Finding::new(Verdict::NotMeasured, format!("{error:#}"), "an error")
        });
        let published = experiment
            .published
            .iter()
            .map(|(figure, source)| Published {
                figure: (*figure).to_owned(),
                source: (*source).to_owned(),
            });
        let entry = Entry {
            name: experiment.name.to_owned(),
            claim: experiment.claim.to_owned(),
            seconds: begin.elapsed().as_secs_f64(),
            finding,
            published: published.collect(),
        };
        lab.say(&terminal::entry(&entry))?;
        report.experiments.push(entry);
    }
    Ok(failed)
}

/// Ends with a usage error if the second report would overwrite the first.
fn refuse_one_file_for_both(options: &Options) {
    let (Some(json), Some(html)) = (&options.json, &options.html) else {
        return;
    };
    // A file that does not exist yet has no canonical path, but its folder has one.
    let real = |path: &Path| {
        path.canonicalize().ok().or_else(|| {
            let path = absolute(path).ok()?;
            Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?))
        })
    };
    if real(json) == real(html) && real(json).is_none_or(|path| !path.exists() || path.is_file()) {
        let message = format!("--json and --html name the same file, {}", json.display());
        Cli::command()
            .error(ErrorKind::ArgumentConflict, message)
            .exit();
    }
}
