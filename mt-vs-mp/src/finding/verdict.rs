//! From intervals to a verdict: does a claim hold, or fail, or are its figures too vague to tell?
//!
//! All of these are pure functions: the result depends on the arguments alone.

use serde::{Deserialize, Serialize};

use super::interval::Interval;

/// What became of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Holds,
    Fails,
    /// It holds in some cases and fails in others.
    Depends,
    /// It was measured, but not well enough to tell.
    Unclear,
    /// It could not be tried here, or its experiment failed; the reason says why.
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

/// Of a statement that is counted and not timed: it is true, or it is not.
pub fn is(so: bool) -> Verdict {
    if so { Holds } else { Fails }
}

/// Of the statement "the figure is at least `bound`": the whole interval must lie on one side.
pub fn at_least(figure: Interval, bound: f64) -> Verdict {
    match figure.ends() {
        Some([low, _]) if low >= bound => Holds,
        Some([_, high]) if high < bound => Fails,
        // The bound lies inside, the figure is not a number, or there are too few samples.
        _ => Unclear,
    }
}

/// Of the statement "the figure is at most `bound`".
pub fn at_most(figure: Interval, bound: f64) -> Verdict {
    match figure.ends() {
        Some([_, high]) if high <= bound => Holds,
        Some([low, _]) if low > bound => Fails,
        _ => Unclear,
    }
}

/// Of the statement "the figure lies between `low` and `high`".
pub fn within(figure: Interval, low: f64, high: f64) -> Verdict {
    every([at_least(figure, low), at_most(figure, high)])
}

/// Of a claim that makes several statements, all of which must be true: "this *and* that",
/// "*however* large". The worst of their verdicts counts. A statement that could not be tried does
/// not.
pub fn every(statements: impl IntoIterator<Item = Verdict>) -> Verdict {
    let statements: Vec<Verdict> = statements.into_iter().collect();
    let worst_first = [Fails, Unclear, Depends, Holds];
    let mut found = worst_first.into_iter().filter(|it| statements.contains(it));
    found.next().unwrap_or(NotMeasured)
}

/// Of one statement about several cases. If it holds in one case and fails in another, it depends,
/// whatever the other cases are. Otherwise it is unclear if one case is unclear. Otherwise all
/// cases agree. A case that could not be tried does not count.
pub fn by_case(cases: impl IntoIterator<Item = Verdict>) -> Verdict {
    let cases: Vec<Verdict> = cases.into_iter().collect();
    let has = |verdict| cases.contains(&verdict);
    if has(Depends) || (has(Holds) && has(Fails)) {
        Depends
    } else if has(Unclear) {
        Unclear
    } else if has(Fails) {
        Fails
    } else if has(Holds) {
        Holds
    } else {
        NotMeasured
    }
}

/// Of a claim about what is *usually* true: more than half of the cases decide. If there is no such
/// majority, it is judged [`by_case`].
pub fn usually(cases: impl IntoIterator<Item = Verdict>) -> Verdict {
    let tried = cases.into_iter().filter(|&case| case != NotMeasured);
    let cases: Vec<Verdict> = tried.collect();
    let number = |verdict| cases.iter().filter(|&&case| case == verdict).count();
    if 2 * number(Holds) > cases.len() {
        Holds
    } else if 2 * number(Fails) > cases.len() {
        Fails
    } else {
        by_case(cases)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::interval::FEWEST_SAMPLES;

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
        // So it refutes neither of the two.
        assert_eq!(at_least(interval(4.0, 5.0), 5.0), Unclear);
        assert_eq!(at_most(interval(5.0, 6.0), 5.0), Unclear);
    }

    #[test]
    fn what_is_counted_is_true_or_not() {
        assert_eq!([is(true), is(false)], [Holds, Fails]);
    }

    #[test]
    fn a_verdict_is_told_in_plain_words() {
        let words = [Holds, Fails, Depends, Unclear, NotMeasured].map(Verdict::word);
        assert_eq!(
            words,
            ["holds", "fails", "depends", "unclear", "not measured"]
        );
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
            let few = Interval::of(&[5.0; FEWEST_SAMPLES - 1]);
            assert_eq!(judge(few, 5.0), Unclear);
            assert_eq!(judge(Interval::of(&[5.0; FEWEST_SAMPLES]), 5.0), Holds);
        }
    }

    #[test]
    fn what_is_not_a_number_decides_nothing() {
        assert_eq!(at_least(interval(f64::NAN, f64::NAN), 5.0), Unclear);
        assert_eq!(at_most(interval(f64::NAN, f64::NAN), 5.0), Unclear);
    }

    #[test]
    fn one_statement_that_fails_refutes_the_claim() {
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
