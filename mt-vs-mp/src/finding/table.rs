//! A table of an experiment, and what may stand in it.

use serde::{Deserialize, Serialize};

use super::figure::Figure;

/// A table: the first cell of a row says what the row is about.
#[derive(Debug, Serialize, Deserialize)]
pub struct Table {
    pub title: String,
    pub header: Vec<String>,
    pub rows: Vec<Vec<Cell>>,
    /// The column whose figures are drawn as dots too, if one is, counted from 0.
    pub dots: Option<usize>,
}

/// A column of a table about things of type `T`: its name, and what stands in it for each of them.
pub type Column<'a, T> = (&'a str, &'a dyn Fn(&T) -> Cell);

impl Table {
    /// A row for each of `things`.
    pub fn of<T>(title: &str, things: &[T], columns: &[Column<T>]) -> Self {
        let row = |thing| columns.iter().map(|(_, cell)| cell(thing)).collect();
        Self {
            title: title.to_owned(),
            header: columns.iter().map(|(name, _)| (*name).to_owned()).collect(),
            rows: things.iter().map(row).collect(),
            dots: None,
        }
    }

    /// The same, and this column is drawn as dots too.
    pub fn with_dots(self, column: usize) -> Self {
        let dots = Some(column);
        Self { dots, ..self }
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
#[derive(Clone, Debug, Serialize, Deserialize)]
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

impl Cell {
    pub fn outcome(text: impl Into<String>, good: bool) -> Self {
        let text = text.into();
        Self::Outcome { text, good }
    }
}

impl From<Figure> for Cell {
    fn from(figure: Figure) -> Self {
        Self::Figure(figure)
    }
}

/// What could not be measured is a dash.
impl From<Option<Figure>> for Cell {
    fn from(figure: Option<Figure>) -> Self {
        figure.map_or("-".into(), Self::Figure)
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
