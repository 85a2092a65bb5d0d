//! What a thread costs, and what a process: from the call that starts it until it has been joined.
//!
//! Each of them does nothing, so that only its start and its end are timed. The process that starts
//! them is as small as a process of this program can be; what a large one pays for its forks is the
//! experiment `memory`.
//!
//! The system may put what is new on the processor of whoever started it, or on another one, which
//! may be asleep and has to be woken. That can double the figure, and is decided anew each time. So
//! all of it is done twice: pinned to one processor, where there is nothing to decide, and unpinned.

use super::Experiment;
use crate::{
    finding::{
        Finding,
        figure::{Figure, Unit},
        interval::median,
        table::Table,
        verdict,
    },
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

/// "Expensive": at least so many times as much as a thread.
const EXPENSIVE: f64 = 3.0;

/// "It will do": at most so many times as much as the other way to a process, a spawn.
const WILL_DO: f64 = 1.0;

/// A thread is what the others are compared with.
const WAYS: &[Way] = &[THREAD, STD_THREAD, FORK, SPAWN_TRUE, SPAWN_SELF];

/// The median time of one creation, in seconds.
static CREATE: Role<(Place, usize), f64> = Role {
    name: "create",
    play: |(place, way)| {
        let way = &WAYS[way];
        // What it starts inherits the processor.
        place.pin_first()?;
        for _ in 0..way.calls / 10 {
            (way.time)()?;
        }
        let times = (0..way.calls).map(|_| Ok((way.time)()?.as_secs_f64()));
        Ok(median(times.collect::<anyhow::Result<Vec<_>>>()?))
    },
};

/// A way in a place, and its times.
type Times = Measured<(Place, usize), f64>;

fn run(lab: &Lab) -> anyhow::Result<Finding> {
    let mut left_out = Vec::new();
    let ways: Vec<usize> = (0..WAYS.len())
        .filter(|&way| match (WAYS[way].missing)() {
            Some(why) => {
                left_out.push(format!("{}: {why}", WAYS[way].name));
                false
            }
            None => true,
        })
        .collect();
    let mut places = place::places(&mut left_out);
    places.retain(|place| matches!(place, Place::One(_) | Place::Free));
    let variants = places
        .iter()
        .flat_map(|&place| ways.iter().map(move |&way| (place, way)));
    let times = lab.alternate(lab.budget, variants, |variant| trial::run(&CREATE, variant))?;

    let finding = judge(&places, &times);
    let table = Table::of(
        "One after the other, each doing nothing:",
        &times,
        &[
            ("all on", &|it| it.variant.0.to_string().into()),
            ("what", &|it| WAYS[it.variant.1].name.into()),
            ("from its start to its joined end", &|it| {
                it.figure(Unit::Seconds, |&time| time).into()
            }),
            ("times a thread", &|it| {
                find(&times, it.variant.0, &THREAD)
                    .map(|thread| it.ratio_to(thread, |&time| time))
                    .into()
            }),
        ],
    );
    Ok(Finding {
        tables: vec![table.with_dots(2)],
        left_out,
        ..finding
    })
}

fn find<'a>(times: &'a [Times], place: Place, way: &Way) -> Option<&'a Times> {
    times
        .iter()
        .find(|it| it.variant.0 == place && WAYS[it.variant.1].name == way.name)
}

/// In each place a spawn must cost much more than a thread, and a fork no more than a spawn.
fn judge(places: &[Place], times: &[Times]) -> Finding {
    let mut verdicts = Vec::new();
    let (mut spawns, mut forks) = (Vec::new(), Vec::new());
    for &place in places {
        let find = |way| find(times, place, way);
        let spawn = find(&SPAWN_TRUE).or(find(&SPAWN_SELF));
        let (Some(thread), Some(spawn)) = (find(&THREAD), spawn) else {
            continue;
        };
        let dear = spawn.ratio_to(thread, |&time| time);
        let cheap = find(&FORK).map(|fork| fork.ratio_to(spawn, |&time| time));
        let of = |figure: Figure| format!("{figure} on {place}");
        spawns.push(of(dear));
        forks.extend(cheap.map(of));
        let verdict = |cheap: Figure| verdict::at_most(cheap.interval, WILL_DO);
        verdicts.push(verdict::every(
            [verdict::at_least(dear.interval, EXPENSIVE)]
                .into_iter()
                .chain(cheap.map(verdict)),
        ));
    }
    let spawns = spawns.join(", ");
    let forks = match forks.is_empty() {
        true => "there is no fork here".to_owned(),
        false => format!(
            "it will do if it costs no more than a spawn: a fork costs, compared with that, {}",
            forks.join(", ")
        ),
    };
    Finding::new(
        verdict::by_case(verdicts),
        format!("a spawned process costs, compared with a thread, {spawns}; {forks}"),
        format!("spawn / thread: {spawns}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::verdict::Verdict;

    /// Each place has a thread of one second, and a fork and a spawn of so many.
    fn judged(places: &[(Place, f64, f64)]) -> Finding {
        let mut times = Vec::new();
        for &(place, fork, spawn) in places {
            for (way, time) in [(0, 1.0), (2, fork), (3, spawn)] {
                let samples = vec![time; 9];
                let variant = (place, way);
                times.push(Measured { variant, samples });
            }
        }
        let places: Vec<Place> = places.iter().map(|it| it.0).collect();
        judge(&places, &times)
    }

    #[test]
    fn a_spawn_must_be_dear_and_a_fork_cheap() {
        let verdict = |fork, spawn| judged(&[(Place::Free, fork, spawn)]).verdict;
        assert_eq!(verdict(6.0, 30.0), Verdict::Holds);
        assert_eq!(verdict(31.0, 30.0), Verdict::Fails);
        assert_eq!(verdict(1.0, 2.0), Verdict::Fails);
    }

    #[test]
    fn places_that_disagree_make_it_depend() {
        let places = [(Place::One(0), 6.0, 30.0), (Place::Free, 21.0, 20.0)];
        assert_eq!(judged(&places).verdict, Verdict::Depends);
    }

    #[test]
    fn where_there_is_no_fork_the_spawn_alone_decides() {
        let samples = |way, time| Measured {
            variant: (Place::Free, way),
            samples: vec![time; 9],
        };
        let finding = judge(&[Place::Free], &[samples(0, 1.0), samples(4, 9.0)]);
        assert_eq!(finding.verdict, Verdict::Holds);
        assert!(finding.reason.ends_with("; there is no fork here"));
    }
}
