//! From the samples of a measurement to a median and an interval around it.
//!
//! A sample is one figure of one fresh process. No distribution is assumed: times have a lower bound
//! and a long tail, so means and standard deviations would mislead. The interval lies between two of
//! the sorted samples. Each sample lies above the true median with probability ½, so the number of
//! samples above it is binomial, and how often the k-th lowest and the k-th highest sample enclose it
//! is known exactly (David and Nagaraja, "Order Statistics", 3rd ed., 7.1). Taken is the largest k
//! that does so in at least 95% of all cases. For six samples that is 1: the lowest and the highest,
//! which enclose the true median with 96.9%.

use serde::{Deserialize, Serialize};

/// With fewer samples than this, not even the lowest and the highest enclose the median with 95%
/// probability: n samples miss it with 2 · ½ⁿ.
pub const FEWEST: usize = 6;

const CONFIDENCE: f64 = 0.95;

/// A median, the interval around it, and how many samples it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    pub median: f64,
    pub low: f64,
    pub high: f64,
    pub samples: usize,
}

impl Interval {
    /// Of the samples' median. It is not a number if there are no samples.
    pub fn of(samples: &[f64]) -> Self {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let place = place(sorted.len());
        let at = |place: Option<usize>| place.map_or(f64::NAN, |place| sorted[place]);
        Self {
            median: median(samples.iter().copied()),
            low: at(place),
            high: at(place.map(|place| sorted.len() - 1 - place)),
            samples: sorted.len(),
        }
    }

    /// How many times `those` each of `these` is, round by round.
    ///
    /// If the machine was slow in one round, it was so for both, and their ratio does not suffer.
    /// The ratio of the two medians would: on a machine that is now busy and now idle, one median
    /// may fall among the busy rounds, and the other among the idle ones.
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

/// The place of the lower end among the sorted samples, counted from 0. The upper end has the same
/// place, counted from the other side.
fn place(samples: usize) -> Option<usize> {
    // The probability that exactly `below` of the samples lie below the median, and that at most
    // so many do.
    let mut probability = 0.5_f64.powi(samples as i32);
    let mut at_most = 0.0;
    for below in 0..samples.div_ceil(2) {
        at_most += probability;
        if 1.0 - 2.0 * at_most < CONFIDENCE {
            // Too narrow. Of few samples even the widest is; a verdict does not trust it.
            return Some(below.saturating_sub(1));
        }
        probability *= (samples - below) as f64 / (below + 1) as f64;
    }
    samples.checked_sub(1).map(|last| last / 2)
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;

    #[test]
    fn the_median_is_the_middle_one_or_between_the_middle_two() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median([]).is_nan());
    }

    #[test]
    fn the_ends_are_those_that_tables_of_order_statistics_give() {
        // The rank of the lower end for 95%, from 1; e.g. Conover, "Practical Nonparametric
        // Statistics", table A3 (binomial, p = ½).
        for (samples, rank) in [
            (1, 1),
            (5, 1),
            (6, 1),
            (8, 1),
            (9, 2),
            (12, 3),
            (20, 6),
            (40, 14),
        ] {
            assert_eq!(place(samples), Some(rank - 1), "{samples} samples");
        }
        assert_eq!(place(0), None);
        // So many samples that ½ⁿ is still a number.
        assert!(place(1000).is_some_and(|place| (465..470).contains(&place)));
    }

    #[test]
    fn one_wild_sample_of_nine_does_not_reach_the_interval() {
        let samples = [5.0, 1.0, 9.0, 4.0, 6.0, 5.5, 4.5, 100.0, 5.2];
        let interval = Interval::of(&samples);
        assert_eq!(
            (interval.low, interval.median, interval.high),
            (4.0, 5.2, 9.0)
        );
        assert_eq!(interval.samples, 9);
    }

    #[test]
    fn at_least_nineteen_of_twenty_intervals_enclose_the_true_median() {
        let mut random = Rng::with_seed(1);
        for samples in [FEWEST, 7, 10, 15, 40] {
            let hits = (0..4000).filter(|_| {
                // As skewed as times are. The median of ½³.
                let samples: Vec<f64> = (0..samples).map(|_| random.f64().powi(3)).collect();
                let interval = Interval::of(&samples);
                (interval.low..=interval.high).contains(&0.125)
            });
            let hits = hits.count();
            // 95% are 3800, and 4000 draws scatter by about 14.
            assert!(hits >= 3760, "{hits} of 4000 with {samples} samples");
        }
    }

    #[test]
    fn a_machine_that_is_now_busy_and_now_idle_does_not_disturb_a_ratio() {
        // One median falls among the idle rounds, and the other among the busy ones.
        let those = [1.0, 1.0, 1.0, 1.0, 5.0, 5.0, 5.0];
        let these = [1.1, 1.1, 1.1, 5.5, 5.5, 5.5, 5.5];
        let ratio = Interval::of_ratio(&these, &those);
        assert!((1.05..1.15).contains(&ratio.median), "{ratio:?}");
    }

    #[test]
    fn no_samples_give_no_number_and_no_panic() {
        let nothing = Interval::of(&[]);
        assert!(nothing.median.is_nan() && nothing.low.is_nan() && nothing.high.is_nan());
    }
}
