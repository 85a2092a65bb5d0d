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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_says_that_it_is_logarithmic() {
        assert_eq!(Axis::linear("size", Unit::Bytes).name(), "size");
        let logarithmic = Axis::logarithmic("size", Unit::Bytes);
        assert_eq!(logarithmic.name(), "size, logarithmic");
    }

    #[test]
    fn a_line_without_points_is_left_out_and_a_reference_is_not_measured() {
        let axis = || Axis::linear("", Unit::Count);
        let lines = [
            Line::new("measured", [(1.0, Interval::of(&[2.0]))]),
            Line::new("empty", []),
            Line::reference("ideal", [(1.0, 1.0), (2.0, 3.0)]),
        ];
        let plot = Plot::new("", axis(), axis(), lines);
        let told = plot
            .lines
            .iter()
            .map(|line| (&line.name[..], line.is_measured()));
        assert!(told.eq([("measured", true), ("ideal", false)]));
        let Point { x, y } = &plot.lines[1].points[1];
        assert_eq!((*x, y.low, y.median, y.high), (2.0, 3.0, 3.0, 3.0));
        assert_eq!(y.ends(), None);
    }
}
