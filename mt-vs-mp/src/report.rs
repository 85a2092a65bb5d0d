//! What came of a run. The terminal's text, the JSON file and the HTML page are all made from this,
//! so that none of them can say anything else than the others.

use serde::{Deserialize, Serialize};

pub mod figure;
pub mod html;
#[cfg(test)]
pub mod made_up;
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
    /// The column whose figures are drawn as bars too, if one is.
    pub bars: Option<usize>,
}

impl Table {
    pub fn new<const N: usize>(title: &str, header: [&str; N]) -> Self {
        Self {
            title: title.to_owned(),
            header: header.map(str::to_owned).to_vec(),
            rows: Vec::new(),
            bars: None,
        }
    }

    /// In words, from how many samples its figures come. `None` if it has no figures.
    pub fn samples(&self) -> Option<String> {
        let figures = self.rows.iter().flatten().filter_map(|cell| match cell {
            Cell::Figure(figure) => Some(figure.interval.samples),
            _ => None,
        });
        let (fewest, most) = (figures.clone().min()?, figures.max()?);
        Some(if fewest == most {
            format!("Median [95% interval] of {most} samples.")
        } else {
            format!("Median [95% interval] of {fewest} to {most} samples.")
        })
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

    /// What is written beside it.
    pub fn name(&self) -> String {
        match self.logarithmic {
            true => format!("{}, logarithmic", self.label),
            false => self.label.clone(),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Line {
    pub name: String,
    pub points: Vec<Point>,
}

impl Line {
    /// A line that nobody measured, for others to be compared with: its points come from no
    /// samples.
    pub fn reference(name: &str, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let point = |(x, y)| Point {
            x,
            y: Interval {
                median: y,
                low: y,
                high: y,
                samples: 0,
            },
        };
        Self {
            name: name.to_owned(),
            points: points.into_iter().map(point).collect(),
        }
    }

    pub fn is_measured(&self) -> bool {
        self.points.iter().any(|point| point.y.samples > 0)
    }
}

/// A point of a line: its y is a median with its interval, in the axis's unit.
#[derive(Debug, Serialize, Deserialize)]
pub struct Point {
    pub x: f64,
    #[serde(flatten)]
    pub y: Interval,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json, to_value};

    use super::*;

    /// Whoever changes this changes the files that others read: see [`FORMAT`].
    #[test]
    fn the_json_file_has_the_shape_that_the_readme_describes() {
        let report = to_value(made_up::report()).expect("it can be JSON");
        let keys = |value: &Value| -> Vec<String> {
            let object = value.as_object().expect("it is an object");
            object.keys().cloned().collect()
        };
        let of_report = "complete date experiments format machine mode seconds workers";
        assert_eq!(keys(&report).join(" "), of_report);
        assert_eq!(report["format"], 1);
        assert_eq!(report["mode"], "default");

        let entries = &report["experiments"];
        let of_entry = "claim headline left_out name plots reason seconds tables verdict";
        assert_eq!(keys(&entries[0]).join(" "), of_entry);
        assert_eq!(entries[4]["verdict"], "not_measured");

        let table = &entries[0]["tables"][0];
        assert_eq!(keys(table).join(" "), "bars header rows title");
        let [median, low, high] = [25e-6, 25e-6 * 0.9, 25e-6 * 1.2];
        let figure =
            json!({"median": median, "low": low, "high": high, "samples": 12, "unit": "seconds"});
        assert_eq!(table["rows"][0][0], json!({"text": "thread"}));
        assert_eq!(table["rows"][0][1], json!({"figure": figure}));
        let outcome = json!({"text": "by abort, 0 < 3 lost", "good": false});
        assert_eq!(
            entries[1]["tables"][0]["rows"][1][1],
            json!({"outcome": outcome})
        );

        let plot = &entries[2]["plots"][1];
        let rate = json!({"label": "rate", "unit": "bytes_per_second", "logarithmic": true});
        assert_eq!(plot["y"], rate);
        let point =
            json!({"x": 64.0, "median": 5e6, "low": 5e6 * 0.9, "high": 5e6 * 1.2, "samples": 12});
        assert_eq!(plot["lines"][0]["points"][0], point);
    }

    #[test]
    fn the_json_file_can_be_read_back() {
        let text = serde_json::to_string(&made_up::report()).expect("it can be JSON");
        let report: Report = serde_json::from_str(&text).expect("it can be read");
        // Numbers may differ in their last digit, which nobody is shown.
        assert_eq!(html::page(&report), html::page(&made_up::report()));
    }
}
