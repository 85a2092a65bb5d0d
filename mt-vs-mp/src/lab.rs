//! A fresh process of this same program for an experiment: whatever happens in there, the
//! laboratory goes on.

use std::{
    env,
    ffi::OsStr,
    process::{Command, Output},
};

use anyhow::{Context, bail};

/// A part of an experiment that runs in a process of its own; its argument says which variant is
/// tried.
pub type Trial = fn(variant: &str) -> anyhow::Result<u8>;

/// As the first argument, it tells this program that it is here for a trial.
const TRIAL: &str = "--trial";

/// Runs a trial in a fresh process, and returns what it printed and how it ended.
pub fn try_out(trial: &str, variant: &str) -> anyhow::Result<Output> {
    Command::new(env::current_exe()?)
        .args([TRIAL, trial, variant])
        .output()
        .with_context(|| format!("cannot start the trial {trial} {variant}"))
}

/// In a fresh process for a trial: runs it. Anywhere else: `None`.
pub fn run_if_trial(trials: &[(&str, Trial)]) -> Option<anyhow::Result<u8>> {
    if env::args_os().nth(1).as_deref() != Some(OsStr::new(TRIAL)) {
        return None;
    }
    Some(run(trials, &env::args().skip(2).collect::<Vec<_>>()))
}

fn run(trials: &[(&str, Trial)], args: &[String]) -> anyhow::Result<u8> {
    let [name, variant] = args else {
        bail!("{TRIAL} needs a trial and its variant")
    };
    let (_, trial) = trials
        .iter()
        .find(|(trial, _)| trial == name)
        .context("no such trial")?;
    trial(variant)
}
