//! What the verdict rests on.

use anyhow::Context;

use super::way::Way;
use crate::{
    lab::{
        pin::Place,
        verdict::{self, Judgement, Verdict},
    },
    report::figure::Figure,
};

/// "Expensive": at least so many times as much as a thread.
const EXPENSIVE: f64 = 3.0;

/// "It will do": at most so many times as much as a spawned process.
const CHEAP: f64 = 1.0;

/// What was created in one place.
pub struct Compared {
    place: Place,
    /// How many times as much as a thread a spawned process costs.
    spawn: Figure,
    /// How many times as much as a spawned process a forked one costs, where there is fork.
    fork: Option<Figure>,
}

impl Compared {
    /// `samples` has those of each way, and a thread's come first.
    pub fn of(place: Place, ways: &[Way], samples: &[Vec<f64>]) -> anyhow::Result<Self> {
        let of = |wanted| {
            ways.iter()
                .position(|&way| way == wanted)
                .map(|at| &samples[at])
        };
        let spawn = of(Way::SpawnTrue)
            .or(of(Way::SpawnSelf))
            .context("one of them was measured")?;
        Ok(Self {
            place,
            spawn: Figure::times(spawn, &samples[0]),
            fork: of(Way::Fork).map(|fork| Figure::times(fork, spawn)),
        })
    }

    fn verdict(&self) -> Verdict {
        let expensive = verdict::at_least(self.spawn.interval, EXPENSIVE);
        let cheap = |fork: Figure| verdict::at_most(fork.interval, CHEAP);
        verdict::all([expensive].into_iter().chain(self.fork.map(cheap)))
    }
}

pub fn headline(compared: &[Compared]) -> String {
    format!("spawn / thread: {}", listed(compared, |it| Some(it.spawn)))
}

pub fn judge(compared: &[Compared]) -> Judgement {
    let spawn = listed(compared, |it| Some(it.spawn));
    let fork = match listed(compared, |it| it.fork).as_str() {
        "" => "there is no fork here".to_owned(),
        fork => format!("a forked one, compared with a spawned one, {fork}"),
    };
    Judgement::new(
        verdict::all(compared.iter().map(Compared::verdict)),
        format!("a spawned process costs, compared with a thread, {spawn}; {fork}"),
    )
}

fn listed(compared: &[Compared], figure: fn(&Compared) -> Option<Figure>) -> String {
    let figures = compared
        .iter()
        .filter_map(|it| Some(format!("{} on {}", figure(it)?, it.place.name())));
    figures.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spawn_must_be_dear_and_a_fork_cheap_wherever_they_are() {
        let verdict = |[spawn, fork]: [f64; 2], [spawn_2, fork_2]: [f64; 2]| {
            let of = |place, spawn, fork| {
                let samples = [1.0, fork, spawn].map(|time| vec![time; 9]);
                let ways = [Way::Thread, Way::Fork, Way::SpawnTrue];
                Compared::of(place, &ways, &samples).expect("there is a spawn")
            };
            let compared = [
                of(Place::One(0), spawn, fork),
                of(Place::Free, spawn_2, fork_2),
            ];
            judge(&compared).verdict
        };
        assert_eq!(verdict([30.0, 6.0], [20.0, 4.0]), Verdict::Holds);
        assert_eq!(verdict([30.0, 6.0], [20.0, 21.0]), Verdict::Depends);
        assert_eq!(verdict([2.0, 6.0], [2.0, 4.0]), Verdict::Fails);
    }

    #[test]
    fn where_there_is_no_fork_the_spawn_alone_decides() {
        let samples = [1.0, 9.0].map(|time| vec![time; 9]);
        let ways = [Way::Thread, Way::SpawnSelf];
        let compared = Compared::of(Place::Free, &ways, &samples).expect("there is a spawn");
        let judgement = judge(&[compared]);
        assert_eq!(judgement.verdict, Verdict::Holds);
        assert!(judgement.reason.ends_with("; there is no fork here"));
    }
}
