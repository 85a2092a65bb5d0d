//! From intervals to a verdict: when a figure is good enough to say that a claim holds or fails.
//!
//! Pure functions: what they are given decides, and nothing else.

use serde::{Deserialize, Serialize};

use super::statistics::{FEWEST, Interval};

/// What became of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Holds,
    Fails,
    /// It holds in one case and fails in another; the reason says in which.
    Depends,
    /// It was measured, but not well enough to say.
    Unclear,
    /// It could not be tried here; the reason says why.
    NotMeasured,
}

impl Verdict {
    pub fn word(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Fails => "fails",
            Self::Depends => "depends",
            Self::Unclear => "unclear",
            Self::NotMeasured => "not measured",
        }
    }
}

/// A verdict with its reason, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    pub verdict: Verdict,
    pub reason: String,
}

impl Judgement {
    pub fn new(verdict: Verdict, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self { verdict, reason }
    }
}

/// For what is counted and not timed: it is so, or it is not.
pub fn is(so: bool) -> Verdict {
    if so { Verdict::Holds } else { Verdict::Fails }
}

/// "It is at least `bound`": the whole interval must lie on one side.
pub fn at_least(figure: Interval, bound: f64) -> Verdict {
    within(figure, bound, f64::INFINITY)
}

/// "It is at most `bound`."
pub fn at_most(figure: Interval, bound: f64) -> Verdict {
    within(figure, f64::NEG_INFINITY, bound)
}

/// "It lies between `low` and `high`": it holds when the whole interval does, fails when the whole
/// interval lies on one side of both, and is unclear when the interval reaches over a bound.
pub fn within(figure: Interval, low: f64, high: f64) -> Verdict {
    if figure.samples < FEWEST {
        Verdict::Unclear
    } else if figure.low >= low && figure.high <= high {
        Verdict::Holds
    } else if figure.high < low || figure.low > high {
        Verdict::Fails
    } else {
        // Also when a figure is not a number.
        Verdict::Unclear
    }
}

/// A claim of several cases. Clear cases that disagree make it depend on the case, whatever the
/// others are; otherwise an unclear case leaves the whole claim unclear. A case that could not be
/// tried does not count.
pub fn all(cases: impl IntoIterator<Item = Verdict>) -> Verdict {
    use Verdict::{Depends, Fails, Holds, NotMeasured, Unclear};
    let together = |one, other| match (one, other) {
        (NotMeasured, other) | (other, NotMeasured) => other,
        (Depends, _) | (_, Depends) | (Holds, Fails) | (Fails, Holds) => Depends,
        (Unclear, _) | (_, Unclear) => Unclear,
        (same, _) => same,
    };
    // Unclear ones last: "holds, unclear, fails" depends.
    let mut cases: Vec<Verdict> = cases.into_iter().collect();
    cases.sort_by_key(|&case| case == Unclear);
    cases.into_iter().fold(NotMeasured, together)
}

#[cfg(test)]
mod tests {
    use super::{Verdict::*, *};

    fn interval(low: f64, high: f64) -> Interval {
        Interval {
            median: f64::midpoint(low, high),
            low,
            high,
            samples: 10,
        }
    }

    #[test]
    fn a_bound_inside_the_interval_leaves_it_unclear() {
        assert_eq!(at_least(interval(5.1, 6.0), 5.0), Holds);
        assert_eq!(at_least(interval(4.0, 4.9), 5.0), Fails);
        assert_eq!(at_least(interval(4.9, 5.1), 5.0), Unclear);
        assert_eq!(at_most(interval(4.0, 4.9), 5.0), Holds);
        assert_eq!(at_most(interval(5.1, 6.0), 5.0), Fails);
        assert_eq!(at_most(interval(4.9, 5.1), 5.0), Unclear);
    }

    #[test]
    fn a_band_needs_the_whole_interval_inside_or_outside() {
        assert_eq!(within(interval(0.95, 1.3), 0.9, 1.5), Holds);
        assert_eq!(within(interval(0.5, 0.6), 0.9, 1.5), Fails);
        assert_eq!(within(interval(2.0, 9.0), 0.9, 1.5), Fails);
        assert_eq!(within(interval(1.4, 1.6), 0.9, 1.5), Unclear);
        assert_eq!(within(interval(0.1, 9.0), 0.9, 1.5), Unclear);
    }

    #[test]
    fn too_few_samples_decide_nothing() {
        let few = Interval {
            samples: FEWEST - 1,
            ..interval(100.0, 100.0)
        };
        assert_eq!(at_least(few, 5.0), Unclear);
        assert_eq!(at_least(Interval::of(&[9.0; FEWEST]), 5.0), Holds);
    }

    #[test]
    fn what_is_not_a_number_decides_nothing() {
        assert_eq!(at_least(interval(f64::NAN, f64::NAN), 5.0), Unclear);
        assert_eq!(at_most(interval(f64::NAN, f64::NAN), 5.0), Unclear);
    }

    #[test]
    fn cases_that_disagree_make_it_depend() {
        assert_eq!(all([Holds, Holds]), Holds);
        assert_eq!(all([Fails, Fails]), Fails);
        assert_eq!(all([Holds, Fails]), Depends);
        assert_eq!(all([Holds, Depends]), Depends);
        assert_eq!(all([Holds, Unclear]), Unclear);
        assert_eq!(all([Holds, Unclear, Fails]), Depends);
        assert_eq!(all([Unclear, Holds, Fails]), Depends);
        assert_eq!(all([NotMeasured, Holds]), Holds);
        assert_eq!(all([NotMeasured]), NotMeasured);
        assert_eq!(all([]), NotMeasured);
    }
}
