//! Three web servers, by processes, by threads, and by both: which is stable, which is fast?
//!
//! What is measured is `mt-vs-mp serve`, in processes of its own, each model with sixteen workers.
//! Its clients are in yet another process, and talk to it by TCP, on this machine. So both take
//! their time from the same processors, as they do for `ab` or `wrk`: rates are to be compared with
//! each other, and are not the most that a server can do.

use std::{fmt, process::Stdio};

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
        Lab, Measured,
        role::{NoRoom, Role},
        trial,
    },
};

mod blast;
mod load;
mod server;

use blast::{BLAST, Blast, OTHERS};
use load::{LOAD, Load, Served};
use server::Server;

pub const EXPERIMENT: Experiment = Experiment {
    name: "servers",
    claim: "A server of processes is more stable, one of threads is faster, and a mix has both.",
    share: 15,
    run,
    roles: &[&SERVERS, &LOAD, &BLAST],
    published: &[],
};

/// In each server.
const WORKERS: usize = 16;

/// How many bytes an answer has, without its head.
const ANSWER: usize = 1024;

/// "Faster": at least so many times as many requests per second.
const FASTER: f64 = 1.1;

/// "Has both": as fast as threads, but for so much.
const AS_FAST: f64 = 0.9;

/// The rates of the open loops, as parts of the highest rate that the slowest model reached.
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

/// How clients come. One that kept its connection forever would keep its worker as long, and of four
/// times as many clients as workers most would never be served.
struct Way {
    per_connection: usize,
    clients: usize,
}

const fn way(per_connection: usize, clients: usize) -> Way {
    Way {
        per_connection,
        clients,
    }
}

/// `--quick` has time for the first two.
const WAYS: &[Way] = &[
    way(20, WORKERS),
    way(1, WORKERS),
    way(20, 4 * WORKERS),
    way(1, 4 * WORKERS),
];

/// What is measured of a server, from its start to its end.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Plan {
    model: usize,
    /// How many of [`WAYS`].
    ways: usize,
    /// How long each way of the closed loop lasts, and each rate of the open one, in milliseconds.
    spans: (u64, u64),
    /// Of the open loops.
    rates: Vec<f64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Seen {
    /// Requests per second, for each way of the plan.
    rates: Vec<f64>,
    /// For each rate of the plan.
    times: Vec<Served>,
    /// What all its processes take, in bytes.
    memory: Option<f64>,
}

static SERVERS: Role<Plan, Seen> = Role {
    name: "servers",
    play: |plan| {
        let server = Server::start(MODELS[plan.model].options, Stdio::inherit())?;
        let closed = |way: &Way| Load {
            port: server.port,
            clients: way.clients,
            per_connection: way.per_connection,
            answer: ANSWER,
            span: plan.spans.0,
            rate: None,
        };
        let ways = WAYS[..plan.ways].iter();
        let rates = ways.map(|way| Ok(drive(&closed(way))?.rate));
        let rates = rates.collect::<anyhow::Result<_>>()?;
        let memory = server.memory();
        let open = |&rate| {
            drive(&Load {
                per_connection: usize::MAX,
                span: plan.spans.1,
                rate: Some(rate),
                ..closed(&WAYS[0])
            })
        };
        let times = plan.rates.iter().map(open);
        let times = times.collect::<anyhow::Result<_>>()?;
        server.end()?;
        Ok(Seen {
            rates,
            times,
            memory,
        })
    },
};

/// Has a process of clients do it.
fn drive(load: &Load) -> anyhow::Result<Served> {
    LOAD.start(load)?.finish()
}

type Case = Measured<Plan, Seen>;

fn run(lab: &Lab) -> anyhow::Result<Finding> {
    let plan = |model, ways, rates: &[f64]| Plan {
        model,
        ways,
        spans: lab.mode.pick((3, 8), (12, 25), (150, 300)),
        rates: rates.to_vec(),
    };
    // This also warms up.
    let mut slowest = f64::INFINITY;
    for (number, model) in MODELS.iter().enumerate() {
        lab.go_on()?;
        match trial::run(&SERVERS, &plan(number, 1, &[])) {
            Ok(seen) => slowest = slowest.min(seen.rates[0]),
            // All three, or none: they are compared.
            Err(error) if error.is::<NoRoom>() => {
                let reason = format!("{}: {error:#}", model.name);
                return Ok(Finding::new(Verdict::NotMeasured, reason, "no room"));
            }
            Err(error) => return Err(error),
        }
    }
    let parts = &PARTS[..lab.mode.pick(1, 3, 3)];
    let rates: Vec<f64> = parts.iter().map(|part| round(slowest * part)).collect();
    let mut blasts: Vec<Measured<usize, Blast>> = (0..MODELS.len())
        .map(|variant| Measured {
            variant,
            samples: Vec::new(),
        })
        .collect();
    for _ in 0..lab.mode.pick(1, 3, 10) {
        for it in &mut blasts {
            lab.go_on()?;
            it.samples.push(trial::run(&BLAST, &it.variant)?);
        }
    }
    let ways = lab.mode.pick(2, WAYS.len(), WAYS.len());
    let plans = (0..MODELS.len()).map(|model| plan(model, ways, &rates));
    let budget = lab.budget * 7 / 10;
    let cases = lab.alternate(budget, plans, |plan| trial::run(&SERVERS, plan))?;

    let mut left_out = Vec::new();
    if ways < WAYS.len() {
        left_out.push("four clients for each worker: --quick has no time for them".to_owned());
    }
    if cases
        .iter()
        .flat_map(|it| &it.samples)
        .any(|seen| seen.memory.is_none())
    {
        left_out.push("memory: only Linux tells what processes share".to_owned());
    }
    Ok(Finding {
        tables: vec![
            stability(&cases, &blasts),
            speed(&cases),
            lateness(&cases, &rates),
        ],
        plots: vec![
            plot(&cases, &rates, "half of the answers", |it| it.half),
            plot(&cases, &rates, "99 of 100 answers", |it| it.most),
        ],
        left_out,
        ..judge(&cases, &blasts)
    })
}

/// To two digits: a rate that can be named.
fn round(rate: f64) -> f64 {
    let scale = 10_f64.powf(rate.log10().floor() - 1.0);
    (rate / scale).round() * scale
}

fn stability(cases: &[Case], blasts: &[Measured<usize, Blast>]) -> Table {
    let rows: Vec<(&Case, &Measured<usize, Blast>)> = cases.iter().zip(blasts).collect();
    Table::of(
        &format!(
            "While {WORKERS} requests are under way, one crashes (a process that dies within a second of its \
             start is replaced after 50 ms); and what each server takes of memory, all its processes together:"
        ),
        &rows,
        &[
            ("model", &|(_, it)| MODELS[it.variant].name.into()),
            ("of", &|(_, it)| MODELS[it.variant].size.into()),
            ("others without an answer", &|(_, it)| {
                let lost = most_lost(it);
                Cell::outcome(format!("{lost} of {OTHERS}"), lost == 0)
            }),
            (
                "until the next answer",
                &|(_, it)| match answers_again(it) {
                    true => it.figure_if_any(Unit::Seconds, |blast| blast.next).into(),
                    false => Cell::outcome("never: the server is gone", false),
                },
            ),
            ("memory", &|(it, _)| {
                it.figure_if_any(Unit::Bytes, |seen| seen.memory).into()
            }),
        ],
    )
}

fn speed(cases: &[Case]) -> Table {
    let ways = 0..cases[0].variant.ways;
    let rows: Vec<(usize, &Case)> = ways
        .flat_map(|way| cases.iter().map(move |case| (way, case)))
        .collect();
    Table::of(
        "Requests per second, by clients that ask again as soon as they are answered (1 KiB each time):",
        &rows,
        &[
            ("requests on a connection", &|(way, _)| {
                WAYS[*way].per_connection.to_string().into()
            }),
            ("clients", &|(way, _)| WAYS[*way].clients.to_string().into()),
            ("model", &|(_, it)| MODELS[it.variant.model].name.into()),
            ("requests per second", &|(way, it)| {
                it.figure(Unit::Count, |seen| seen.rates[*way]).into()
            }),
            ("times prefork", &|(way, it)| {
                it.ratio_to(&cases[PREFORK], |seen| seen.rates[*way]).into()
            }),
        ],
    )
}

fn lateness(cases: &[Case], rates: &[f64]) -> Table {
    let rates = rates.iter().enumerate();
    let rows: Vec<((usize, &f64), &Case)> = rates
        .flat_map(|rate| cases.iter().map(move |case| (rate, case)))
        .collect();
    let time = |((number, _), it): &((usize, &f64), &Case), of: fn(&Served) -> f64| {
        it.figure(Unit::Seconds, |seen| of(&seen.times[*number]))
            .into()
    };
    Table::of(
        "How long an answer takes, from when its request was due, at rates that all can keep up with:",
        &rows,
        &[
            ("requests per second", &|((_, rate), _)| {
                format!("{rate:.0}").into()
            }),
            ("model", &|(_, it)| MODELS[it.variant.model].name.into()),
            ("half", &|row| time(row, |it| it.half)),
            ("99 of 100", &|row| time(row, |it| it.most)),
            ("the worst", &|row| time(row, |it| it.worst)),
        ],
    )
}

fn plot(cases: &[Case], rates: &[f64], which: &str, of: fn(&Served) -> f64) -> Plot {
    let line = |case: &Case| {
        let point = |(number, &rate): (usize, &f64)| {
            let time = case.figure(Unit::Seconds, |seen| of(&seen.times[number]));
            (rate, time.interval)
        };
        let name = MODELS[case.variant.model].name;
        Line::new(name, rates.iter().enumerate().map(point))
    };
    Plot::new(
        &format!("How long {which} take at most, by the rate"),
        Axis::logarithmic("requests per second", Unit::Count),
        Axis::logarithmic("time from when it was due", Unit::Seconds),
        cases.iter().map(line),
    )
}

fn most_lost(it: &Measured<usize, Blast>) -> usize {
    let lost = it.samples.iter().map(|blast| blast.lost);
    lost.max().unwrap_or(0)
}

fn answers_again(it: &Measured<usize, Blast>) -> bool {
    it.samples.iter().all(|blast| blast.next.is_some())
}

/// The claim says three things.
fn judge(cases: &[Case], blasts: &[Measured<usize, Blast>]) -> Finding {
    let lost = |model: usize| most_lost(&blasts[model]);
    let safer = |model| verdict::is(lost(model) < lost(THREADS) && answers_again(&blasts[model]));
    let ratios = |model: usize, other: usize| -> Vec<Figure> {
        let ways = 0..cases[model].variant.ways;
        ways.map(|way| cases[model].ratio_to(&cases[other], |seen| seen.rates[way]))
            .collect()
    };
    let by_way = |ratios: &[Figure], bound| {
        let each = ratios.iter();
        verdict::by_case(each.map(|ratio| verdict::at_least(ratio.interval, bound)))
    };
    let threads = ratios(THREADS, PREFORK);
    let hybrid = ratios(HYBRID, THREADS);
    let parts = [
        safer(PREFORK),
        by_way(&threads, FASTER),
        verdict::every([safer(HYBRID), by_way(&hybrid, AS_FAST)]),
    ];
    let [stable, faster, both] = parts.map(Verdict::word);
    let reason = format!(
        "processes are more stable: {stable}, a crash took {} of {OTHERS} other requests with it, by threads \
         {} and the server; threads are faster: {faster}, they answered {} as many requests as prefork, by \
         the way that clients come; the mix has both: {both}, a crash took {}, and it answered {} as many \
         requests as threads",
        lost(PREFORK),
        lost(THREADS),
        Range(&threads),
        lost(HYBRID),
        Range(&hybrid),
    );
    let headline = format!(
        "others lost by a crash: {}, {}, {} of {OTHERS}; threads / prefork: {}",
        lost(PREFORK),
        lost(THREADS),
        lost(HYBRID),
        Range(&threads),
    );
    Finding::new(verdict::every(parts), reason, headline)
}

/// From the lowest median to the highest.
struct Range<'a>(&'a [Figure]);

impl fmt::Display for Range<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let medians = || self.0.iter().map(|figure| figure.interval.median);
        let lowest = medians().fold(f64::INFINITY, f64::min);
        let highest = medians().fold(f64::NEG_INFINITY, f64::max);
        write!(f, "{lowest:.2} to {highest:.2} times")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a crash takes and whether there is an answer afterwards, and the rates, of each model.
    fn judged(lost: [usize; 3], again: [bool; 3], rates: [[f64; 4]; 3]) -> Finding {
        let blasts = (0..3).map(|variant| Measured {
            variant,
            samples: vec![Blast {
                lost: lost[variant],
                next: again[variant].then_some(0.05),
            }],
        });
        let cases = (0..3).map(|model| Measured {
            variant: Plan {
                model,
                ways: WAYS.len(),
                spans: (0, 0),
                rates: Vec::new(),
            },
            samples: vec![
                Seen {
                    rates: rates[model].to_vec(),
                    times: Vec::new(),
                    memory: None,
                };
                9
            ],
        });
        judge(&cases.collect::<Vec<_>>(), &blasts.collect::<Vec<_>>())
    }

    #[test]
    fn all_three_parts_must_hold_on_any_machine() {
        let alive = [true, false, true];
        let radius = [0, OTHERS, 3];
        // Rates grow with the cores; only their ratios count.
        for cores in [2.0, 8.0, 64.0] {
            let rates = |times: [f64; 3]| times.map(|times| [1e4 * cores * times; 4]);
            let verdict = |lost, again, times| judged(lost, again, rates(times)).verdict;
            assert_eq!(verdict(radius, alive, [1.0, 1.3, 1.25]), Verdict::Holds);
            // As fast as each other, or the mix much slower than threads.
            assert_eq!(verdict(radius, alive, [1.0, 1.0, 1.0]), Verdict::Fails);
            assert_eq!(verdict(radius, alive, [1.0, 1.3, 1.0]), Verdict::Fails);
            // A crash that takes as many as by threads, or the server.
            let all = [OTHERS; 3];
            assert_eq!(verdict(all, alive, [1.0, 1.3, 1.3]), Verdict::Fails);
            let gone = [false, false, true];
            assert_eq!(verdict(radius, gone, [1.0, 1.3, 1.3]), Verdict::Fails);
        }
    }

    #[test]
    fn the_way_in_which_clients_come_may_decide_and_the_reason_names_all_three_parts() {
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
    }

    #[test]
    fn a_rate_has_two_digits() {
        assert_eq!(round(12_345.0), 12_000.0);
        assert_eq!(round(987.0), 990.0);
    }
}
