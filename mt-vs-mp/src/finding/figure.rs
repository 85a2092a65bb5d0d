//! A measured figure: a median with its interval and its unit.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::interval::Interval;

/// In what a figure is measured. All figures are in the unit itself, never in thousandths of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    Seconds,
    Bytes,
    BytesPerSecond,
    /// So many times something else.
    Times,
    /// A number of things.
    Count,
}

/// A measured figure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    #[serde(flatten)]
    pub interval: Interval,
    pub unit: Unit,
}

impl Figure {
    pub fn new(interval: Interval, unit: Unit) -> Self {
        Self { interval, unit }
    }

    /// These numbers divided by those, round by round; see [`Interval::of_ratio`].
    pub fn ratio(these: &[f64], those: &[f64]) -> Self {
        Self::new(Interval::of_ratio(these, those), Unit::Times)
    }

    /// The median, and the interval in brackets.
    pub fn parts(&self) -> (String, String) {
        let interval = &self.interval;
        let bounds = match self.unit {
            Unit::Times => Unit::Count,
            unit => unit,
        };
        let [low, high] = [interval.low, interval.high].map(|value| amount(value, bounds));
        (
            amount(interval.median, self.unit),
            format!("[{low}, {high}]"),
        )
    }
}

/// With its interval: `81.2 µs [79.9 µs, 84.0 µs]`, `1.87 × [1.85, 1.88]`.
impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (median, interval) = self.parts();
        write!(f, "{median} {interval}")
    }
}

/// An amount with its unit, to three digits.
pub fn amount(value: f64, unit: Unit) -> String {
    const KIB: f64 = 1024.0;
    let bytes = |[one, kilo, mega, giga]: [&'static str; 4]| {
        let units = [
            (1.0, one),
            (KIB, kilo),
            (KIB * KIB, mega),
            (KIB * KIB * KIB, giga),
        ];
        scaled(value, units)
    };
    match unit {
        Unit::Seconds => scaled(
            value,
            [(1e-9, "ns"), (1e-6, "µs"), (1e-3, "ms"), (1.0, "s")],
        ),
        Unit::Bytes => bytes(["B", "KiB", "MiB", "GiB"]),
        Unit::BytesPerSecond => bytes(["B/s", "KiB/s", "MiB/s", "GiB/s"]),
        Unit::Times => format!("{} ×", digits(value)),
        Unit::Count => digits(value),
    }
}

/// In the largest unit of which there is at least one.
fn scaled(value: f64, units: [(f64, &str); 4]) -> String {
    let fitting = units.iter().rev().find(|(one, _)| value.abs() >= *one);
    let (one, name) = fitting.unwrap_or(&units[0]);
    format!("{} {name}", digits(value / one))
}

fn digits(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size < 10.0 => format!("{value:.2}"),
        size if size < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_has_three_digits_and_the_unit_that_suits_it() {
        assert_eq!(amount(0.000_081_23, Unit::Seconds), "81.2 µs");
        assert_eq!(amount(2.0, Unit::Seconds), "2.00 s");
        assert_eq!(amount(0.0, Unit::Seconds), "0 ns");
        assert_eq!(amount(600.0 * 1024.0 * 1024.0, Unit::Bytes), "600 MiB");
        assert_eq!(amount(1.874, Unit::Times), "1.87 ×");
        assert_eq!(amount(12_345.0, Unit::Count), "12345");
    }
}
