//! From the samples of a measurement to a median and an interval around it.
//!
//! A sample is one number, from one trial. No distribution is assumed: times have a lower bound and
//! a long tail, so means and standard deviations would mislead. Both ends of the interval are
//! samples: the k-th lowest and the k-th highest. Each sample lies above the true median with
//! probability ½, so the number of samples above the true median has a binomial distribution. From
//! this follows, for each k, the exact probability that the two ends enclose the true median (David
//! and Nagaraja, "Order Statistics", 3rd ed., 7.1). A larger k gives a narrower interval with a
//! lower probability; the largest k with at least 95% is taken. For six samples k is 1: the lowest
//! and the highest enclose the true median with 96.9%.

use serde::{Deserialize, Serialize};

/// Fewer samples have no interval: n samples all lie on the same side of the true median with
/// probability 2 · ½ⁿ, which is more than 5% if n is less than 6.
pub const FEWEST_SAMPLES: usize = 6;

const CONFIDENCE: f64 = 0.95;

/// A median, the interval around it, and the number of samples that they come from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    pub median: f64,
    /// The interval's ends. Of fewer than [`FEWEST_SAMPLES`] samples they are the lowest and the
    /// highest: use [`Interval::ends`], which then returns `None`.
    pub low: f64,
    pub high: f64,
    pub samples: usize,
}

impl Interval {
    /// The median of the samples and its interval. Of no samples, none of them is a number.
    pub fn of(samples: &[f64]) -> Self {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let skipped = outside(sorted.len());
        let number = |sample: Option<&f64>| sample.copied().unwrap_or(f64::NAN);
        Self {
            median: median(samples.iter().copied()),
            low: number(sorted.get(skipped)),
            high: number(sorted.iter().nth_back(skipped)),
            samples: sorted.len(),
        }
    }

    /// Divides, for each round, its sample among `numerators` by its sample among `denominators`.
    /// The result is the median of these quotients.
    ///
    /// If the machine was slow in one round, it was slow for both, and their quotient does not
    /// suffer. The quotient of the two medians would: on a machine that is now busy and now idle,
    /// one median may fall among the busy rounds, and the other among the idle ones.
    ///
    /// A round whose denominator is 0 has no quotient. (On a machine that is very busy, workers may
    /// finish nothing in the time that counts.)
    pub fn of_ratio(numerators: &[f64], denominators: &[f64]) -> Self {
        let rounds = numerators.iter().zip(denominators);
        let rounds = rounds.filter(|(_, other)| **other != 0.0);
        Self::of(&rounds.map(|(one, other)| one / other).collect::<Vec<_>>())
    }

    /// The lower and the upper end, if there are enough samples for an interval.
    pub fn ends(&self) -> Option<[f64; 2]> {
        (self.samples >= FEWEST_SAMPLES).then_some([self.low, self.high])
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

/// How many of the sorted samples lie outside the interval at each side: k - 1.
fn outside(samples: usize) -> usize {
    // The probability that exactly `number` samples lie below the true median, and the probability
    // that at most `number` samples do: at first for 0.
    let mut exactly = 0.5_f64.powi(samples as i32);
    let mut at_most = exactly;
    for number in 0..samples / 2 {
        // From here on for `number + 1`.
        exactly *= (samples - number) as f64 / (number + 1) as f64;
        at_most += exactly;
        // With `number + 1` samples outside at each side, the interval would be too narrow.
        if 1.0 - 2.0 * at_most < CONFIDENCE {
            return number;
        }
    }
    0
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
            assert_eq!(outside(samples), rank - 1, "{samples} samples");
        }
        // ½ⁿ is above 0 for up to 1074 samples. Of more, the lowest and the highest are taken.
        assert!((465..470).contains(&outside(1000)));
        assert_eq!(outside(2000), 0);
    }

    #[test]
    fn a_round_without_a_quotient_does_not_count() {
        let ratio = Interval::of_ratio(&[0.0, 4.0, 3.0], &[0.0, 2.0, 0.0]);
        assert_eq!((ratio.median, ratio.samples), (2.0, 1));
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
        for samples in [FEWEST_SAMPLES, 7, 10, 15, 40] {
            let hits = (0..4000).filter(|_| {
                // A skewed distribution, as that of times is. Its true median is ½³.
                let samples: Vec<f64> = (0..samples).map(|_| random.f64().powi(3)).collect();
                let interval = Interval::of(&samples);
                (interval.low..=interval.high).contains(&0.125)
            });
            let hits = hits.count();
            // 95% are 3800, with a standard deviation of 14.
            assert!(hits >= 3760, "{hits} of 4000 with {samples} samples");
        }
    }

    #[test]
    fn a_machine_that_is_now_busy_and_now_idle_does_not_disturb_a_ratio() {
        // One median falls among the idle rounds, and the other among the busy ones.
        let denominators = [1.0, 1.0, 1.0, 1.0, 5.0, 5.0, 5.0];
        let numerators = [1.1, 1.1, 1.1, 5.5, 5.5, 5.5, 5.5];
        let ratio = Interval::of_ratio(&numerators, &denominators);
        assert!((1.05..1.15).contains(&ratio.median), "{ratio:?}");
    }

    #[test]
    fn fewer_than_six_samples_have_no_interval() {
        assert_eq!(Interval::of(&[1.0, 2.0, 3.0, 4.0, 5.0]).ends(), None);
        let six = Interval::of(&[6.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(six.ends(), Some([1.0, 6.0]));
    }

    #[test]
    fn no_samples_give_no_number_and_no_panic() {
        let nothing = Interval::of(&[]);
        assert!(nothing.median.is_nan() && nothing.low.is_nan() && nothing.high.is_nan());
    }
}
