//! What it costs to hand over: one byte goes to and fro between two threads, or two processes.
//!
//! Whoever has the byte works, the other waits. So each round trip is two handovers, and in each of
//! them the system has to wake one and put the other to sleep. Both have the same kind of pipes;
//! beside that stands what threads would rather use. `perf bench sched pipe` does the same, and
//! calls a round trip an operation.
//!
//! A process that comes back may find that the other has taken its place in the caches. So the same
//! is done by partners that go through some memory of their own whenever they have the byte.

use std::{
    hint::black_box,
    io::{self, Read, Write},
    sync::mpsc,
    thread,
    time::Instant,
};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use super::Experiment;
use crate::{
    finding::{
        Finding,
        figure::{Figure, Unit, amount},
        table::Table,
        verdict,
    },
    lab::{
        Lab, Measured,
        place::{self, Place},
        role::Role,
        trial,
    },
};

pub const EXPERIMENT: Experiment = Experiment {
    name: "switch",
    claim: "To hand over to another process costs far more than to hand over to another thread.",
    share: 6,
    run,
    roles: &[&RALLY, &PARTNER],
    published: &[
        (
            "1.2 µs a switch between two threads on one core, 2.2 µs on any",
            "Eli Bendersky, 2018: C, Linux on a desktop",
        ),
        (
            "1.7 µs a switch between threads",
            "Jim Blandy, context-switch: Rust, a laptop of 4 cores",
        ),
        (
            "5.9 µs an operation of `perf bench sched pipe`",
            "the manual of perf-bench: a machine of 2009",
        ),
    ],
};

/// "Far more": at least so many times as much.
const FAR_MORE: f64 = 2.0;

/// What each partner goes through when it has the byte, in bytes: nothing, what fits into the
/// nearest cache, what does not.
const WORKING_SETS: [usize; 3] = [0, 64 << 10, 1 << 20];

/// Who hands over, and over what.
struct Pair {
    name: &'static str,
    /// Returns the time of a round trip, in seconds.
    rally: fn(Game) -> anyhow::Result<f64>,
}

const PAIRS: &[Pair] = &[THREADS, PROCESSES, BY_CHANNEL];

const THREADS: Pair = Pair {
    name: "threads, pipes",
    rally: by_threads,
};

const PROCESSES: Pair = Pair {
    name: "processes, pipes",
    rally: by_processes,
};

/// What threads would rather use: the standard library's channels.
const BY_CHANNEL: Pair = Pair {
    name: "threads, channels",
    rally: by_channel,
};

/// How the two play.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Game {
    place: Place,
    /// In bytes.
    working_set: usize,
    round_trips: u32,
}

/// The first of the two is the trial itself.
static RALLY: Role<(usize, Game), f64> = Role {
    name: "switch",
    play: |(pair, game)| (PAIRS[pair].rally)(game),
};

/// The second of two processes: the byte comes and goes by its stdin and stdout.
static PARTNER: Role<Game> = Role {
    name: "switch-partner",
    play: |game| {
        game.place.pin_second()?;
        // Without the buffers of `io::stdin` and `io::stdout`: the thread's pipes have none either.
        return_all(
            game,
            os_pipe::dup_stdin().context("cannot use stdin")?,
            os_pipe::dup_stdout().context("cannot use stdout")?,
        )
    },
};

fn by_threads(game: Game) -> anyhow::Result<f64> {
    let (theirs, mut to) = io::pipe().context("cannot make a pipe")?;
    let (mut from, back) = io::pipe().context("cannot make a pipe")?;
    let partner = thread::spawn(move || {
        game.place.pin_second()?;
        return_all(game, theirs, back)
    });
    game.place.pin_first()?;
    let seconds = serve(game, || serve_by_pipe(&mut to, &mut from));
    // The end of the pipe is what ends the partner.
    drop(to);
    partner.join().expect("it does not panic")?;
    seconds
}

fn by_processes(game: Game) -> anyhow::Result<f64> {
    let mut partner = PARTNER.start(&game)?;
    game.place.pin_first()?;
    let (to, from) = partner.pipes()?;
    let seconds = serve(game, || serve_by_pipe(to, from));
    partner.finish::<()>()?;
    seconds
}

fn by_channel(game: Game) -> anyhow::Result<f64> {
    let (to, theirs) = mpsc::channel();
    let (back, from) = mpsc::channel();
    let partner = thread::spawn(move || {
        game.place.pin_second()?;
        for byte in theirs {
            back.send(byte)?;
        }
        anyhow::Ok(())
    });
    game.place.pin_first()?;
    let seconds = serve(game, || {
        to.send(BYTE)?;
        ensure!(from.recv()? == BYTE, "another byte came back");
        Ok(())
    });
    drop(to);
    partner.join().expect("it does not panic")?;
    seconds
}

const BYTE: u8 = b'o';

/// The mean of each of ten stretches, and of these the least: what another program that had the
/// processor meanwhile added is not the handover's. Before them comes one that is not timed: the
/// partner has to begin.
fn serve(game: Game, mut one: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let each = game.round_trips / 10;
    let mut memory = vec![1; game.working_set];
    let mut stretch = || {
        let start = Instant::now();
        for _ in 0..each {
            go_through(&mut memory);
            one()?;
        }
        anyhow::Ok(start.elapsed().as_secs_f64() / f64::from(each))
    };
    stretch()?;
    (0..10).try_fold(f64::INFINITY, |least, _| Ok(least.min(stretch()?)))
}

fn serve_by_pipe(to: &mut impl Write, from: &mut impl Read) -> anyhow::Result<()> {
    let mut byte = [0];
    to.write_all(&[BYTE])
        .and_then(|()| from.read_exact(&mut byte))
        .context("the partner is gone")?;
    ensure!(byte == [BYTE], "another byte came back");
    Ok(())
}

/// Until no more can come.
fn return_all(game: Game, mut from: impl Read, mut to: impl Write) -> anyhow::Result<()> {
    let mut memory = vec![1; game.working_set];
    let mut byte = [0];
    while from.read(&mut byte)? == 1 {
        go_through(&mut memory);
        to.write_all(&byte)?;
    }
    Ok(())
}

/// Changes one byte of each line of the cache.
fn go_through(memory: &mut [u8]) {
    for byte in memory.iter_mut().step_by(64) {
        *byte = byte.wrapping_add(1);
    }
    black_box(memory);
}

/// A pair in a game, and the times of its round trips.
type Times = Measured<(usize, Game), f64>;

fn run(lab: &Lab) -> anyhow::Result<Finding> {
    let mut left_out = Vec::new();
    let mut games = Vec::new();
    for place in place::places(&mut left_out) {
        // Where the system chooses, its choice outweighs all else.
        let sets = if place == Place::Free {
            1
        } else {
            WORKING_SETS.len()
        };
        games.extend(WORKING_SETS[..sets].iter().map(|&working_set| Game {
            place,
            working_set,
            // To go through 1 MiB takes as long as several handovers.
            round_trips: lab.mode.pick(150, 500, 4000) / if working_set > 64 << 10 { 5 } else { 1 },
        }));
    }
    let variants = games.iter().flat_map(|&game| {
        // Channels are there to be compared with pipes, not with memory.
        let pairs = if game.working_set == 0 {
            PAIRS.len()
        } else {
            2
        };
        (0..pairs).map(move |pair| (pair, game))
    });
    let times = lab.alternate(lab.budget, variants, |it| trial::run(&RALLY, it))?;
    let round_trip = |&game: &Game, pair: &Pair| {
        let times = find(&times, game, pair);
        times
            .map(|times| times.figure(Unit::Seconds, |&time| time))
            .into()
    };
    let table = Table::of(
        "The round trip of one byte, while each partner goes through so much memory of its own:",
        &games,
        &[
            ("they are on", &|game| game.place.to_string().into()),
            ("memory", &|game| words(game.working_set).into()),
            (THREADS.name, &|game| round_trip(game, &THREADS)),
            (PROCESSES.name, &|game| round_trip(game, &PROCESSES)),
            ("processes / threads", &|&game| {
                compare(&times, game, &THREADS).into()
            }),
            (BY_CHANNEL.name, &|game| round_trip(game, &BY_CHANNEL)),
        ],
    );
    Ok(Finding {
        tables: vec![table],
        left_out,
        ..judge(&games, &times)
    })
}

fn words(working_set: usize) -> String {
    match working_set {
        0 => "none".to_owned(),
        bytes => amount(bytes as f64, Unit::Bytes),
    }
}

fn find<'a>(times: &'a [Times], game: Game, pair: &Pair) -> Option<&'a Times> {
    times
        .iter()
        .find(|it| it.variant.1 == game && PAIRS[it.variant.0].name == pair.name)
}

/// How many times as long as this pair processes over pipes take.
fn compare(times: &[Times], game: Game, pair: &Pair) -> Option<Figure> {
    let processes = find(times, game, &PROCESSES)?;
    Some(processes.ratio_to(find(times, game, pair)?, |&time| time))
}

/// What tells processes from threads is seen where all else is the same: over the same pipes, and
/// pinned. Where the system puts those that are not, it decides anew each time, and that matters
/// more.
fn judge(games: &[Game], times: &[Times]) -> Finding {
    let pinned = games.iter().any(|game| game.place != Place::Free);
    let games = games
        .iter()
        .filter(|game| !pinned || game.place != Place::Free);
    let by_pipe = games
        .clone()
        .filter_map(|&game| compare(times, game, &THREADS));
    let medians = by_pipe.clone().map(|times| times.interval.median);
    let [least, most] = [f64::min, f64::max].map(|of| {
        let bound = medians.clone().reduce(of);
        bound.map_or("-".to_owned(), |times| amount(times, Unit::Times))
    });
    let bare = |pair| {
        let bare = games.clone().filter(|game| game.working_set == 0);
        let words = bare.filter_map(|&game| {
            let times = compare(times, game, pair)?;
            Some(format!("{times} on {}", game.place))
        });
        words.collect::<Vec<_>>().join(", ")
    };
    Finding::new(
        verdict::by_case(by_pipe.map(|times| verdict::at_least(times.interval, FAR_MORE))),
        format!(
            "over the same pipes, processes take {least} to {most} as long as threads, without memory to \
             go through {}; compared with threads over channels {}",
            bare(&THREADS),
            bare(&BY_CHANNEL)
        ),
        format!("processes / threads: {}", bare(&THREADS)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::verdict::Verdict;

    #[test]
    fn a_round_trip_is_over_when_the_same_byte_has_come_back() {
        let mut sent = Vec::new();
        assert!(serve_by_pipe(&mut sent, &mut &[BYTE][..]).is_ok());
        assert_eq!(sent, [BYTE]);
        assert!(serve_by_pipe(&mut sent, &mut &b"x"[..]).is_err());
        assert!(serve_by_pipe(&mut sent, &mut io::empty()).is_err());
    }

    /// Threads take one second, channels a fiftieth of what processes take.
    fn judged<const N: usize>(processes: [(Place, usize, f64); N]) -> Verdict {
        let (mut games, mut times) = (Vec::new(), Vec::new());
        for (place, working_set, seconds) in processes {
            for (pair, time) in [1.0, seconds, seconds / 50.0].into_iter().enumerate() {
                let game = Game {
                    place,
                    working_set,
                    round_trips: 10,
                };
                games.push(game);
                let variant = (pair, game);
                let samples = vec![time; 9];
                times.push(Measured { variant, samples });
            }
        }
        judge(&games, &times).verdict
    }

    #[test]
    fn the_same_pipes_decide_whatever_channels_can_do() {
        let [one, far] = [Place::One(0), Place::Far(0, 1)];
        assert_eq!(judged([(one, 0, 1.1), (far, 0, 1.0)]), Verdict::Fails);
        assert_eq!(judged([(one, 0, 3.0), (far, 0, 2.5)]), Verdict::Holds);
        assert_eq!(
            judged([(one, 0, 1.1), (one, 1 << 20, 3.0)]),
            Verdict::Depends
        );
    }

    #[test]
    fn those_on_any_processor_decide_only_where_none_is_pinned() {
        let one = Place::One(0);
        assert_eq!(
            judged([(one, 0, 1.1), (Place::Free, 0, 9.0)]),
            Verdict::Fails
        );
        assert_eq!(judged([(Place::Free, 0, 9.0)]), Verdict::Holds);
    }
}
