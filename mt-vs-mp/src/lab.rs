//! The laboratory: what every experiment needs.
//!
//! In reading order: [`role`] starts this program again as something else, [`trial`] makes of that
//! a fresh process for one measurement, [`statistics`] makes an interval of many measurements, and
//! [`verdict`] a verdict of that. [`machine`] looks at what there is, [`pin`] chooses
//! a core, [`interrupt`] ends it all.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

#[cfg(unix)]
pub mod fork;
pub mod interrupt;
#[cfg(unix)]
pub mod limits;
pub mod machine;
#[cfg(unix)]
pub mod mapping;
pub mod memory;
pub mod pin;
pub mod role;
pub mod statistics;
pub mod trial;
pub mod verdict;

use machine::Machine;
use statistics::FEWEST;

use crate::output::say;

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
        match self {
            Self::Quick => "quick",
            Self::Default => "default",
            Self::Full => "full",
        }
    }

    /// What all experiments together may take.
    pub fn budget(self) -> Duration {
        Duration::from_secs_f64(match self {
            Self::Quick => 4.5,
            Self::Default => 34.0,
            Self::Full => 240.0,
        })
    }

    /// More rounds than this tell nothing new.
    fn most_rounds(self) -> usize {
        match self {
            Self::Quick => 10,
            Self::Default => 40,
            Self::Full => 200,
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
    pub fn new(mode: Mode, workers: usize, machine: Machine) -> Self {
        // Hidden, unless stderr is a terminal.
        let progress = ProgressBar::new_spinner().with_style(
            ProgressStyle::with_template("{spinner} {prefix} {msg}")
                .expect("the template is valid"),
        );
        Self {
            mode,
            workers,
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

    /// Measures each variant once per round: A B C, A B C … A machine that grows slower meanwhile
    /// does so for all alike. It stops when `budget` is spent, but not before there are enough
    /// samples for an interval.
    ///
    /// Returns the samples of each variant, in the variants' order.
    pub fn alternate<V, S>(
        &self,
        budget: Duration,
        variants: &[V],
        mut measure: impl FnMut(&V) -> anyhow::Result<S>,
    ) -> anyhow::Result<Vec<Vec<S>>> {
        let mut samples: Vec<Vec<S>> = variants.iter().map(|_| Vec::new()).collect();
        let begin = Instant::now();
        for round in 1..=self.mode.most_rounds() {
            for (variant, samples) in variants.iter().zip(&mut samples) {
                self.progress.set_message(format!("round {round}"));
                self.progress.tick();
                self.go_on()?;
                samples.push(measure(variant)?);
            }
            // Would another round still fit?
            let spent = begin.elapsed();
            if round >= FEWEST && spent + spent / round as u32 > budget {
                break;
            }
        }
        Ok(samples)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// In which order variants are measured, each of them at once.
    fn rounds(mode: Mode, budget: Duration) -> String {
        let lab = Lab::new(mode, 1, Machine::look_at());
        let mut order = String::new();
        let measured = lab.alternate(budget, &["A", "B"], |&variant| {
            order += variant;
            Ok(variant)
        });
        let samples = measured.expect("nothing goes wrong");
        for (variant, samples) in ["A", "B"].iter().zip(&samples) {
            assert_eq!(samples.len(), order.matches(variant).count());
            assert!(samples.iter().all(|sample| sample == variant));
        }
        order
    }

    #[test]
    fn what_is_compared_takes_turns() {
        assert_eq!(rounds(Mode::Quick, Duration::MAX / 2), "AB".repeat(10));
    }

    #[test]
    fn without_time_there_are_as_many_rounds_as_an_interval_needs() {
        assert_eq!(rounds(Mode::Full, Duration::ZERO), "AB".repeat(FEWEST));
    }

    #[test]
    fn the_first_failure_ends_it() {
        let lab = Lab::new(Mode::Quick, 1, Machine::look_at());
        let mut measured = 0;
        let result = lab.alternate(Duration::MAX / 2, &[1, 2, 3], |&variant| {
            measured += 1;
            anyhow::ensure!(variant != 2, "no");
            Ok(0.0)
        });
        assert!(result.is_err());
        assert_eq!(measured, 2);
    }
}
