//! What came of a run. The terminal's text, the JSON file and the HTML page are all made from this,
//! so that none of them can say anything else than the others.

use serde::{Deserialize, Serialize};

pub mod figure;
pub mod html;
pub mod terminal;

use figure::{Figure, Unit};

use crate::lab::{
    Mode,
    machine::Machine,
    statistics::Interval,
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

/// A table: the first cell of a row says what the row is about.
#[derive(Debug, Serialize, Deserialize)]
pub struct Table {
    pub title: String,
    pub header: Vec<String>,
    pub rows: Vec<Vec<Cell>>,
}

impl Table {
    pub fn new<const N: usize>(title: &str, header: [&str; N]) -> Self {
        Self {
            title: title.to_owned(),
            header: header.map(str::to_owned).to_vec(),
            rows: Vec::new(),
        }
    }
}

/// What stands in a table.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cell {
    Text(String),
    Figure(Figure),
    /// Something that went well or not: it may be given a colour.
    Outcome {
        text: String,
        good: bool,
    },
}

impl From<Figure> for Cell {
    fn from(figure: Figure) -> Self {
        Self::Figure(figure)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// A picture: some lines over one axis.
#[derive(Debug, Serialize, Deserialize)]
pub struct Plot {
    pub title: String,
    pub x: Axis,
    pub y: Axis,
    pub lines: Vec<Line>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Axis {
    pub label: String,
    pub unit: Unit,
    /// Each step on it is as many times the one before.
    pub logarithmic: bool,
}

impl Axis {
    pub fn linear(label: &str, unit: Unit) -> Self {
        let label = label.to_owned();
        Self {
            label,
            unit,
            logarithmic: false,
        }
    }

    pub fn logarithmic(label: &str, unit: Unit) -> Self {
        Self {
            logarithmic: true,
            ..Self::linear(label, unit)
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Line {
    pub name: String,
    pub points: Vec<Point>,
}

/// A point of a line: its y is a median with its interval, in the axis's unit.
#[derive(Debug, Serialize, Deserialize)]
pub struct Point {
    pub x: f64,
    #[serde(flatten)]
    pub y: Interval,
}
