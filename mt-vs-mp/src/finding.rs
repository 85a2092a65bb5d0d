//! What an experiment returns: figures with their intervals, tables, plots, and a verdict.
//!
//! It is plain data. The experiments fill it in, and the terminal, the page and the JSON file show
//! it.

use serde::{Deserialize, Serialize};

pub mod figure;
pub mod interval;
pub mod plot;
pub mod table;
pub mod verdict;

use plot::Plot;
use table::Table;
use verdict::Verdict;

/// The result of one experiment.
#[derive(Debug, Serialize, Deserialize)]
pub struct Finding {
    pub verdict: Verdict,
    /// Why this verdict, in one sentence, without the full stop.
    pub reason: String,
    /// For the ledger: the figures that the verdict rests on, in a few words.
    pub headline: String,
    pub tables: Vec<Table>,
    pub plots: Vec<Plot>,
    /// What was not tried here, each with the cause.
    pub left_out: Vec<String>,
}

impl Finding {
    /// Without tables, plots, and what was left out.
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
