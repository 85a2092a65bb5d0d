//! A plot of an experiment: lines of points between two axes.

use serde::{Deserialize, Serialize};

use super::{figure::Unit, interval::Interval};

#[derive(Debug, Serialize, Deserialize)]
pub struct Plot {
    pub title: String,
    pub x: Axis,
    pub y: Axis,
    pub lines: Vec<Line>,
}

impl Plot {
    /// Lines without points are left out.
    pub fn new(title: &str, x: Axis, y: Axis, lines: impl IntoIterator<Item = Line>) -> Self {
        let lines = lines.into_iter().filter(|line| !line.points.is_empty());
        Self {
            title: title.to_owned(),
            x,
            y,
            lines: lines.collect(),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Axis {
    pub label: String,
    pub unit: Unit,
    /// Whether equal distances on it are equal ratios.
    pub logarithmic: bool,
}

impl Axis {
    pub fn linear(label: &str, unit: Unit) -> Self {
        Self {
            label: label.to_owned(),
            unit,
            logarithmic: false,
        }
    }

    pub fn logarithmic(label: &str, unit: Unit) -> Self {
        Self {
            label: label.to_owned(),
            unit,
            logarithmic: true,
        }
    }

    /// The text beside it.
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
    pub fn new(name: &str, points: impl IntoIterator<Item = (f64, Interval)>) -> Self {
        let points = points.into_iter().map(|(x, y)| Point { x, y });
        Self {
            name: name.to_owned(),
            points: points.collect(),
        }
    }

    /// A line that was not measured, for comparison: its points come from no samples.
    pub fn reference(name: &str, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let points = points.into_iter().map(|(x, y)| {
            let exactly = Interval {
                median: y,
                low: y,
                high: y,
                samples: 0,
            };
            (x, exactly)
        });
        Self::new(name, points)
    }

    pub fn is_measured(&self) -> bool {
        self.points.iter().any(|point| point.y.samples > 0)
    }
}

/// A point of a line. Its y is a median with its interval.
#[derive(Debug, Serialize, Deserialize)]
pub struct Point {
    pub x: f64,
    #[serde(flatten)]
    pub y: Interval,
}
