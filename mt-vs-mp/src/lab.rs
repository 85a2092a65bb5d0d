//! The laboratory: what every experiment needs. The path of one number:
//!
//! ```text
//! $ mt-vs-mp run create
//! experiments/create.rs  run: names the variants, and passes them on
//! lab.rs                 alternate: for each round and each variant, asks for a sample
//! lab/trial.rs           run: starts a fresh process and waits for its answer
//! │
//! │  $ mt-vs-mp --role create '{"place":{"One":0},"way":2}'
//! │  main.rs                begin: sees "--role"
//! │  lab/role.rs            play_role: finds the role by its name
//! │  experiments/create.rs  CREATE.play: times 60 forks, and returns their median
//! │  {"Ok":0.00010359}      on its stdout: 104 µs
//! │
//! lab.rs                 Measured: keeps the number as one sample of its variant
//! experiments/create.rs  judge: divides samples by those of a spawn (Measured::ratio_to)
//! finding/interval.rs    of_ratio: makes a median and an interval of the quotients
//! finding/verdict.rs     at_most: compares the interval with the claim's bound
//! report/terminal.rs     entry: prints the table and the verdict
//! ```
//!
//! In reading order: [`role`] starts this program again in another role, [`trial`] uses that for a
//! measurement in a fresh process, [`Lab::alternate`] measures in turns, and [`Measured`] holds the
//! samples. [`machine`] describes the machine, [`place`] chooses processors, and [`interrupt`]
//! handles Ctrl-C.

use std::time::{Duration, Instant};

use fastrand::Rng;
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

pub mod cgroup;
pub mod creation;
pub mod fork;
pub mod interrupt;
pub mod machine;
pub mod mapping;
pub mod memory_use;
pub mod place;
#[cfg(unix)]
pub mod process_limits;
pub mod role;
#[cfg(unix)]
pub mod team;
pub mod together;
pub mod trial;

use crate::{
    finding::{
        figure::{Figure, Unit},
        interval::{FEWEST_SAMPLES, Interval},
    },
    output::say,
};
use machine::Machine;
use role::NoRoom;

/// How much time a run takes. With more time there are more samples, and narrower intervals.
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

    /// The time for all experiments together.
    pub fn budget(self) -> Duration {
        Duration::from_secs_f64(self.pick(3.5, 38.0, 240.0))
    }

    /// More rounds than this would hardly make the intervals narrower.
    fn most_rounds(self) -> usize {
        self.pick(10, 40, 200)
    }

    /// The value for this mode.
    pub fn pick<T>(self, quick: T, default: T, full: T) -> T {
        match self {
            Self::Quick => quick,
            Self::Default => default,
            Self::Full => full,
        }
    }
}

/// What an experiment gets from the run.
pub struct Lab {
    pub mode: Mode,
    /// How many workers share the work: one for each of the machine's cores, or as many as the
    /// option `--workers` says.
    pub workers: usize,
    pub machine: Machine,
    /// The time for the experiment that is running.
    pub budget: Duration,
    progress: ProgressBar,
}

impl Lab {
    pub fn new(mode: Mode, workers: Option<usize>, machine: Machine) -> Self {
        // It is shown only if stderr is a terminal.
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

    /// Prepares for an experiment that may take `share` percent of the time.
    pub fn begin(&mut self, experiment: &'static str, share: u32) {
        self.budget = self.mode.budget() * share / 100;
        self.progress.set_prefix(experiment);
        self.progress.set_message("");
    }

    /// Prints a text. The progress line is hidden meanwhile.
    pub fn say(&self, text: &str) -> anyhow::Result<()> {
        self.progress.suspend(|| say!("{text}"))
    }

    /// Removes the progress line.
    pub fn finish(&self) {
        self.progress.finish_and_clear();
    }

    /// Measures each variant once per round, in an order that is shuffled anew for each round (by
    /// the same seed in every run). If the machine becomes slower meanwhile, it does so for all
    /// variants, and no variant always comes after the same other one. It stops when `budget` is
    /// spent, but not before there are enough samples for an interval.
    pub fn alternate<V, S>(
        &self,
        budget: Duration,
        variants: impl IntoIterator<Item = V>,
        measure: impl FnMut(&V) -> anyhow::Result<S>,
    ) -> anyhow::Result<Vec<Measured<V, S>>> {
        let groups = variants.into_iter().map(|variant| vec![variant]);
        self.alternate_groups(budget, groups, measure)
    }

    /// The same for groups of variants. The variants of a group are measured one directly after the
    /// other, because they will be compared: other load on the machine may come and go within a
    /// round, but it hardly changes within a group.
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
            if round >= FEWEST_SAMPLES && !fits_another(round, begin.elapsed(), budget) {
                break;
            }
        }
        Ok(all)
    }

    /// The variants for which this machine has room. Each is tried once by `try_out`, which also
    /// warms up. If that returns [`NoRoom`], the variant is added to `left_out` with the cause.
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
    /// When the run is interrupted, or no process reads our output any more.
    pub fn go_on(&self) -> anyhow::Result<()> {
        interrupt::check()?;
        if interrupt::nobody_reads(&std::io::stdout()) {
            // This fails, by the error that ends the program quietly: see `output.rs`.
            say!("")?;
        }
        Ok(())
    }
}

/// Whether there is time for another round, if it takes as long as one of these did on average.
fn fits_another(rounds: usize, spent: Duration, budget: Duration) -> bool {
    spent + spent / rounds as u32 <= budget
}

/// A variant, and its sample from each round: a number, or a struct of several numbers.
pub struct Measured<V, S> {
    pub variant: V,
    pub samples: Vec<S>,
}

impl<V, S> Measured<V, S> {
    /// One number of each sample. The function `number` picks it, here and below.
    pub fn numbers(&self, number: impl Fn(&S) -> f64) -> Vec<f64> {
        self.samples.iter().map(number).collect()
    }

    /// The median of one number of each sample, with its interval.
    pub fn figure(&self, unit: Unit, number: impl Fn(&S) -> f64) -> Figure {
        Figure::new(Interval::of(&self.numbers(number)), unit)
    }

    /// The same, or `None` if a sample does not have this number, as on some systems.
    pub fn figure_if_any(&self, unit: Unit, number: impl Fn(&S) -> Option<f64>) -> Option<Figure> {
        let numbers: Option<Vec<f64>> = self.samples.iter().map(number).collect();
        let numbers = numbers.filter(|numbers| !numbers.is_empty())?;
        Some(Figure::new(Interval::of(&numbers), unit))
    }

    /// This variant's number divided by that of `other`, round by round: see
    /// [`Interval::of_ratio`].
    pub fn ratio_to<W>(&self, other: &Measured<W, S>, number: impl Fn(&S) -> f64) -> Figure {
        Figure::ratio(&self.numbers(&number), &other.numbers(&number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lab(mode: Mode) -> Lab {
        Lab::new(mode, Some(1), Machine::look_at())
    }

    /// Measures three variants, which takes no time. Returns the order of each round.
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
    fn the_variants_of_a_group_are_measured_one_directly_after_the_other() {
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
        // Each group comes first in some round, and two groups occur in both orders.
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
        assert_eq!(rounds(Mode::Full, Duration::ZERO).len(), FEWEST_SAMPLES);
    }

    #[test]
    fn there_is_another_round_if_one_more_of_the_same_length_fits() {
        let [spent, budget] = [6, 7].map(Duration::from_secs);
        assert!(fits_another(6, spent, budget));
        assert!(!fits_another(5, spent, budget));
        assert!(!fits_another(7, budget, budget));
    }

    #[test]
    fn an_experiment_gets_its_share_of_the_time_that_the_readme_tells() {
        for (mode, seconds) in [
            (Mode::Quick, 1..10),
            (Mode::Default, 20..60),
            (Mode::Full, 120..600),
        ] {
            let mut lab = lab(mode);
            lab.begin("it", 25);
            assert_eq!(lab.budget * 4, mode.budget());
            assert!(seconds.contains(&mode.budget().as_secs()), "{mode:?}");
        }
    }

    #[test]
    fn there_is_a_worker_for_each_core_unless_the_user_wants_another_number() {
        let machine = Machine {
            cores: 5,
            ..Machine::look_at()
        };
        let workers = |number| Lab::new(Mode::Quick, number, machine.clone()).workers;
        assert_eq!((workers(None), workers(Some(3))), (5, 3));
    }

    #[test]
    fn a_figure_is_made_of_one_number_of_each_sample() {
        let of = |samples: &[(f64, f64)]| Measured {
            variant: (),
            samples: samples.to_vec(),
        };
        let (one, other) = (of(&[(1.0, 6.0), (2.0, 8.0)]), of(&[(5.0, 2.0), (5.0, 2.0)]));
        assert_eq!(one.numbers(|it| it.0), [1.0, 2.0]);
        let figure = one.figure(Unit::Bytes, |it| it.1);
        assert_eq!((figure.interval.median, figure.unit), (7.0, Unit::Bytes));
        let ratio = one.ratio_to(&other, |it| it.1);
        assert_eq!((ratio.interval.median, ratio.unit), (3.5, Unit::Ratio));
    }

    #[test]
    fn there_is_no_figure_if_a_sample_lacks_its_number() {
        let figure = |samples: &[Option<f64>]| {
            let measured = Measured {
                variant: (),
                samples: samples.to_vec(),
            };
            let figure = measured.figure_if_any(Unit::Seconds, |&sample| sample)?;
            Some((figure.interval.median, figure.unit))
        };
        assert_eq!(figure(&[Some(3.0), Some(5.0)]), Some((4.0, Unit::Seconds)));
        assert_eq!(figure(&[Some(3.0), None]), None);
        assert_eq!(figure(&[]), None);
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
