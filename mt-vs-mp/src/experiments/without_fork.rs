//! What an experiment that forks does where there is no fork.
//!
//! It says so, and that is no failure: a run fails only by what could have been tried.

use crate::{
    lab::{
        Lab,
        role::Role,
        verdict::{Judgement, Verdict},
    },
    report::Finding,
};

pub const ROLES: &[&dyn Role] = &[];

pub fn run(_: &Lab) -> anyhow::Result<(Finding, Judgement)> {
    let finding = Finding {
        headline: "needs fork".to_owned(),
        ..Finding::default()
    };
    let reason = "it needs fork, which exists on Unix only";
    Ok((finding, Judgement::new(Verdict::NotMeasured, reason)))
}
