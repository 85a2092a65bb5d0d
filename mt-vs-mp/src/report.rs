//! What came of a run. The terminal's text, the JSON file and the HTML page are all made from this,
//! so that none of them can say anything else than the others.

use serde::{Deserialize, Serialize};

pub mod figure;
pub mod html;
#[cfg(test)]
pub mod made_up;
mod plot;
mod table;
pub mod terminal;
#[cfg(test)]
mod tests;

pub use plot::{Axis, Line, Plot, Point};
pub use table::{Cell, Table};

use crate::lab::{
    Mode,
    machine::Machine,
    verdict::{Judgement, Verdict},
};

/// Of the JSON file. It grows when a reader of the old one would stumble over the new one.
pub const FORMAT: u32 = 1;

/// A whole run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    pub format: u32,
    /// Not if it was interrupted.
    pub complete: bool,
    /// The names of the experiments that it did not get to.
    #[serde(default)]
    pub missing: Vec<String>,
    pub mode: Mode,
    pub workers: usize,
    /// When it began, in UTC, as RFC 3339 has it.
    pub date: String,
    /// How long it took.
    pub seconds: f64,
    pub machine: Machine,
    pub experiments: Vec<Entry>,
}

/// One experiment of a run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Entry {
    pub name: String,
    /// The notes' claim.
    pub claim: String,
    pub verdict: Verdict,
    pub reason: String,
    /// How long the experiment took.
    pub seconds: f64,
    #[serde(flatten)]
    pub finding: Finding,
}

/// What an experiment returns beside its verdict.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Finding {
    /// For the ledger: the one figure that the verdict rests on, in a few words.
    pub headline: String,
    pub tables: Vec<Table>,
    pub plots: Vec<Plot>,
    /// What was not measured here, each with its cause.
    pub left_out: Vec<String>,
}

impl Finding {
    pub fn leave_out(&mut self, what_and_why: impl Into<String>) {
        self.left_out.push(what_and_why.into());
    }
}

impl Entry {
    pub fn new(
        (name, claim): (&str, &str),
        seconds: f64,
        (finding, judgement): (Finding, Judgement),
    ) -> Self {
        Self {
            name: name.to_owned(),
            claim: claim.to_owned(),
            verdict: judgement.verdict,
            reason: judgement.reason,
            seconds,
            finding,
        }
    }
}
