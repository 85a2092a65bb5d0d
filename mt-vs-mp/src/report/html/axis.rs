//! Where a value stands along an axis, and which values are written beside it.

use crate::finding::{
    figure::{Unit, amount},
    plot::Axis,
};

/// About so many values are written beside an axis.
const TICKS: f64 = 5.0;

/// The part of an axis that a picture shows.
pub struct Scale {
    logarithmic: bool,
    unit: Unit,
    low: f64,
    high: f64,
    ticks: Vec<f64>,
}

impl Scale {
    /// It shows all of the values that can stand on this axis. `None` if there are none.
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

    /// 0 at its beginning, 1 at its end. `None` for a value that has no place on it, as zero has
    /// none on a logarithmic axis.
    pub fn place(&self, value: f64) -> Option<f64> {
        let along = |value: f64| if self.logarithmic { value.ln() } else { value };
        let place = (along(value) - along(self.low)) / (along(self.high) - along(self.low));
        place.is_finite().then_some(place)
    }

    /// The places of the written values, and how they are written.
    pub fn ticks(&self) -> impl Iterator<Item = (f64, String)> {
        self.ticks
            .iter()
            .filter_map(|&tick| Some((self.place(tick)?, label(tick, self.unit))))
    }
}

/// Bytes are counted by powers of two, and everything else by powers of ten.
fn base(unit: Unit) -> f64 {
    match unit {
        Unit::Bytes | Unit::BytesPerSecond => 2.0,
        _ => 10.0,
    }
}

/// Each is as many times the one before.
fn powers(low: f64, high: f64, base: f64) -> Vec<f64> {
    // A logarithm is rounded: that of 1000 may be a trifle less than 3.
    const TRIFLE: f64 = 1e-9;
    let first = (low.log(base) + TRIFLE).floor() as i32;
    let last = (high.log(base) - TRIFLE).ceil() as i32;
    let stride = (f64::from(last - first) / TICKS).ceil().max(1.0) as i32;
    let steps = ((last - first + stride - 1) / stride).max(1);
    (0..=steps)
        .map(|step| base.powi(first + step * stride))
        .collect()
}

/// Multiples of a round number.
fn multiples(low: f64, high: f64, unit: Unit) -> Vec<f64> {
    let step = round_up((high - low) / TICKS, unit);
    let first = (low / step).floor();
    let last = (high / step).ceil().max(first + 1.0);
    (0..=(last - first) as u32)
        .map(|tick| (first + f64::from(tick)) * step)
        .collect()
}

/// To 1, 2 or 5 times a power of ten, or to a power of two if bytes are counted.
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

/// Like [`amount`], without digits that say nothing: `64 MiB`, not `64.0 MiB`.
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
            let place = scale.place(*value).expect("it has a place");
            assert!((0.0..=1.0).contains(&place), "{value} is at {place}");
        }
        scale.ticks().map(|(_, label)| label).collect()
    }

    #[test]
    fn round_values_are_written_beside_an_axis() {
        assert_eq!(
            labels(false, Unit::Count, &[1.0, 4.0]),
            ["1", "2", "3", "4"]
        );
        assert_eq!(
            labels(false, Unit::Times, &[0.0, 1.93]),
            ["0", "0.5 ×", "1 ×", "1.5 ×", "2 ×"]
        );
        assert_eq!(
            labels(false, Unit::Bytes, &[0.0, 1024.0 * 1024.0]),
            ["0", "256 KiB", "512 KiB", "768 KiB", "1 MiB"]
        );
        assert_eq!(labels(false, Unit::Count, &[7.0]), ["7", "8"]);
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
    }

    #[test]
    fn what_cannot_stand_on_an_axis_has_no_place_there() {
        let axis = Axis {
            logarithmic: true,
            ..Axis::linear("", Unit::Count)
        };
        let scale = Scale::over(&axis, [0.0, 1.0, 100.0]).expect("there are values");
        assert_eq!(scale.place(0.0), None);
        assert_eq!(scale.place(10.0), Some(0.5));
        assert!(Scale::over(&axis, [0.0, f64::NAN]).is_none());
    }
}
