//! What it costs to hand over: one byte goes to and fro between two threads, or two processes.
//!
//! Whoever has the byte works, the other waits. So each round trip is two handovers, and in each of
//! them the system has to wake one and put the other to sleep. Both have the same kind of pipes;
//! beside that stands what threads would rather use. `perf bench sched pipe` does the same, and
//! calls a round trip an operation.

use serde::{Deserialize, Serialize};

use super::Experiment;
use crate::{
    lab::{
        Lab, Mode,
        pin::{self, Place},
        verdict::{self, Judgement},
    },
    report::{Finding, Table, figure::Figure},
};

mod rally;

use rally::{PARTNER, RALLY};

pub const EXPERIMENT: Experiment = Experiment {
    name: "switch",
    claim: "To hand over to another process costs far more than to hand over to another thread.",
    share: 7,
    run,
    roles: &[&RALLY, &PARTNER],
};

/// "Far more": at least so many times as much.
const FAR_MORE: f64 = 2.0;

/// Who hands over, and over what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Pair {
    Threads,
    Processes,
    /// Threads over what they would rather use: the standard library's channels.
    ByChannel,
}

impl Pair {
    const ALL: [Self; 3] = [Self::Threads, Self::Processes, Self::ByChannel];

    fn name(self) -> &'static str {
        match self {
            Self::Threads => "threads, pipes",
            Self::Processes => "processes, pipes",
            Self::ByChannel => "threads, channels",
        }
    }
}

fn run(lab: &Lab) -> anyhow::Result<(Finding, Judgement)> {
    let mut finding = Finding::default();
    let places = pin::places(&mut finding.left_out);
    let variants: Vec<(Place, Pair)> = places
        .iter()
        .flat_map(|&place| Pair::ALL.map(|pair| (place, pair)))
        .collect();
    let round_trips = match lab.mode {
        Mode::Quick => 150,
        Mode::Default => 500,
        Mode::Full => 4000,
    };
    let samples = lab.alternate(lab.budget, &variants, |&(place, pair)| {
        RALLY.run(&(place, pair, round_trips))
    })?;

    let mut table = Table::new(
        "One byte goes to and fro:",
        ["they are on", "they are", "round trip", "times threads"],
    );
    let mut compared = Vec::new();
    for (&place, of_place) in places.iter().zip(samples.chunks(Pair::ALL.len())) {
        let [threads, processes, by_channel] = of_place else {
            unreachable!("there is a chunk of them for each place");
        };
        for (pair, round_trip) in Pair::ALL.iter().zip(of_place) {
            table.rows.push(vec![
                place.name().into(),
                pair.name().into(),
                Figure::seconds(round_trip).into(),
                Figure::times(round_trip, threads).into(),
            ]);
        }
        compared.push(Compared {
            place,
            by_pipe: Figure::times(processes, threads),
            by_channel: Figure::times(processes, by_channel),
        });
    }
    finding.tables.push(table);
    finding.headline = listed(&compared, |it| it.by_pipe);
    finding.headline.insert_str(0, "processes / threads: ");
    Ok((finding, judge(&compared)))
}

/// How many times as much as by threads a round trip by processes takes.
struct Compared {
    place: Place,
    /// When both use pipes.
    by_pipe: Figure,
    /// When the threads use channels.
    by_channel: Figure,
}

/// What tells processes from threads is seen where all else is the same: over the same pipes, and
/// pinned. Where the system puts those that are not, it decides anew each time, and that matters
/// more.
fn judge(compared: &[Compared]) -> Judgement {
    let pinned = compared.iter().any(|it| it.place != Place::Free);
    let verdicts = compared
        .iter()
        .filter(|it| !pinned || it.place != Place::Free)
        .map(|it| verdict::at_least(it.by_pipe.interval, FAR_MORE));
    Judgement::new(
        verdict::all(verdicts),
        format!(
            "over the same pipes, processes take {} as long as threads; compared with threads over channels {}",
            listed(compared, |it| it.by_pipe),
            listed(compared, |it| it.by_channel)
        ),
    )
}

fn listed(compared: &[Compared], figure: fn(&Compared) -> Figure) -> String {
    let figures = compared
        .iter()
        .map(|it| format!("{} on {}", figure(it), it.place.name()));
    figures.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::verdict::Verdict;

    fn verdict<const N: usize>(by_pipe: [(Place, f64); N]) -> Verdict {
        let compared = by_pipe.map(|(place, times)| Compared {
            place,
            by_pipe: Figure::times(&[times; 9], &[1.0; 9]),
            by_channel: Figure::times(&[50.0; 9], &[1.0; 9]),
        });
        judge(&compared).verdict
    }

    #[test]
    fn the_same_pipes_decide_whatever_channels_can_do() {
        let [one, two] = [Place::One(0), Place::Two(0, 1)];
        assert_eq!(verdict([(one, 1.1), (two, 1.0)]), Verdict::Fails);
        assert_eq!(verdict([(one, 3.0), (two, 2.5)]), Verdict::Holds);
        assert_eq!(verdict([(one, 3.0), (two, 1.1)]), Verdict::Depends);
    }

    #[test]
    fn those_on_any_core_decide_only_where_none_is_pinned() {
        let one = Place::One(0);
        assert_eq!(verdict([(one, 1.1), (Place::Free, 9.0)]), Verdict::Fails);
        assert_eq!(verdict([(Place::Free, 9.0)]), Verdict::Holds);
    }
}
