//! From intervals to a verdict: when a figure is good enough to say that a claim holds or fails.
//!
//! Pure functions: what they are given decides, and nothing else.

use serde::{Deserialize, Serialize};

use super::interval::{FEWEST, Interval};

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
use Verdict::{Depends, Fails, Holds, NotMeasured, Unclear};

impl Verdict {
    pub fn word(self) -> &'static str {
        match self {
            Holds => "holds",
            Fails => "fails",
            Depends => "depends",
            Unclear => "unclear",
            NotMeasured => "not measured",
        }
    }
}

/// For what is counted and not timed: it is so, or it is not.
pub fn is(so: bool) -> Verdict {
    if so { Holds } else { Fails }
}

/// "It is at least `bound`": the whole interval must lie on one side.
pub fn at_least(figure: Interval, bound: f64) -> Verdict {
    if figure.samples < FEWEST {
        Unclear
    } else if figure.low >= bound {
        Holds
    } else if figure.high < bound {
        Fails
    } else {
        // Also when the figure is not a number.
        Unclear
    }
}

/// "It is at most `bound`."
pub fn at_most(figure: Interval, bound: f64) -> Verdict {
    if figure.samples < FEWEST {
        Unclear
    } else if figure.high <= bound {
        Holds
    } else if figure.low > bound {
        Fails
    } else {
        Unclear
    }
}

/// "It lies between `low` and `high`": both must be so.
pub fn within(figure: Interval, low: f64, high: f64) -> Verdict {
    every([at_least(figure, low), at_most(figure, high)])
}

/// A claim that says several things, all of which must be so: "this *and* that", "*however* large".
/// One that fails refutes it. A part that could not be tried does not count.
pub fn every(parts: impl IntoIterator<Item = Verdict>) -> Verdict {
    let order = [Fails, Unclear, Depends, Holds];
    let parts: Vec<Verdict> = parts.into_iter().collect();
    let worst = order.into_iter().find(|verdict| parts.contains(verdict));
    worst.unwrap_or(NotMeasured)
}

/// A claim that says one thing of several cases: it may hold for one kind of work and fail for
/// another. Clear cases that disagree make it depend on the case, whatever the others are; otherwise
/// an unclear case leaves it unclear. A case that could not be tried does not count.
pub fn by_case(cases: impl IntoIterator<Item = Verdict>) -> Verdict {
    let cases: Vec<Verdict> = cases.into_iter().collect();
    let has = |verdict| cases.contains(&verdict);
    if has(Depends) || has(Holds) && has(Fails) {
        return Depends;
    }
    let order = [Unclear, Fails, Holds];
    order.into_iter().find(|&it| has(it)).unwrap_or(NotMeasured)
}

/// A claim that says what is *usually* so: most of the cases decide, and not the rest.
pub fn usually(cases: impl IntoIterator<Item = Verdict>) -> Verdict {
    let tried = cases.into_iter().filter(|&case| case != NotMeasured);
    let cases: Vec<Verdict> = tried.collect();
    let most =
        |&verdict: &Verdict| 2 * cases.iter().filter(|&&it| it == verdict).count() > cases.len();
    [Holds, Fails]
        .into_iter()
        .find(most)
        .unwrap_or_else(|| by_case(cases))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        // The bound itself is still "at least" and "at most".
        assert_eq!(at_least(interval(5.0, 6.0), 5.0), Holds);
        assert_eq!(at_most(interval(4.0, 5.0), 5.0), Holds);
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
        for judge in [at_least, at_most] {
            let few = Interval::of(&[5.0; FEWEST - 1]);
            assert_eq!(judge(few, 5.0), Unclear);
            assert_eq!(judge(Interval::of(&[5.0; FEWEST]), 5.0), Holds);
        }
    }

    #[test]
    fn what_is_not_a_number_decides_nothing() {
        assert_eq!(at_least(interval(f64::NAN, f64::NAN), 5.0), Unclear);
        assert_eq!(at_most(interval(f64::NAN, f64::NAN), 5.0), Unclear);
    }

    #[test]
    fn one_part_that_fails_refutes_the_whole() {
        assert_eq!(every([Holds, Holds]), Holds);
        assert_eq!(every([Holds, Fails]), Fails);
        assert_eq!(every([Unclear, Fails, Holds]), Fails);
        assert_eq!(every([Holds, Unclear, Depends]), Unclear);
        assert_eq!(every([Holds, Depends]), Depends);
        assert_eq!(every([NotMeasured, Holds]), Holds);
        assert_eq!(every([]), NotMeasured);
    }

    #[test]
    fn cases_that_disagree_make_it_depend() {
        assert_eq!(by_case([Holds, Holds]), Holds);
        assert_eq!(by_case([Fails, Fails]), Fails);
        assert_eq!(by_case([Holds, Fails]), Depends);
        assert_eq!(by_case([Holds, Depends]), Depends);
        assert_eq!(by_case([Holds, Unclear]), Unclear);
        assert_eq!(by_case([Unclear, Fails]), Unclear);
        assert_eq!(by_case([Unclear, Holds, Fails]), Depends);
        assert_eq!(by_case([NotMeasured, Holds]), Holds);
        assert_eq!(by_case([NotMeasured]), NotMeasured);
        assert_eq!(by_case([]), NotMeasured);
    }

    #[test]
    fn what_is_usually_so_is_decided_by_most_cases() {
        assert_eq!(usually([Holds, Holds, Fails]), Holds);
        assert_eq!(usually([Fails, Unclear, Fails]), Fails);
        assert_eq!(usually([Holds, Fails]), Depends);
        assert_eq!(usually([Holds, Unclear, Fails]), Depends);
        assert_eq!(usually([Unclear, Unclear, Fails]), Unclear);
        assert_eq!(usually([Fails, NotMeasured, NotMeasured]), Fails);
        assert_eq!(usually([]), NotMeasured);
    }
}
