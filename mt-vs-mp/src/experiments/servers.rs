//! Three web servers, by processes, by threads, and by both: which is stable, which is fast?
//!
//! The servers are processes of `mt-vs-mp serve`, each model with sixteen workers. The clients are
//! threads of yet another process, which connect to the server by TCP on this machine. So clients
//! and server share the same processors, as with `ab` or `wrk`. The rates can be compared with each
//! other, but they are not the highest rates that a server can reach.
//!
//! *Stable* is counted: when one of sixteen requests crashes, how many others get no answer? *Fast*
//! is the number of requests that are answered in a second. The verdict rests on these two. The
//! tables also show the time of each answer and the memory.

use std::process::Stdio;

use nix::sys::resource::{Resource, getrlimit};
use serde::{Deserialize, Serialize};

use super::Experiment;
use crate::{
    finding::{
        Finding,
        figure::{Figure, Unit},
        plot::{Axis, Line, Plot},
        table::{Cell, Table},
        verdict::{self, Verdict},
    },
    lab::{
        Lab, Measured, Mode,
        role::{NoRoom, Role},
        trial,
    },
};

mod crash;
mod load;
mod server;

use crash::{CRASH, Crash, OTHERS};
use load::{LOAD, Load, Served};
use server::Server;

pub const EXPERIMENT: Experiment = Experiment {
    name: "servers",
    claim: "A server of processes is more stable, one of threads is faster, and a mix has both.",
    share: 15,
    run,
    roles: &[&SERVERS, &LOAD, &CRASH],
    published: &[],
};

/// The number of workers of each server.
const WORKERS: usize = 16;

/// "Faster": at least this many times as many requests per second.
const FASTER: f64 = 1.1;

/// "Has both": at least this many times as many requests per second as threads.
const AS_FAST: f64 = 0.9;

/// The rates of the open loops, as parts of the rate that the slowest model reached in the first
/// closed loop.
const PARTS: &[f64] = &[0.05, 0.2, 0.5];

struct Model {
    name: &'static str,
    size: &'static str,
    options: &'static [&'static str],
}

const MODELS: &[Model] = &[
    Model {
        name: "prefork",
        size: "16 processes",
        options: &["--model", "prefork", "--processes", "16"],
    },
    Model {
        name: "threads",
        size: "16 threads",
        options: &["--model", "threads", "--threads", "16"],
    },
    Model {
        name: "hybrid",
        size: "4 processes × 4 threads",
        options: &["--model", "hybrid", "--processes", "4", "--threads", "4"],
    },
];
const PREFORK: usize = 0;
const THREADS: usize = 1;
const HYBRID: usize = 2;

/// Clients that ask again as soon as they are answered. A connection occupies a worker until it is
/// closed, so each client closes it after some requests: otherwise, if there are more clients than
/// workers, some clients would never be served.
struct ClosedLoop {
    requests_per_connection: usize,
    clients: usize,
}

const fn closed_loop(requests_per_connection: usize, clients: usize) -> ClosedLoop {
    ClosedLoop {
        requests_per_connection,
        clients,
    }
}

/// `--quick` has time for the first two.
const CLOSED_LOOPS: &[ClosedLoop] = &[
    closed_loop(20, WORKERS),
    closed_loop(1, WORKERS),
    closed_loop(20, 4 * WORKERS),
    closed_loop(1, 4 * WORKERS),
];

/// What is measured of a server, from its start to its end.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Plan {
    /// The row of [`MODELS`].
    model: usize,
    /// How many of [`CLOSED_LOOPS`] are measured.
    closed_loops: usize,
    /// How long each closed loop lasts, in milliseconds.
    closed_span: u64,
    /// The requests per second of each open loop.
    open_rates: Vec<f64>,
    /// How long each open loop lasts, in milliseconds.
    open_span: u64,
}

/// What was measured of a server.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Sample {
    /// The requests per second of each closed loop.
    rates: Vec<f64>,
    /// The times of each open loop.
    times: Vec<Served>,
    /// The memory of all processes of the server together, in bytes.
    memory: Option<f64>,
}

static SERVERS: Role<Plan, Sample> = Role {
    name: "servers",
    play: |plan| {
        let server = Server::start(MODELS[plan.model].options, Stdio::inherit())?;
        let mut rates = Vec::new();
        for it in &CLOSED_LOOPS[..plan.closed_loops] {
            let closed = Load {
                port: server.port,
                clients: it.clients,
                requests_per_connection: it.requests_per_connection,
                span: plan.closed_span,
                rate: None,
            };
            rates.push(LOAD.start(&closed)?.finish::<Served>()?.rate);
        }
        let memory = server.memory();
        let mut times = Vec::new();
        for &rate in &plan.open_rates {
            let open = Load {
                port: server.port,
                // A client for each worker: so all of them can keep their connections.
                clients: WORKERS,
                requests_per_connection: usize::MAX,
                span: plan.open_span,
                rate: Some(rate),
            };
            times.push(LOAD.start(&open)?.finish()?);
        }
        server.end()?;
        Ok(Sample {
            rates,
            times,
            memory,
        })
    },
};

/// A server, and its sample in each round.
type Case = Measured<Plan, Sample>;

/// A row of [`MODELS`], and each crash of that server.
type Crashes = Measured<usize, Crash>;

fn run(lab: &Lab) -> anyhow::Result<Finding> {
    let plan = |model, closed_loops, open_rates: &[f64]| Plan {
        model,
        closed_loops,
        closed_span: lab.mode.pick(3, 12, 150),
        open_rates: open_rates.to_vec(),
        open_span: lab.mode.pick(8, 25, 300),
    };
    let closed_loops = lab.mode.pick(2, CLOSED_LOOPS.len(), CLOSED_LOOPS.len());
    let clients = CLOSED_LOOPS[..closed_loops].iter().map(|it| it.clients);
    let (descriptors, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if let Err(reason) = fits(clients.max().unwrap_or(0), descriptors) {
        return Ok(Finding::new(Verdict::NotMeasured, reason.0, "no room"));
    }
    // This also warms up.
    let mut slowest = f64::INFINITY;
    for (number, model) in MODELS.iter().enumerate() {
        lab.go_on()?;
        match trial::run(&SERVERS, &plan(number, 1, &[])) {
            Ok(sample) => slowest = slowest.min(sample.rates[0]),
            // The models are compared, so all three are measured or none.
            Err(error) if error.is::<NoRoom>() => {
                let reason = format!("{}: {error:#}", model.name);
                return Ok(Finding::new(Verdict::NotMeasured, reason, "no room"));
            }
            Err(error) => return Err(error),
        }
    }
    let rates = open_rates(slowest, &PARTS[..lab.mode.pick(1, 3, 3)]);

    let crashes_of = |variant| Crashes {
        variant,
        samples: Vec::new(),
    };
    let mut crashes: Vec<Crashes> = (0..MODELS.len()).map(crashes_of).collect();
    for _ in 0..lab.mode.pick(1, 3, 10) {
        for it in &mut crashes {
            lab.go_on()?;
            it.samples.push(trial::run(&CRASH, &it.variant)?);
        }
    }

    let plans = (0..MODELS.len()).map(|model| plan(model, closed_loops, &rates));
    // The warm-up and the crashes, above, have the rest of the time.
    let budget = lab.budget * 7 / 10;
    let cases = lab.alternate(budget, plans, |plan| trial::run(&SERVERS, plan))?;

    let mut finding = judge(&cases, &crashes);
    finding.tables = vec![
        stability_table(&cases, &crashes),
        rate_table(&cases),
        time_table(&cases, &rates),
    ];
    finding.plots = vec![
        time_plot(&cases, &rates, "median", |it| it.median),
        time_plot(&cases, &rates, "99th percentile", |it| it.percentile_99),
    ];
    if lab.mode == Mode::Quick {
        let why = "four clients for each worker: --quick has no time for them";
        finding.left_out.push(why.to_owned());
    }
    let mut samples = cases.iter().flat_map(|case| &case.samples);
    if samples.any(|sample| sample.memory.is_none()) {
        let why = "memory: only Linux tells what processes share";
        finding.left_out.push(why.to_owned());
    }
    Ok(finding)
}

/// How many descriptors a process may need besides those of its connections.
const OTHER_DESCRIPTORS: usize = 32;

/// Whether a process may have a descriptor for the connection of each client. A server that has too
/// few lets some clients wait, and then it is not the model that decides.
fn fits(clients: usize, descriptors: u64) -> Result<(), NoRoom> {
    let needed = clients + OTHER_DESCRIPTORS;
    match descriptors >= needed as u64 {
        true => Ok(()),
        false => Err(NoRoom(format!(
            "{clients} clients need up to {needed} descriptors, and RLIMIT_NOFILE (ulimit -n) \
             allows {descriptors}"
        ))),
    }
}

/// The rates of the open loops: so low that also the slowest model keeps up.
fn open_rates(slowest: f64, parts: &[f64]) -> Vec<f64> {
    parts.iter().map(|part| round(slowest * part)).collect()
}

/// To two digits.
fn round(rate: f64) -> f64 {
    let scale = 10_f64.powf(rate.log10().floor() - 1.0);
    (rate / scale).round() * scale
}

fn stability_table(cases: &[Case], crashes: &[Crashes]) -> Table {
    let rows: Vec<(&Case, &Crashes)> = cases.iter().zip(crashes).collect();
    Table::of(
        &format!(
            "One of {WORKERS} requests under way crashes (a process that dies within a second of its start \
             is replaced after 50 ms). The memory is that of all processes of a server together:"
        ),
        &rows,
        &[
            ("model", &|(_, crashes)| MODELS[crashes.variant].name.into()),
            ("of", &|(_, crashes)| MODELS[crashes.variant].size.into()),
            ("others without an answer", &|(_, crashes)| {
                let lost = most_lost(crashes);
                Cell::outcome(format!("{lost} of {OTHERS}"), lost == 0)
            }),
            (
                "until the next answer",
                &|(_, crashes)| match answers_again(crashes) {
                    true => crashes
                        .figure_if_any(Unit::Seconds, |crash| crash.next_answer)
                        .into(),
                    false => Cell::outcome("never: the server is gone", false),
                },
            ),
            ("memory", &|(case, _)| {
                case.figure_if_any(Unit::Bytes, |sample| sample.memory)
                    .into()
            }),
        ],
    )
}

fn rate_table(cases: &[Case]) -> Table {
    let mut rows = Vec::new();
    for number in 0..cases[0].variant.closed_loops {
        rows.extend(cases.iter().map(|case| (number, case)));
    }
    Table::of(
        "Requests per second, by clients that ask again as soon as they are answered (1 KiB each time):",
        &rows,
        &[
            ("requests on a connection", &|&(number, _)| {
                let per_connection = CLOSED_LOOPS[number].requests_per_connection;
                per_connection.to_string().into()
            }),
            ("clients", &|&(number, _)| {
                CLOSED_LOOPS[number].clients.to_string().into()
            }),
            ("model", &|(_, case)| MODELS[case.variant.model].name.into()),
            ("requests per second", &|&(number, case)| {
                case.figure(Unit::Count, |sample| sample.rates[number])
                    .into()
            }),
            ("times prefork", &|&(number, case)| {
                case.ratio_to(&cases[PREFORK], |sample| sample.rates[number])
                    .into()
            }),
        ],
    )
}

fn time_table(cases: &[Case], rates: &[f64]) -> Table {
    let mut rows = Vec::new();
    for (number, rate) in rates.iter().enumerate() {
        rows.extend(cases.iter().map(|case| (number, rate, case)));
    }
    let time = |&(number, _, case): &(usize, &f64, &Case), time: fn(&Served) -> f64| {
        case.figure(Unit::Seconds, |sample| time(&sample.times[number]))
            .into()
    };
    Table::of(
        "How long an answer takes, from when its request was due, at rates that all can keep up with:",
        &rows,
        &[
            ("requests per second", &|(_, rate, _)| {
                format!("{rate:.0}").into()
            }),
            ("model", &|(_, _, case)| {
                MODELS[case.variant.model].name.into()
            }),
            ("median", &|row| time(row, |it| it.median)),
            ("99th percentile", &|row| time(row, |it| it.percentile_99)),
            ("the worst", &|row| time(row, |it| it.worst)),
        ],
    )
}

fn time_plot(cases: &[Case], rates: &[f64], which: &str, time: fn(&Served) -> f64) -> Plot {
    let line = |case: &Case| {
        let points = rates.iter().enumerate().map(|(number, &rate)| {
            let figure = case.figure(Unit::Seconds, |sample| time(&sample.times[number]));
            (rate, figure.interval)
        });
        Line::new(MODELS[case.variant.model].name, points)
    };
    Plot::new(
        &format!("How long an answer takes, by the rate: the {which}"),
        Axis::logarithmic("requests per second", Unit::Count),
        Axis::logarithmic("time from when it was due", Unit::Seconds),
        cases.iter().map(line),
    )
}

/// How many of the other requests the worst crash took.
fn most_lost(crashes: &Crashes) -> usize {
    let lost = crashes.samples.iter().map(|crash| crash.lost);
    lost.max().unwrap_or(0)
}

/// Whether the server answered the next request after every crash.
fn answers_again(crashes: &Crashes) -> bool {
    let mut crashes = crashes.samples.iter();
    crashes.all(|crash| crash.next_answer.is_some())
}

/// The claim says three things. All of them must be so.
fn judge(cases: &[Case], crashes: &[Crashes]) -> Finding {
    let lost = |model: usize| most_lost(&crashes[model]);
    let is_stable =
        |model| verdict::is(lost(model) < lost(THREADS) && answers_again(&crashes[model]));
    // One for each closed loop.
    let ratios = |model: usize, other: usize| -> Vec<Figure> {
        let closed_loops = 0..cases[model].variant.closed_loops;
        closed_loops
            .map(|it| cases[model].ratio_to(&cases[other], |sample| sample.rates[it]))
            .collect()
    };
    let at_least = |ratios: &[Figure], bound| {
        let ratios = ratios.iter();
        verdict::by_case(ratios.map(|ratio| verdict::at_least(ratio.interval, bound)))
    };
    let threads_to_prefork = ratios(THREADS, PREFORK);
    let hybrid_to_threads = ratios(HYBRID, THREADS);
    let stable = is_stable(PREFORK);
    let faster = at_least(&threads_to_prefork, FASTER);
    let both = verdict::every([is_stable(HYBRID), at_least(&hybrid_to_threads, AS_FAST)]);
    let reason = format!(
        "processes are more stable: {}, a crash took {} of {OTHERS} other requests with it, by threads {} \
         and the server; threads are faster: {}, they answered {} as many requests as prefork, depending \
         on the clients; the mix has both: {}, a crash took {}, and it answered {} as many requests as \
         threads",
        stable.word(),
        lost(PREFORK),
        lost(THREADS),
        faster.word(),
        range(&threads_to_prefork),
        both.word(),
        lost(HYBRID),
        range(&hybrid_to_threads),
    );
    let headline = format!(
        "others lost by a crash: {}, {}, {} of {OTHERS}; threads / prefork: {}",
        lost(PREFORK),
        lost(THREADS),
        lost(HYBRID),
        range(&threads_to_prefork),
    );
    Finding::new(verdict::every([stable, faster, both]), reason, headline)
}

/// From the lowest median to the highest.
fn range(figures: &[Figure]) -> String {
    let mut medians: Vec<f64> = figures.iter().map(|it| it.interval.median).collect();
    medians.sort_by(f64::total_cmp);
    format!(
        "{:.2} to {:.2} times",
        medians[0],
        medians[medians.len() - 1]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(model: usize, rates: &[f64]) -> Case {
        let plan = Plan {
            model,
            closed_loops: rates.len(),
            closed_span: 0,
            open_rates: Vec::new(),
            open_span: 0,
        };
        let sample = Sample {
            rates: rates.to_vec(),
            times: Vec::new(),
            memory: None,
        };
        Case {
            variant: plan,
            samples: vec![sample; 9],
        }
    }

    /// For each model: how many other requests a crash takes, whether the next one is answered, and
    /// the rate of each closed loop.
    fn judged(lost: [usize; 3], again: [bool; 3], rates: [[f64; 4]; 3]) -> Finding {
        let (mut cases, mut crashes) = (Vec::new(), Vec::new());
        for model in 0..3 {
            let crash = Crash {
                lost: lost[model],
                next_answer: again[model].then_some(0.05),
            };
            crashes.push(Crashes {
                variant: model,
                samples: vec![crash],
            });
            cases.push(case(model, &rates[model]));
        }
        judge(&cases, &crashes)
    }

    #[test]
    fn all_three_parts_must_hold_on_any_machine() {
        let alive = [true, false, true];
        let lost = [0, OTHERS, 3];
        // Rates grow with the cores; only their ratios count.
        for cores in [2.0, 8.0, 64.0] {
            let rates = |times: [f64; 3]| times.map(|times| [1e4 * cores * times; 4]);
            let verdict = |lost, again, times| judged(lost, again, rates(times)).verdict;
            assert_eq!(verdict(lost, alive, [1.0, 1.3, 1.25]), Verdict::Holds);
            // All are equally fast, or the mix is much slower than threads.
            assert_eq!(verdict(lost, alive, [1.0, 1.0, 1.0]), Verdict::Fails);
            assert_eq!(verdict(lost, alive, [1.0, 1.3, 1.0]), Verdict::Fails);
            // A crash takes all other requests in every model, or it takes the server.
            let all = [OTHERS; 3];
            assert_eq!(verdict(all, alive, [1.0, 1.3, 1.3]), Verdict::Fails);
            let gone = [false, false, true];
            assert_eq!(verdict(lost, gone, [1.0, 1.3, 1.3]), Verdict::Fails);
        }
    }

    #[test]
    fn the_clients_may_decide_and_the_reason_names_all_three_parts() {
        let threads = [1.5, 1.5, 1.0, 1.0];
        let finding = judged(
            [0, OTHERS, 3],
            [true, false, true],
            [[1.0; 4], threads, threads],
        );
        assert_eq!(finding.verdict, Verdict::Depends);
        for part in [
            "more stable: holds",
            "faster: depends, they answered 1.00 to 1.50 times",
            "has both: holds",
        ] {
            assert!(finding.reason.contains(part), "{}", finding.reason);
        }
        assert_eq!(
            finding.headline,
            "others lost by a crash: 0, 15, 3 of 15; threads / prefork: 1.00 to 1.50 times"
        );
    }

    #[test]
    fn each_client_needs_a_descriptor() {
        assert!(fits(64, 96).is_ok());
        let refused = fits(64, 95).expect_err("one is missing").to_string();
        assert!(refused.contains("need up to 96"), "{refused}");
        assert!(refused.contains("allows 95"), "{refused}");
    }

    #[test]
    fn there_is_a_client_for_each_worker_or_there_are_four() {
        let cases = [0, 1, 2].map(|model| case(model, &[1.0; 4]));
        let text = |cell: &Cell| match cell {
            Cell::Text(text) => text.clone(),
            other => panic!("{other:?} is no text"),
        };
        let rows = rate_table(&cases).rows;
        // Of each loop, the row of the first model.
        let loops = rows
            .iter()
            .step_by(3)
            .map(|row| [0, 1].map(|it| text(&row[it])));
        assert_eq!(
            loops.collect::<Vec<_>>(),
            [["20", "16"], ["1", "16"], ["20", "64"], ["1", "64"]]
        );
    }

    #[test]
    fn a_rate_has_two_digits_and_is_a_part_of_what_the_slowest_can_do() {
        assert_eq!(open_rates(12_345.0, PARTS), [620.0, 2500.0, 6200.0]);
        assert_eq!(round(12_345.0), 12_000.0);
        assert_eq!(round(987.0), 990.0);
    }
}
