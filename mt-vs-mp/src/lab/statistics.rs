//! From samples to a median and the interval in which it probably lies.
//!
//! A sample is one figure of one fresh process. No distribution is assumed: times have a floor and
//! a long tail, so means and standard deviations would mislead. The interval is found by the
//! bootstrap instead (Efron, 1979): draw as many samples as there are from the samples themselves,
//! with replacement, take the median of those, and do that a few thousand times. The middle 95% of
//! these medians are the interval.

use fastrand::Rng;
use serde::{Deserialize, Serialize};

/// With fewer samples than this, not even the lowest and the highest enclose the median with 95%
/// probability: n samples miss it with 2 · 0.5ⁿ.
pub const FEWEST: usize = 6;

/// How often is drawn anew.
const DRAWS: usize = 2000;

/// The same samples always give the same interval.
const SEED: u64 = 1979;

/// A median, the 95% interval around it, and how many samples it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    pub median: f64,
    pub low: f64,
    pub high: f64,
    pub samples: usize,
}

impl Interval {
    /// Of the samples' median.
    pub fn of(samples: &[f64]) -> Self {
        bootstrap(samples.len(), |drawn| {
            median(drawn.iter().map(|&place| samples[place]))
        })
    }

    /// Of how many times `those` makes `these`, round by round.
    ///
    /// If the machine was slow in one round, it was so for both, and their ratio does not suffer.
    /// The ratio of the two medians would: on a machine that is now busy and now idle, the one
    /// median may fall among the busy rounds, and the other among the idle ones.
    pub fn of_ratio(these: &[f64], those: &[f64]) -> Self {
        let rounds = these.iter().zip(those);
        Self::of(&rounds.map(|(this, that)| this / that).collect::<Vec<_>>())
    }
}

/// The median; of an even number of samples, the mean of the middle two; of none, not a number.
pub fn median(samples: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = samples.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

/// `statistic` is given the places of the samples that were drawn.
fn bootstrap(samples: usize, statistic: impl Fn(&[usize]) -> f64) -> Interval {
    let mut places: Vec<usize> = (0..samples).collect();
    let all = statistic(&places);
    let mut random = Rng::with_seed(SEED);
    let mut drawn: Vec<f64> = (0..DRAWS)
        .map(|_| {
            places.fill_with(|| random.usize(..samples.max(1)));
            statistic(&places)
        })
        .collect();
    drawn.sort_by(f64::total_cmp);
    Interval {
        median: all,
        low: drawn[DRAWS * 25 / 1000],
        high: drawn[DRAWS * 975 / 1000],
        samples,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one_or_between_the_middle_two() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median([]).is_nan());
    }

    #[test]
    fn the_interval_encloses_the_median_and_is_the_same_every_time() {
        let samples = [5.0, 1.0, 9.0, 4.0, 6.0, 5.5, 4.5, 100.0];
        let interval = Interval::of(&samples);
        assert_eq!(interval.median, 5.25);
        assert!(interval.low < 5.25 && 5.25 < interval.high, "{interval:?}");
        // One wild sample of eight does not reach the interval of the median.
        assert!(interval.high < 100.0, "{interval:?}");
        assert_eq!(Interval::of(&samples), interval);
    }

    #[test]
    fn the_interval_narrows_as_samples_grow_in_number() {
        let few = Interval::of(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let many: Vec<f64> = (0..600).map(|n| f64::from(n) / 100.0).collect();
        assert_eq!(Interval::of(&many), Interval::of(&many));
        let many = Interval::of(&many);
        assert!(many.high - many.low < few.high - few.low);
        assert_eq!(many.samples, 600);
    }

    #[test]
    fn the_true_median_lies_in_nineteen_of_twenty_intervals_or_nearly_so() {
        let mut random = Rng::with_seed(1);
        let hits = (0..400).filter(|_| {
            let samples: Vec<f64> = (0..15).map(|_| random.f64().powi(3)).collect();
            let interval = Interval::of(&samples);
            (interval.low..=interval.high).contains(&0.125)
        });
        let hits = hits.count();
        assert!((360..=399).contains(&hits), "{hits} of 400");
    }

    #[test]
    fn rounds_that_were_slow_for_both_do_not_disturb_their_ratio() {
        let those = [1.0, 3.0, 1.1, 7.0, 0.9, 2.0];
        let these = those.map(|time| time * 2.0);
        let ratio = Interval::of_ratio(&these, &those);
        assert_eq!((ratio.median, ratio.low, ratio.high), (2.0, 2.0, 2.0));
    }

    #[test]
    fn a_machine_that_is_now_busy_and_now_idle_does_not_disturb_a_ratio() {
        // The one median falls among the idle rounds, and the other among the busy ones.
        let those = [1.0, 1.0, 1.0, 1.0, 5.0, 5.0, 5.0];
        let these = [1.1, 1.1, 1.1, 5.5, 5.5, 5.5, 5.5];
        let ratio = Interval::of_ratio(&these, &those);
        assert!((1.05..1.15).contains(&ratio.median), "{ratio:?}");
    }

    #[test]
    fn no_samples_give_no_number_and_no_panic() {
        assert!(std::panic::catch_unwind(|| Interval::of(&[])).is_ok());
    }
}
