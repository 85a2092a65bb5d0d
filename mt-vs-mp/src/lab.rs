//! The laboratory: what every experiment needs.
//!
//! In reading order: [`role`] starts this program again as something else, [`trial`] makes of that
//! a fresh process for one measurement, [`Lab::alternate`] measures in turns, and [`Measured`] makes
//! figures of the samples. [`machine`] looks at what there is, [`place`] chooses a processor, and
//! [`interrupt`] ends it all.

use std::time::{Duration, Instant};

use fastrand::Rng;
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

#[cfg(target_os = "linux")]
pub mod cgroup;
pub mod creation;
pub mod fork;
pub mod interrupt;
#[cfg(unix)]
pub mod limits;
pub mod machine;
pub mod mapping;
pub mod memory;
pub mod place;
pub mod role;
#[cfg(unix)]
pub mod team;
pub mod trial;

use crate::{
    finding::{
        figure::{Figure, Unit},
        interval::{FEWEST, Interval},
    },
    output::say,
};
use machine::Machine;
use role::NoRoom;

/// How much time a run takes, and so how narrow its intervals become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    Quick,
    Default,
    Full,
}

impl Mode {
    pub fn name(self) -> &'static str {
        self.pick("quick", "default", "full")
    }

    /// What all experiments together may take.
    pub fn budget(self) -> Duration {
        Duration::from_secs_f64(self.pick(4.5, 38.0, 240.0))
    }

    /// More rounds than this tell nothing new.
    fn most_rounds(self) -> usize {
        self.pick(10, 40, 200)
    }

    pub fn pick<T>(self, quick: T, default: T, full: T) -> T {
        match self {
            Self::Quick => quick,
            Self::Default => default,
            Self::Full => full,
        }
    }
}

/// What an experiment is given.
pub struct Lab {
    pub mode: Mode,
    /// As many workers as are to share the work: the machine's cores, unless the user said
    /// otherwise.
    pub workers: usize,
    pub machine: Machine,
    /// What the experiment under way may take.
    pub budget: Duration,
    progress: ProgressBar,
}

impl Lab {
    pub fn new(mode: Mode, workers: Option<usize>, machine: Machine) -> Self {
        // Hidden, unless stderr is a terminal.
        let progress = ProgressBar::new_spinner().with_style(
            ProgressStyle::with_template("{spinner} {prefix} {msg}")
                .expect("the template is valid"),
        );
        Self {
            mode,
            workers: workers.unwrap_or(machine.cores),
            machine,
            budget: mode.budget(),
            progress,
        }
    }

    /// An experiment begins, which has `share` percent of the time.
    pub fn begin(&mut self, experiment: &'static str, share: u32) {
        self.budget = self.mode.budget() * share / 100;
        self.progress.set_prefix(experiment);
        self.progress.set_message("");
    }

    /// Prints, without the progress line getting in its way.
    pub fn say(&self, text: &str) -> anyhow::Result<()> {
        self.progress.suspend(|| say!("{text}"))
    }

    /// Removes the progress line.
    pub fn finish(&self) {
        self.progress.finish_and_clear();
    }

    /// Measures each variant once per round, in an order that is shuffled anew for each round (by
    /// the same seed in every run). A machine that grows slower meanwhile does so for all alike, and
    /// no variant always comes after the same other. It stops when `budget` is spent, but not before
    /// there are enough samples for an interval.
    pub fn alternate<V, S>(
        &self,
        budget: Duration,
        variants: impl IntoIterator<Item = V>,
        measure: impl FnMut(&V) -> anyhow::Result<S>,
    ) -> anyhow::Result<Vec<Measured<V, S>>> {
        let groups = variants.into_iter().map(|variant| vec![variant]);
        self.alternate_groups(budget, groups, measure)
    }

    /// The same for many variants. Those that are compared make a group, and are measured one
    /// directly after the other: load that comes and goes within a round is the same for them.
    pub fn alternate_groups<V, S>(
        &self,
        budget: Duration,
        groups: impl IntoIterator<Item = Vec<V>>,
        mut measure: impl FnMut(&V) -> anyhow::Result<S>,
    ) -> anyhow::Result<Vec<Measured<V, S>>> {
        let mut all: Vec<Measured<V, S>> = Vec::new();
        let mut order: Vec<Vec<usize>> = Vec::new();
        for group in groups {
            let first = all.len();
            all.extend(group.into_iter().map(|variant| Measured {
                variant,
                samples: Vec::new(),
            }));
            order.push((first..all.len()).collect());
        }
        let mut random = Rng::with_seed(1);
        let begin = Instant::now();
        for round in 1..=self.mode.most_rounds() {
            random.shuffle(&mut order);
            order.iter_mut().for_each(|group| random.shuffle(group));
            for &next in order.iter().flatten() {
                self.progress.set_message(format!("round {round}"));
                self.progress.tick();
                self.go_on()?;
                let sample = measure(&all[next].variant)?;
                all[next].samples.push(sample);
            }
            // Would another round still fit?
            let spent = begin.elapsed();
            if round >= FEWEST && spent + spent / round as u32 > budget {
                break;
            }
        }
        Ok(all)
    }

    /// The variants that this machine has room for; of the others is told why not. `try_out` tries
    /// each once, which also warms up; what it returns for one without room is [`NoRoom`].
    pub fn those_that_fit<V: std::fmt::Display>(
        &self,
        variants: impl IntoIterator<Item = V>,
        left_out: &mut Vec<String>,
        try_out: impl Fn(&V) -> anyhow::Result<()>,
    ) -> anyhow::Result<Vec<V>> {
        let mut fitting = Vec::new();
        for variant in variants {
            self.go_on()?;
            match try_out(&variant) {
                Ok(()) => fitting.push(variant),
                Err(error) if error.is::<NoRoom>() => {
                    left_out.push(format!("{variant}: {error:#}"));
                }
                Err(error) => return Err(error.context(variant.to_string())),
            }
        }
        Ok(fitting)
    }

    /// # Errors
    /// When there is no use in going on: we are interrupted, or nobody reads what we say.
    pub fn go_on(&self) -> anyhow::Result<()> {
        interrupt::check()?;
        if interrupt::nobody_reads() {
            // The error that this gives is the one that ends the program quietly.
            say!("")?;
        }
        Ok(())
    }
}

/// A variant, and what was measured of it in each round.
pub struct Measured<V, S> {
    pub variant: V,
    pub samples: Vec<S>,
}

impl<V, S> Measured<V, S> {
    /// One number of each sample.
    pub fn numbers(&self, of: impl Fn(&S) -> f64) -> Vec<f64> {
        self.samples.iter().map(of).collect()
    }

    /// The median of one number of each sample.
    pub fn figure(&self, unit: Unit, of: impl Fn(&S) -> f64) -> Figure {
        Figure::new(Interval::of(&self.numbers(of)), unit)
    }

    /// The same for a number that not every system has: then there is no figure.
    pub fn figure_if_any(&self, unit: Unit, of: impl Fn(&S) -> Option<f64>) -> Option<Figure> {
        let numbers: Option<Vec<f64>> = self.samples.iter().map(of).collect();
        let numbers = numbers.filter(|numbers| !numbers.is_empty())?;
        Some(Figure::new(Interval::of(&numbers), unit))
    }

    /// This one's number divided by the other's, round by round.
    pub fn ratio_to<W>(&self, other: &Measured<W, S>, of: impl Fn(&S) -> f64) -> Figure {
        Figure::ratio(&self.numbers(&of), &other.numbers(&of))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lab(mode: Mode) -> Lab {
        Lab::new(mode, Some(1), Machine::look_at())
    }

    /// In which order variants are measured, each of them at once.
    fn rounds(mode: Mode, budget: Duration) -> Vec<String> {
        let mut order = Vec::new();
        let measured = lab(mode).alternate(budget, ["A", "B", "C"], |&variant| {
            order.push(variant);
            Ok(variant)
        });
        for Measured { variant, samples } in measured.expect("nothing goes wrong") {
            assert!(samples.iter().all(|&sample| sample == variant));
        }
        order.chunks(3).map(<[_]>::concat).collect()
    }

    #[test]
    fn what_is_compared_takes_turns_in_an_order_that_changes() {
        let orders = rounds(Mode::Quick, Duration::MAX / 2);
        assert_eq!(orders.len(), 10);
        for order in &orders {
            let mut letters: Vec<char> = order.chars().collect();
            letters.sort_unstable();
            assert_eq!(letters, ['A', 'B', 'C'], "{orders:?}");
        }
        assert!(orders.iter().any(|order| order != &orders[0]), "{orders:?}");
        // And it is the same in every run.
        assert_eq!(orders, rounds(Mode::Quick, Duration::MAX / 2));
    }

    #[test]
    fn those_of_a_group_are_measured_one_directly_after_the_other() {
        let mut order = Vec::new();
        let groups = ["AB", "CD", "EF"].map(|group| group.chars().collect());
        let measured = lab(Mode::Quick).alternate_groups(Duration::MAX / 2, groups, |&variant| {
            order.push(variant);
            Ok(())
        });
        assert!(measured.is_ok());
        let rounds: Vec<String> = order
            .chunks(6)
            .map(|round| round.iter().collect())
            .collect();
        for round in &rounds {
            for (one, other) in ["AB", "CD", "EF"].map(|it| (&it[..1], &it[1..])) {
                let [one, other] = [one, other].map(|it| round.find(it).expect("all are there"));
                assert_eq!(one.abs_diff(other), 1, "{rounds:?}");
            }
        }
        // Both orders occur, of the groups and in each of them.
        for text in ["AB", "BA", "CD", "DC"] {
            assert!(
                rounds.iter().any(|round| round.contains(text)),
                "{rounds:?}"
            );
        }
        let is_first = |group: &str| rounds.iter().any(|round| group.contains(&round[..1]));
        assert!(["AB", "CD", "EF"].into_iter().all(is_first), "{rounds:?}");
    }

    #[test]
    fn without_time_there_are_as_many_rounds_as_an_interval_needs() {
        assert_eq!(rounds(Mode::Full, Duration::ZERO).len(), FEWEST);
    }

    #[test]
    fn the_first_failure_ends_it() {
        let mut measured = 0;
        let result = lab(Mode::Quick).alternate(Duration::MAX / 2, [1, 2, 3], |_| {
            measured += 1;
            anyhow::ensure!(measured < 2, "no");
            Ok(0.0)
        });
        assert!(result.is_err());
        assert_eq!(measured, 2);
    }

    #[test]
    fn what_has_no_room_is_left_out_with_the_cause_and_any_other_error_ends_it() {
        let mut left_out = Vec::new();
        let fitting =
            lab(Mode::Quick).those_that_fit([1, 2, 3], &mut left_out, |&size| match size {
                2 => Err(NoRoom("too large".to_owned()).into()),
                _ => Ok(()),
            });
        assert_eq!(fitting.expect("nothing goes wrong"), [1, 3]);
        assert_eq!(left_out, ["2: too large"]);
        let broken = lab(Mode::Quick).those_that_fit([1], &mut left_out, |_| anyhow::bail!("no"));
        assert!(broken.is_err());
    }
}
