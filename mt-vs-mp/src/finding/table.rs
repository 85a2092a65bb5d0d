//! A table of an experiment, and its cells.

use serde::{Deserialize, Serialize};

use super::{figure::Figure, interval::FEWEST_SAMPLES};

/// A table: the first cell of a row says what the row is about.
#[derive(Debug, Serialize, Deserialize)]
pub struct Table {
    pub title: String,
    pub header: Vec<String>,
    pub rows: Vec<Vec<Cell>>,
    /// The column that the page also draws as dots, counted from 0; `None` if there is none.
    pub dots: Option<usize>,
}

/// A column of a table that has a row for each of some things of type `T`: the column's name, and
/// the function that makes the cell of a thing.
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

    /// The same table, and the page also draws this column as dots.
    pub fn with_dots(self, column: usize) -> Self {
        Self {
            dots: Some(column),
            ..self
        }
    }

    /// A sentence that says from how many samples its figures come. `None` if it has no figures.
    pub fn samples(&self) -> Option<String> {
        let figures = self.rows.iter().flatten().filter_map(|cell| match cell {
            Cell::Figure(figure) => Some(figure.interval.samples),
            _ => None,
        });
        let (fewest, most) = (figures.clone().min()?, figures.max()?);
        let number = match fewest == most {
            true => most.to_string(),
            false => format!("{fewest} to {most}"),
        };
        Some(if most < FEWEST_SAMPLES {
            format!("Median of {number} samples.")
        } else if fewest < FEWEST_SAMPLES {
            format!(
                "Median [95% interval] of {number} samples; of fewer than {FEWEST_SAMPLES} the median \
                 alone."
            )
        } else {
            format!("Median [95% interval] of {number} samples.")
        })
    }
}

/// A cell of a table.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cell {
    Text(String),
    Figure(Figure),
    /// Something that went well or not: the page gives it a colour.
    Outcome {
        text: String,
        good: bool,
    },
}

impl Cell {
    pub fn outcome(text: impl Into<String>, good: bool) -> Self {
        Self::Outcome {
            text: text.into(),
            good,
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::{figure::Unit, interval::Interval};

    #[test]
    fn the_samples_are_told_and_where_there_are_too_few_for_an_interval() {
        let told = |samples: &[usize]| {
            let figure = |n: &usize| Figure::new(Interval::of(&vec![1.0; *n]), Unit::Count).into();
            let table = Table::of("", samples, &[("figure", &figure)]);
            table.samples().expect("it has figures")
        };
        assert_eq!(told(&[3, 3]), "Median of 3 samples.");
        assert_eq!(told(&[6, 6]), "Median [95% interval] of 6 samples.");
        assert_eq!(told(&[6, 9]), "Median [95% interval] of 6 to 9 samples.");
        assert!(told(&[3, 9]).ends_with("of 3 to 9 samples; of fewer than 6 the median alone."));
    }

    #[test]
    fn a_row_has_a_cell_for_each_column_and_what_was_not_measured_is_a_dash() {
        let name = |thing: &&str| Cell::from(*thing);
        let length = |thing: &&str| Cell::from(thing.len().to_string());
        let none = |_: &&str| Cell::from(None::<Figure>);
        let columns: [Column<&str>; 3] = [("name", &name), ("length", &length), ("time", &none)];
        let table = Table::of("Words:", &["a", "bcd"], &columns).with_dots(2);
        assert_eq!((&table.title[..], table.dots), ("Words:", Some(2)));
        assert_eq!(table.header, ["name", "length", "time"]);
        let text = |cell: &Cell| match cell {
            Cell::Text(text) => text.clone(),
            _ => panic!("it is a text"),
        };
        let texts = table.rows.iter().flatten().map(text);
        assert!(texts.eq(["a", "1", "-", "bcd", "3", "-"]));
        assert_eq!(table.samples(), None);
    }
}
