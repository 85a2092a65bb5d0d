//! A picture of an experiment: lines of points over two axes.

use serde::{Deserialize, Serialize};

use super::{figure::Unit, interval::Interval};

/// A picture: some lines over one axis.
#[derive(Debug, Serialize, Deserialize)]
pub struct Plot {
    pub title: String,
    pub x: Axis,
    pub y: Axis,
    pub lines: Vec<Line>,
}

impl Plot {
    /// Lines without a point are left out.
    pub fn new(title: &str, x: Axis, y: Axis, lines: impl IntoIterator<Item = Line>) -> Self {
        let title = title.to_owned();
        let lines = lines.into_iter().filter(|line| !line.points.is_empty());
        let lines = lines.collect();
        Self { title, x, y, lines }
    }
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
    pub fn new(name: &str, points: impl IntoIterator<Item = (f64, Interval)>) -> Self {
        let points = points.into_iter().map(|(x, y)| Point { x, y });
        Self {
            name: name.to_owned(),
            points: points.collect(),
        }
    }

    /// A line that nobody measured, for others to be compared with: its points come from no
    /// samples.
    pub fn reference(name: &str, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let exactly = |y| Interval {
            median: y,
            low: y,
            high: y,
            samples: 0,
        };
        Self::new(name, points.into_iter().map(|(x, y)| (x, exactly(y))))
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
