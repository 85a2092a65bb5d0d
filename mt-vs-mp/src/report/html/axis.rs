//! The position of a value along an axis, and the values that are written beside the axis.

use crate::finding::{
    figure::{Unit, amount},
    interval::Interval,
    plot::Axis,
};

/// About five values are written beside an axis.
const TICKS: f64 = 5.0;

/// The values that a picture of an interval shows: its median, and its ends if it has any.
pub fn shown(interval: Interval) -> Vec<f64> {
    let ends = interval.ends().into_iter().flatten();
    ends.chain([interval.median]).collect()
}

/// The part of an axis that a picture shows.
pub struct Scale {
    logarithmic: bool,
    unit: Unit,
    low: f64,
    high: f64,
    ticks: Vec<f64>,
}

impl Scale {
    /// It covers all values that have a position on this axis. `None` if no value has one.
    pub fn over(axis: &Axis, values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let fits = |value: &f64| value.is_finite() && (*value > 0.0 || !axis.logarithmic);
        let values: Vec<f64> = values.into_iter().filter(fits).collect();
        let low = values.iter().copied().reduce(f64::min)?;
        let high = values.iter().copied().reduce(f64::max)?;
        let ticks = if axis.logarithmic {
            powers(low, high, base(axis.unit))
        } else {
            multiples(low, high, axis.unit)
        };
        Some(Self {
            logarithmic: axis.logarithmic,
            unit: axis.unit,
            // There is a tick at or beyond either end.
            low: *ticks.first()?,
            high: *ticks.last()?,
            ticks,
        })
    }

    /// From 0 at its beginning to 1 at its end. `None` for a value that has no position on it, as
    /// zero has none on a logarithmic axis.
    pub fn position(&self, value: f64) -> Option<f64> {
        let along = |value: f64| if self.logarithmic { value.ln() } else { value };
        let position = (along(value) - along(self.low)) / (along(self.high) - along(self.low));
        position.is_finite().then_some(position)
    }

    /// The position and the text of each value that is written beside the axis.
    pub fn ticks(&self) -> impl Iterator<Item = (f64, String)> {
        self.ticks
            .iter()
            .filter_map(|&tick| Some((self.position(tick)?, label(tick, self.unit))))
    }
}

/// Bytes have ticks at powers of two, and all other units at powers of ten.
fn base(unit: Unit) -> f64 {
    match unit {
        Unit::Bytes | Unit::BytesPerSecond => 2.0,
        _ => 10.0,
    }
}

/// Ticks at equal ratios.
fn powers(low: f64, high: f64, base: f64) -> Vec<f64> {
    // Logarithms are rounded: that of 1000 may be slightly less than 3.
    const ROUNDING: f64 = 1e-9;
    let first = (low.log(base) + ROUNDING).floor() as i32;
    let last = (high.log(base) - ROUNDING).ceil() as i32;
    let stride = (f64::from(last - first) / TICKS).ceil().max(1.0) as i32;
    let steps = ((last - first + stride - 1) / stride).max(1);
    (0..=steps)
        .map(|step| base.powi(first + step * stride))
        .collect()
}

/// Ticks at multiples of a round number.
fn multiples(low: f64, high: f64, unit: Unit) -> Vec<f64> {
    let step = round_up((high - low) / TICKS, unit);
    let first = (low / step).floor();
    let last = (high / step).ceil().max(first + 1.0);
    (0..=(last - first) as u32)
        .map(|tick| (first + f64::from(tick)) * step)
        .collect()
}

/// To 1, 2 or 5 times a power of ten, or to a power of two for bytes.
fn round_up(step: f64, unit: Unit) -> f64 {
    let smallest = match unit {
        Unit::Bytes | Unit::BytesPerSecond | Unit::Count => 1.0,
        _ => f64::MIN_POSITIVE,
    };
    if step <= smallest {
        return 1.0;
    }
    let base = base(unit);
    let power = base.powf(step.log(base).floor());
    let round = [1.0, 2.0, 5.0, 10.0].map(|times| times * power);
    round
        .into_iter()
        .find(|&round| round >= step)
        .unwrap_or(step)
}

/// Like [`amount`], without zeros at the end of a fraction: `64 MiB`, not `64.0 MiB`.
fn label(value: f64, unit: Unit) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let text = amount(value, unit);
    let (digits, unit) = text.split_once(' ').unwrap_or((&text, ""));
    let digits = match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.'),
        false => digits,
    };
    format!("{digits} {unit}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(logarithmic: bool, unit: Unit, values: &[f64]) -> Vec<String> {
        let axis = Axis {
            logarithmic,
            ..Axis::linear("", unit)
        };
        let scale = Scale::over(&axis, values.iter().copied()).expect("there are values");
        for value in values {
            let position = scale.position(*value).expect("it has a position");
            assert!((0.0..=1.0).contains(&position), "{value} is at {position}");
        }
        scale.ticks().map(|(_, label)| label).collect()
    }

    #[test]
    fn a_picture_shows_the_median_and_the_ends_if_there_are_any() {
        let mut samples = vec![3.0, 2.0, 9.0, 4.0, 7.0];
        assert_eq!(shown(Interval::of(&samples)), [4.0]);
        samples.push(6.0);
        assert_eq!(shown(Interval::of(&samples)), [2.0, 9.0, 5.0]);
    }

    #[test]
    fn round_values_are_written_beside_an_axis() {
        assert_eq!(
            labels(false, Unit::Count, &[1.0, 4.0]),
            ["1", "2", "3", "4"]
        );
        assert_eq!(
            labels(false, Unit::Ratio, &[0.0, 1.93]),
            ["0", "0.5 ×", "1 ×", "1.5 ×", "2 ×"]
        );
        assert_eq!(
            labels(false, Unit::Bytes, &[0.0, 1024.0 * 1024.0]),
            ["0", "256 KiB", "512 KiB", "768 KiB", "1 MiB"]
        );
        assert_eq!(labels(false, Unit::Count, &[7.0]), ["7", "8"]);
        assert_eq!(
            labels(false, Unit::Count, &[38.0, 62.0]),
            ["35", "40", "45", "50", "55", "60", "65"]
        );
        // There is no half byte, and no half of a thing that is counted.
        assert_eq!(labels(false, Unit::Count, &[0.0, 2.0]), ["0", "1", "2"]);
        assert_eq!(labels(false, Unit::Bytes, &[0.0, 2.0]), ["0", "1 B", "2 B"]);
        assert_eq!(
            labels(false, Unit::Seconds, &[0.0, 0.001]),
            ["0", "200 µs", "400 µs", "600 µs", "800 µs", "1 ms"]
        );
    }

    #[test]
    fn a_logarithmic_axis_has_powers_of_ten_and_for_bytes_of_two() {
        assert_eq!(
            labels(true, Unit::Seconds, &[0.000_03, 0.02]),
            ["10 µs", "100 µs", "1 ms", "10 ms", "100 ms"]
        );
        assert_eq!(
            labels(true, Unit::Count, &[1.0, 1000.0]),
            ["1", "10", "100", "1000"]
        );
        assert_eq!(
            labels(true, Unit::Bytes, &[64.0, 16.0 * 1024.0 * 1024.0]),
            ["64 B", "1 KiB", "16 KiB", "256 KiB", "4 MiB", "64 MiB"]
        );
        assert_eq!(labels(true, Unit::Count, &[10.0]), ["10", "100"]);
        assert_eq!(
            labels(true, Unit::Count, &[1.0, 2e6]),
            ["1", "100", "10000", "1000000", "100000000"]
        );
    }

    #[test]
    fn zero_has_no_position_on_a_logarithmic_axis() {
        let axis = Axis {
            logarithmic: true,
            ..Axis::linear("", Unit::Count)
        };
        let scale = Scale::over(&axis, [0.0, 1.0, 100.0]).expect("there are values");
        assert_eq!(scale.position(0.0), None);
        assert_eq!(scale.position(10.0), Some(0.5));
        assert!(Scale::over(&axis, [0.0, f64::NAN]).is_none());
    }
}
