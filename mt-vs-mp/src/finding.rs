//! What an experiment returns: figures with their intervals, tables, plots, and a verdict.
//!
//! Plain data. The laboratory makes it, and the terminal, the page and the JSON file show it.

use serde::{Deserialize, Serialize};

pub mod figure;
pub mod interval;
pub mod plot;
pub mod table;
pub mod verdict;

use plot::Plot;
use table::Table;
use verdict::Verdict;

/// What came of one experiment.
#[derive(Debug, Serialize, Deserialize)]
pub struct Finding {
    pub verdict: Verdict,
    /// Why, in one sentence, without the full stop.
    pub reason: String,
    /// For the ledger: the figures that the verdict rests on, in a few words.
    pub headline: String,
    pub tables: Vec<Table>,
    pub plots: Vec<Plot>,
    /// What was not measured here, each with its cause.
    pub left_out: Vec<String>,
}

impl Finding {
    /// A verdict, its reason and its headline; the rest is still empty.
    pub fn new(verdict: Verdict, reason: impl Into<String>, headline: impl Into<String>) -> Self {
        Self {
            verdict,
            reason: reason.into(),
            headline: headline.into(),
            tables: Vec::new(),
            plots: Vec::new(),
            left_out: Vec::new(),
        }
    }
}
