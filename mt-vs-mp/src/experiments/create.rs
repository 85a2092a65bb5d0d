//! What a thread costs, and what a process costs: the time from the call that starts it until it
//! has been joined. (To join a process is to wait for its end, as in Python.) The head of `lab.rs`
//! draws the path of one of these times through the files.
//!
//! The threads and processes do nothing, so only their start and their end are timed. The process
//! that starts them is as small as a process of this program can be. (See `memory` for large ones.)
//!
//! The system may put a new thread or process on the processor of its creator, or on another one,
//! which may be asleep: to wake it can double the time. So each way is measured in two places:
//! pinned to one processor, where the system has no choice, and unpinned, as ordinary programs run.

use serde::{Deserialize, Serialize};

use super::Experiment;
use crate::{
    finding::{Finding, figure::Unit, interval::median, table::Table, verdict},
    lab::{
        Lab, Measured,
        creation::{FORK, NOTHING, SPAWN_SELF, SPAWN_TRUE, STD_THREAD, THREAD, Way},
        place::{self, Place},
        role::Role,
        trial,
    },
};

pub const EXPERIMENT: Experiment = Experiment {
    name: "create",
    claim: "Creating a process is expensive, but with fork it will do.",
    share: 7,
    run,
    roles: &[&CREATE, &NOTHING],
    published: &[
        (
            "thread 5.5 µs, fork 22 µs",
            "Eli Bendersky, 2018: launch of each, C, Linux on a desktop",
        ),
        (
            "pthread_create 18 µs, fork 162 µs",
            "LLNL, \"POSIX Threads Programming\": 50,000 of each, Xeon E5-2670",
        ),
        (
            "thread 12.5 µs, process with exec 538 µs",
            "matklad/benchmarks, 2022: 10,000 of each, Rust",
        ),
    ],
};

/// "Expensive": a spawned process costs at least this many times as much as a thread.
const EXPENSIVE: f64 = 3.0;

/// "It will do": a forked process costs at most this many times as much as a spawned one.
const WILL_DO: f64 = 1.0;

/// What is created. The verdict compares the thread, the fork and the spawn of `true`. The other
/// two are only shown.
const WAYS: &[Way] = &[THREAD, STD_THREAD, FORK, SPAWN_TRUE, SPAWN_SELF];

/// What one trial measures.
#[derive(Serialize, Deserialize)]
struct Variant {
    place: Place,
    /// The row of [`WAYS`]: a variant travels as JSON, and the function of a way cannot.
    way: usize,
}

/// The median time of one creation, in seconds.
static CREATE: Role<Variant, f64> = Role {
    name: "create",
    play: |variant| {
        let way = &WAYS[variant.way];
        // What this process starts is pinned too: it inherits that.
        variant.place.pin_first()?;
        // The first ones find cold caches, and do not count.
        for _ in 0..way.calls / 10 {
            (way.time)()?;
        }
        let mut times = Vec::new();
        for _ in 0..way.calls {
            times.push((way.time)()?.as_secs_f64());
        }
        Ok(median(times))
    },
};

/// A variant, and its time in each round.
type Times = Measured<Variant, f64>;

fn run(lab: &Lab) -> anyhow::Result<Finding> {
    let mut left_out = Vec::new();
    let mut ways = Vec::new();
    for (number, way) in WAYS.iter().enumerate() {
        match (way.missing)() {
            None => ways.push(number),
            Some(why) => left_out.push(format!("{}: {why}", way.name)),
        }
    }
    let places = place::for_one(&mut left_out);
    let mut variants = Vec::new();
    for &place in &places {
        variants.extend(ways.iter().map(|&way| Variant { place, way }));
    }
    let times = lab.alternate(lab.budget, variants, |variant| trial::run(&CREATE, variant))?;

    let table = Table::of(
        "One after the other, each doing nothing:",
        &times,
        &[
            ("all on", &|it| it.variant.place.to_string().into()),
            ("what", &|it| WAYS[it.variant.way].name.into()),
            ("from start to join", &|it| {
                it.figure(Unit::Seconds, |&time| time).into()
            }),
            ("times a thread", &|it| {
                let thread = find(&times, it.variant.place, &THREAD);
                thread
                    .map(|thread| it.ratio_to(thread, |&time| time))
                    .into()
            }),
        ],
    );
    let mut finding = judge(&places, &times);
    finding.tables.push(table.with_dots(2));
    finding.left_out = left_out;
    Ok(finding)
}

/// The times of one way in one place. `None` if this system does not have that way.
fn find<'a>(times: &'a [Times], place: Place, way: &Way) -> Option<&'a Times> {
    times
        .iter()
        .find(|it| it.variant.place == place && WAYS[it.variant.way].name == way.name)
}

/// In each place, a spawn must cost much more than a thread, and a fork no more than a spawn. If
/// the places disagree, it depends.
fn judge(places: &[Place], times: &[Times]) -> Finding {
    let mut verdicts = Vec::new();
    let mut spawns = Vec::new();
    let mut forks = Vec::new();
    for &place in places {
        let thread = find(times, place, &THREAD).expect("every system has threads");
        let spawn = find(times, place, &SPAWN_TRUE)
            // Not every system has a program `true`.
            .or_else(|| find(times, place, &SPAWN_SELF))
            .expect("every system can spawn this program");
        let spawn_to_thread = spawn.ratio_to(thread, |&time| time);
        spawns.push(format!("{spawn_to_thread} on {place}"));
        let mut both = vec![verdict::at_least(spawn_to_thread.interval, EXPENSIVE)];
        if let Some(fork) = find(times, place, &FORK) {
            let fork_to_spawn = fork.ratio_to(spawn, |&time| time);
            forks.push(format!("{fork_to_spawn} on {place}"));
            both.push(verdict::at_most(fork_to_spawn.interval, WILL_DO));
        }
        verdicts.push(verdict::every(both));
    }
    let spawns = spawns.join(", ");
    let forks = match forks.is_empty() {
        true => "there is no fork here".to_owned(),
        false => format!(
            "compared with a spawn, a fork costs {} (at most {WILL_DO} × will do)",
            forks.join(", ")
        ),
    };
    Finding::new(
        verdict::by_case(verdicts),
        format!(
            "compared with a thread, a spawned process costs {spawns} (at least \
             {EXPENSIVE} × is expensive); {forks}"
        ),
        format!("spawn / thread: {spawns}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::verdict::Verdict;

    /// The same time of one way in nine rounds.
    fn measured(place: Place, way: &Way, time: f64) -> Times {
        let way = WAYS.iter().position(|it| it.name == way.name);
        let way = way.expect("it is one of them");
        Times {
            variant: Variant { place, way },
            samples: vec![time; 9],
        }
    }

    /// A thread takes one second. For each place: the times of a fork and of a spawn, in seconds.
    fn judged(places: &[(Place, f64, f64)]) -> Verdict {
        let mut times = Vec::new();
        for &(place, fork, spawn) in places {
            times.push(measured(place, &THREAD, 1.0));
            times.push(measured(place, &FORK, fork));
            times.push(measured(place, &SPAWN_TRUE, spawn));
        }
        let places: Vec<Place> = places.iter().map(|&(place, _, _)| place).collect();
        judge(&places, &times).verdict
    }

    #[test]
    fn a_spawn_must_be_expensive_and_a_fork_must_cost_no_more_than_a_spawn() {
        assert_eq!(judged(&[(Place::Free, 6.0, 30.0)]), Verdict::Holds);
        assert_eq!(judged(&[(Place::Free, 31.0, 30.0)]), Verdict::Fails);
        assert_eq!(judged(&[(Place::Free, 1.0, 2.0)]), Verdict::Fails);
    }

    #[test]
    fn places_that_disagree_make_it_depend() {
        let places = [(Place::One(0), 6.0, 30.0), (Place::Free, 21.0, 20.0)];
        assert_eq!(judged(&places), Verdict::Depends);
    }

    #[test]
    fn where_there_is_no_fork_the_spawn_alone_decides() {
        let times = [
            measured(Place::Free, &THREAD, 1.0),
            measured(Place::Free, &SPAWN_SELF, 9.0),
        ];
        let finding = judge(&[Place::Free], &times);
        assert_eq!(finding.verdict, Verdict::Holds);
        assert!(finding.reason.ends_with("; there is no fork here"));
    }
}
