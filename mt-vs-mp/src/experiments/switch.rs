//! What it costs to hand over to another thread or process: one byte goes to and fro between two
//! partners.
//!
//! The partner that has the byte works, and the other one waits. So each round trip is two
//! handovers, and in each of them the system wakes one partner and puts the other to sleep. Threads
//! and processes use the same kind of pipes. Beside them stand two threads with channels, which
//! threads would rather use. (`perf bench sched pipe` does the same, and calls a round trip an
//! operation.)
//!
//! When a process gets the byte back, the data of the other process may have taken the place of its
//! own data in the caches. So both partners also go through memory of their own whenever they have
//! the byte.

use std::{
    hint::black_box,
    io::{self, Read, Write},
    sync::mpsc,
    thread::{self, JoinHandle},
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
    roles: &[&ROUND_TRIP, &PARTNER],
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

/// "Far more": processes take at least this many times as long as threads.
const FAR_MORE: f64 = 2.0;

/// How much memory each partner goes through when it has the byte, in bytes: none, an amount that
/// fits into the caches of one core, and one that fills most of them.
const WORKING_SETS: [usize; 3] = [0, 64 << 10, 1 << 20];

/// What the two partners are, and how the byte goes.
struct Pair {
    name: &'static str,
    /// Returns the time of a round trip, in seconds.
    round_trip: fn(Setting) -> anyhow::Result<f64>,
}

const PAIRS: &[Pair] = &[THREADS, PROCESSES, BY_CHANNEL];

const THREADS: Pair = Pair {
    name: "threads, pipes",
    round_trip: by_threads,
};

const PROCESSES: Pair = Pair {
    name: "processes, pipes",
    round_trip: by_processes,
};

/// The channels are those of the standard library.
const BY_CHANNEL: Pair = Pair {
    name: "threads, channels",
    round_trip: by_channel,
};

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Setting {
    place: Place,
    /// In bytes.
    working_set: usize,
    round_trips: u32,
}

/// What one trial measures.
#[derive(Serialize, Deserialize)]
struct Variant {
    /// The row of [`PAIRS`].
    pair: usize,
    setting: Setting,
}

/// The trial itself is the first partner.
static ROUND_TRIP: Role<Variant, f64> = Role {
    name: "switch",
    play: |Variant { pair, setting }| (PAIRS[pair].round_trip)(setting),
};

/// The second of two processes. It receives the byte on its stdin, and sends it on its stdout.
static PARTNER: Role<Setting> = Role {
    name: "switch-partner",
    play: |setting| {
        setting.place.pin_second()?;
        // `io::stdin` and `io::stdout` have buffers, and the thread's pipes have none.
        send_back(
            setting,
            os_pipe::dup_stdin().context("cannot use stdin")?,
            os_pipe::dup_stdout().context("cannot use stdout")?,
        )
    },
};

fn by_threads(setting: Setting) -> anyhow::Result<f64> {
    let (from_us, mut to_partner) = io::pipe().context("cannot make a pipe")?;
    let (mut from_partner, to_us) = io::pipe().context("cannot make a pipe")?;
    let partner = start_thread(move || {
        setting.place.pin_second()?;
        send_back(setting, from_us, to_us)
    })?;
    setting.place.pin_first()?;
    let seconds = time(setting, || {
        round_trip_by_pipe(&mut to_partner, &mut from_partner)
    });
    // The partner ends at the end of file.
    drop(to_partner);
    partner.join().expect("it does not panic")?;
    seconds
}

fn by_processes(setting: Setting) -> anyhow::Result<f64> {
    let mut partner = PARTNER.start(&setting)?;
    setting.place.pin_first()?;
    let (to_partner, from_partner) = partner.pipes()?;
    let seconds = time(setting, || round_trip_by_pipe(to_partner, from_partner));
    partner.finish::<()>()?;
    seconds
}

fn by_channel(setting: Setting) -> anyhow::Result<f64> {
    let (to_partner, from_us) = mpsc::channel();
    let (to_us, from_partner) = mpsc::channel();
    let partner = start_thread(move || {
        setting.place.pin_second()?;
        for byte in from_us {
            to_us.send(byte)?;
        }
        anyhow::Ok(())
    })?;
    setting.place.pin_first()?;
    let seconds = time(setting, || {
        to_partner.send(BYTE)?;
        ensure!(from_partner.recv()? == BYTE, "another byte came back");
        Ok(())
    });
    drop(to_partner);
    partner.join().expect("it does not panic")?;
    seconds
}

fn start_thread(
    work: impl FnOnce() -> anyhow::Result<()> + Send + 'static,
) -> anyhow::Result<JoinHandle<anyhow::Result<()>>> {
    let thread = thread::Builder::new().spawn(work);
    thread.context("cannot start a thread")
}

const BYTE: u8 = b'o';

/// Times ten stretches of round trips, and returns the least of their means: where the mean is
/// larger, another program may have had the processor.
fn time(
    setting: Setting,
    mut round_trip: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<f64> {
    const STRETCHES: u32 = 10;
    let each = setting.round_trips / STRETCHES;
    let mut memory = vec![1; setting.working_set];
    let mut least = f64::INFINITY;
    for stretch in 0..=STRETCHES {
        let start = Instant::now();
        for _ in 0..each {
            go_through(&mut memory);
            round_trip()?;
        }
        let mean = start.elapsed().as_secs_f64() / f64::from(each);
        // Stretch 0 does not count: the partner has to start.
        if stretch > 0 {
            least = least.min(mean);
        }
    }
    Ok(least)
}

fn round_trip_by_pipe(to: &mut impl Write, from: &mut impl Read) -> anyhow::Result<()> {
    let mut byte = [0];
    to.write_all(&[BYTE])
        .and_then(|()| from.read_exact(&mut byte))
        .context("the partner is gone")?;
    ensure!(byte == [BYTE], "another byte came back");
    Ok(())
}

/// Sends each byte back, until the end of file.
fn send_back(setting: Setting, mut from: impl Read, mut to: impl Write) -> anyhow::Result<()> {
    let mut memory = vec![1; setting.working_set];
    let mut byte = [0];
    while from.read(&mut byte)? == 1 {
        go_through(&mut memory);
        to.write_all(&byte)?;
    }
    Ok(())
}

/// Changes one byte of each cache line, which has 64 bytes on most machines.
fn go_through(memory: &mut [u8]) {
    for byte in memory.iter_mut().step_by(64) {
        *byte = byte.wrapping_add(1);
    }
    black_box(memory);
}

/// A variant, and its time in each round.
type Times = Measured<Variant, f64>;

fn run(lab: &Lab) -> anyhow::Result<Finding> {
    let mut left_out = Vec::new();
    let mut settings = Vec::new();
    let mut variants = Vec::new();
    // One processor for both; two that share a cache, and two that share none, if there are such;
    // and `Place::Free`, not pinned. (If nothing can be pinned, that alone.)
    for place in place::for_two(&mut left_out) {
        for working_set in WORKING_SETS {
            // Unpinned, the system's choice of a processor matters more than the memory.
            if place == Place::Free && working_set > 0 {
                continue;
            }
            // To go through 1 MiB takes as long as several handovers.
            let divisor = if working_set == 1 << 20 { 5 } else { 1 };
            let setting = Setting {
                place,
                working_set,
                round_trips: lab.mode.pick(150, 500, 4000) / divisor,
            };
            settings.push(setting);
            for (pair, Pair { name, .. }) in PAIRS.iter().enumerate() {
                // Channels are compared with pipes only where no memory is gone through.
                if working_set == 0 || *name != BY_CHANNEL.name {
                    variants.push(Variant { pair, setting });
                }
            }
        }
    }
    let times = lab.alternate(lab.budget, variants, |it| trial::run(&ROUND_TRIP, it))?;
    let round_trip = |&setting: &Setting, pair: &Pair| {
        let times = find(&times, setting, pair);
        times
            .map(|it| it.figure(Unit::Seconds, |&time| time))
            .into()
    };
    let table = Table::of(
        "The round trip of one byte, while each partner goes through some memory of its own:",
        &settings,
        &[
            ("they are on", &|it| it.place.to_string().into()),
            ("memory", &|it| match it.working_set {
                0 => "none".into(),
                bytes => amount(bytes as f64, Unit::Bytes).into(),
            }),
            (THREADS.name, &|it| round_trip(it, &THREADS)),
            (PROCESSES.name, &|it| round_trip(it, &PROCESSES)),
            ("processes / threads", &|&it| {
                compare(&times, it, &THREADS).into()
            }),
            (BY_CHANNEL.name, &|it| round_trip(it, &BY_CHANNEL)),
        ],
    );
    let mut finding = judge(&settings, &times);
    finding.tables.push(table);
    finding.left_out = left_out;
    Ok(finding)
}

fn find<'a>(times: &'a [Times], setting: Setting, pair: &Pair) -> Option<&'a Times> {
    times
        .iter()
        .find(|it| it.variant.setting == setting && PAIRS[it.variant.pair].name == pair.name)
}

/// The time of processes over pipes divided by the time of this pair.
fn compare(times: &[Times], setting: Setting, pair: &Pair) -> Figure {
    let processes = find(times, setting, &PROCESSES).expect("processes were measured");
    let pair = find(times, setting, pair).expect("this pair was measured");
    processes.ratio_to(pair, |&time| time)
}

/// The pairs over pipes that are pinned decide: they differ in nothing but processes and threads.
/// For an unpinned pair the system chooses processors anew in each trial, and its choice matters
/// more. An unpinned pair decides only where no pair can be pinned.
fn judge(settings: &[Setting], times: &[Times]) -> Finding {
    let can_pin = settings.iter().any(|it| it.place != Place::Free);
    let mut verdicts = Vec::new();
    let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
    let mut to_threads = Vec::new();
    let mut to_channels = Vec::new();
    for &setting in settings {
        if can_pin && setting.place == Place::Free {
            continue;
        }
        let ratio = compare(times, setting, &THREADS);
        verdicts.push(verdict::at_least(ratio.interval, FAR_MORE));
        least = least.min(ratio.interval.median);
        most = most.max(ratio.interval.median);
        if setting.working_set == 0 {
            let to_channel = compare(times, setting, &BY_CHANNEL);
            to_threads.push(format!("{ratio} on {}", setting.place));
            to_channels.push(format!("{to_channel} on {}", setting.place));
        }
    }
    let [least, most] = [least, most].map(|ratio| amount(ratio, Unit::Ratio));
    let [to_threads, to_channels] = [to_threads, to_channels].map(|figures| figures.join(", "));
    Finding::new(
        verdict::by_case(verdicts),
        format!(
            "over the same pipes, processes take {least} to {most} as long as threads; without memory, \
             {to_threads}; compared with threads over channels, {to_channels}"
        ),
        format!("processes / threads: {to_threads}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::verdict::Verdict;

    #[test]
    fn a_round_trip_is_over_when_the_same_byte_has_come_back() {
        let mut sent = Vec::new();
        assert!(round_trip_by_pipe(&mut sent, &mut &[BYTE][..]).is_ok());
        assert_eq!(sent, [BYTE]);
        assert!(round_trip_by_pipe(&mut sent, &mut &b"x"[..]).is_err());
        assert!(round_trip_by_pipe(&mut sent, &mut io::empty()).is_err());
    }

    /// All stretches together take at least ten times as long as the shortest.
    #[test]
    fn the_time_of_a_round_trip_is_the_least_of_ten_means() {
        let setting = Setting {
            place: Place::Free,
            working_set: 0,
            round_trips: 1000,
        };
        let mut trips = 0;
        let start = Instant::now();
        let least = time(setting, || {
            trips += 1;
            Ok(())
        });
        let least = least.expect("nothing fails");
        assert!(least * 1000.0 <= start.elapsed().as_secs_f64());
        assert_eq!(trips, 1100, "ten stretches, and one that does not count");
    }

    #[test]
    fn going_through_memory_changes_a_byte_of_each_cache_line() {
        let mut memory = [255; 130];
        go_through(&mut memory);
        let changed = (0..130).filter(|&place| memory[place] == 0);
        assert_eq!(changed.collect::<Vec<_>>(), [0, 64, 128]);
    }

    /// Threads take one second, processes the given time, and channels a fiftieth of that time.
    fn judged<const N: usize>(processes: [(Place, usize, f64); N]) -> Finding {
        let (mut settings, mut times) = (Vec::new(), Vec::new());
        for (place, working_set, seconds) in processes {
            let setting = Setting {
                place,
                working_set,
                round_trips: 10,
            };
            settings.push(setting);
            for (pair, time) in [1.0, seconds, seconds / 50.0].into_iter().enumerate() {
                let variant = Variant { pair, setting };
                let samples = vec![time; 9];
                times.push(Measured { variant, samples });
            }
        }
        judge(&settings, &times)
    }

    #[test]
    fn the_same_pipes_decide_whatever_channels_can_do() {
        let [one, far] = [Place::One(0), Place::Far(0, 1)];
        let verdict = |processes| judged(processes).verdict;
        assert_eq!(verdict([(one, 0, 1.1), (far, 0, 1.0)]), Verdict::Fails);
        assert_eq!(verdict([(one, 0, 3.0), (far, 0, 2.5)]), Verdict::Holds);
        assert_eq!(
            verdict([(one, 0, 1.1), (one, 1 << 20, 3.0)]),
            Verdict::Depends
        );
    }

    #[test]
    fn the_reason_has_the_range_of_all_and_each_place_without_memory() {
        let [one, far] = [Place::One(0), Place::Far(0, 1)];
        let finding = judged([(one, 0, 1.1), (one, 1 << 20, 3.0), (far, 0, 1.2)]);
        let to_threads =
            "1.10 × [1.10, 1.10] on processor 0, 1.20 × [1.20, 1.20] on processors 0 and 1";
        let to_channels =
            "50.0 × [50.0, 50.0] on processor 0, 50.0 × [50.0, 50.0] on processors 0 and 1";
        assert_eq!(
            finding.reason,
            format!(
                "over the same pipes, processes take 1.10 × to 3.00 × as long as threads; without memory, \
                 {to_threads}; compared with threads over channels, {to_channels}"
            )
        );
        assert_eq!(
            finding.headline,
            format!("processes / threads: {to_threads}")
        );
    }

    #[test]
    fn those_on_any_processor_decide_only_where_none_is_pinned() {
        let one = Place::One(0);
        let both = judged([(one, 0, 1.1), (Place::Free, 0, 9.0)]);
        assert_eq!(both.verdict, Verdict::Fails);
        let none_pinned = judged([(Place::Free, 0, 9.0)]);
        assert_eq!(none_pinned.verdict, Verdict::Holds);
    }
}
