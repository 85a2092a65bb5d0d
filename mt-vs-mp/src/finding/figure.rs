//! A measured figure: a median with its interval and its unit.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::interval::Interval;

/// The unit of a figure. All figures are in the unit itself, never in thousandths of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    Seconds,
    Bytes,
    BytesPerSecond,
    /// A quotient of two amounts: how many times the one the other is.
    #[serde(rename = "times")]
    Ratio,
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

    /// The quotient, round by round: see [`Interval::of_ratio`].
    pub fn ratio(numerators: &[f64], denominators: &[f64]) -> Self {
        Self::new(Interval::of_ratio(numerators, denominators), Unit::Ratio)
    }

    /// The median with its unit, as in `1.87 ×`.
    pub fn median(&self) -> String {
        amount(self.interval.median, self.unit)
    }

    /// The ends of the interval in brackets, as in `[1.85, 1.88]`. `None` if there are too few
    /// samples for an interval.
    pub fn range(&self) -> Option<String> {
        let unit = match self.unit {
            Unit::Ratio => Unit::Count,
            unit => unit,
        };
        let [low, high] = self.interval.ends()?.map(|end| amount(end, unit));
        Some(format!("[{low}, {high}]"))
    }
}

/// With its interval, if there is one: `81.2 µs [79.9 µs, 84.0 µs]`, `1.87 × [1.85, 1.88]`.
impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.range() {
            Some(range) => write!(f, "{} {range}", self.median()),
            None => write!(f, "{}", self.median()),
        }
    }
}

/// An amount with its unit, to three digits.
pub fn amount(value: f64, unit: Unit) -> String {
    const KIB: f64 = 1024.0;
    const MIB: f64 = KIB * KIB;
    const GIB: f64 = KIB * MIB;
    match unit {
        Unit::Seconds => scaled(
            value,
            [(1e-9, "ns"), (1e-6, "µs"), (1e-3, "ms"), (1.0, "s")],
        ),
        Unit::Bytes => scaled(
            value,
            [(1.0, "B"), (KIB, "KiB"), (MIB, "MiB"), (GIB, "GiB")],
        ),
        Unit::BytesPerSecond => scaled(
            value,
            [(1.0, "B/s"), (KIB, "KiB/s"), (MIB, "MiB/s"), (GIB, "GiB/s")],
        ),
        Unit::Ratio => format!("{} ×", digits(value)),
        Unit::Count => digits(value),
    }
}

/// In the largest unit in which the value is at least 1, or else in the smallest.
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
    fn the_interval_is_shown_only_if_there_are_enough_samples_for_one() {
        let figure = |samples: &[f64]| Figure::new(Interval::of(samples), Unit::Ratio).to_string();
        assert_eq!(figure(&[1.0, 2.0, 3.0, 4.0, 5.0]), "3.00 ×");
        assert_eq!(
            figure(&[1.0, 2.0, 3.0, 3.0, 4.0, 5.0]),
            "3.00 × [1.00, 5.00]"
        );
        let time = Figure::new(Interval::of(&[0.002; 6]), Unit::Seconds);
        assert_eq!(time.to_string(), "2.00 ms [2.00 ms, 2.00 ms]");
    }

    #[test]
    fn an_amount_has_three_digits_and_the_unit_that_suits_it() {
        assert_eq!(amount(0.000_081_23, Unit::Seconds), "81.2 µs");
        assert_eq!(amount(2.0, Unit::Seconds), "2.00 s");
        assert_eq!(amount(0.0, Unit::Seconds), "0 ns");
        assert_eq!(amount(600.0 * 1024.0 * 1024.0, Unit::Bytes), "600 MiB");
        assert_eq!(amount(1.874, Unit::Ratio), "1.87 ×");
        assert_eq!(amount(12_345.0, Unit::Count), "12345");
        // Where one more digit, or the next unit, begins.
        assert_eq!(amount(10.0, Unit::Ratio), "10.0 ×");
        assert_eq!(amount(100.0, Unit::Ratio), "100 ×");
        assert_eq!(amount(1e-3, Unit::Seconds), "1.00 ms");
        assert_eq!(amount(2e-10, Unit::Seconds), "0.20 ns");
        assert_eq!(amount(1023.0, Unit::BytesPerSecond), "1023 B/s");
        assert_eq!(amount(1024.0, Unit::BytesPerSecond), "1.00 KiB/s");
        assert_eq!(
            amount(3.0 * f64::from(1 << 30), Unit::BytesPerSecond),
            "3.00 GiB/s"
        );
        assert_eq!(amount(-0.002, Unit::Seconds), "-2.00 ms");
    }
}
