//! A table of an experiment, and what may stand in it.

use serde::{Deserialize, Serialize};

use super::figure::Figure;

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
