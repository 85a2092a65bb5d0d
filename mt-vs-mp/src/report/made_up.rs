//! A report of a run that never was, for the tests: all that a report can hold, and text that would
//! break a page that does not escape it.

use super::{
    Axis, Cell, Entry, Finding, Line, Plot, Report, Table,
    figure::{Figure, Unit},
};
use crate::lab::{
    Mode,
    machine::Machine,
    statistics::Interval,
    verdict::{Judgement, Verdict},
};

pub fn report() -> Report {
    Report {
        format: super::FORMAT,
        complete: true,
        missing: Vec::new(),
        mode: Mode::Default,
        workers: 2,
        date: "2026-01-02T03:04:05Z".to_owned(),
        seconds: 33.5,
        machine: machine(),
        experiments: vec![
            entry(
                "bars",
                Verdict::Holds,
                Finding {
                    tables: vec![bars()],
                    ..finding()
                },
            ),
            entry(
                "matrix",
                Verdict::Depends,
                Finding {
                    tables: vec![matrix()],
                    ..finding()
                },
            ),
            entry(
                "lines",
                Verdict::Fails,
                Finding {
                    plots: vec![linear(), logarithmic()],
                    ..finding()
                },
            ),
            entry("wide", Verdict::Unclear, finding()),
            entry(
                "absent",
                Verdict::NotMeasured,
                Finding {
                    left_out: vec!["4 GiB: there is too little <memory>".to_owned()],
                    ..finding()
                },
            ),
        ],
    }
}

fn machine() -> Machine {
    Machine {
        cores: 2,
        processor: "A processor & more".to_owned(),
        memory: 8 << 30,
        memory_available: 5 << 30,
        os: "An <OS>".to_owned(),
        kernel: "6.1".to_owned(),
        architecture: "x86_64".to_owned(),
        rustc: "rustc 1.95.0".to_owned(),
        program: "mt-vs-mp 0.1.0".to_owned(),
        profile: "release".to_owned(),
    }
}

fn entry(name: &str, verdict: Verdict, finding: Finding) -> Entry {
    let claim = format!("The claim of {name} is that 1 < 2 & \"2 > 1\".");
    let judgement = Judgement::new(verdict, "because 1 < 2");
    Entry::new((name, &claim), 1.5, (finding, judgement))
}

fn finding() -> Finding {
    Finding {
        headline: "a / b = 2.00 × [1.90, 2.10]".to_owned(),
        ..Finding::default()
    }
}

fn interval(median: f64) -> Interval {
    Interval {
        median,
        low: median * 0.9,
        high: median * 1.2,
        samples: 12,
    }
}

fn bars() -> Table {
    let mut table = Table::new("One after the other:", ["what", "time", "times <a thread>"]);
    for (name, seconds) in [
        ("thread", 25e-6),
        ("fork & wait", 180e-6),
        ("spawn", 900e-6),
    ] {
        table.rows.push(vec![
            name.into(),
            Figure::new(interval(seconds), Unit::Seconds).into(),
            Figure::new(interval(seconds / 25e-6), Unit::Times).into(),
        ]);
    }
    table.bars = Some(1);
    table
}

fn matrix() -> Table {
    let mut table = Table::new("Who survives?", ["its end is", "threads", "processes"]);
    for ending in ["panic", "abort"] {
        let outcome = |good: bool| Cell::Outcome {
            text: format!("by {ending}, 0 < 3 lost"),
            good,
        };
        table.rows.push(vec![
            ending.into(),
            outcome(ending == "panic"),
            outcome(true),
        ]);
    }
    table
}

fn line(name: &str, points: &[(f64, f64)]) -> Line {
    Line::new(name, points.iter().map(|&(x, y)| (x, interval(y))))
}

fn linear() -> Plot {
    Plot {
        title: "Speed-up, < and >".to_owned(),
        x: Axis::linear("workers", Unit::Count),
        y: Axis::linear("speed-up", Unit::Times),
        lines: vec![
            line("threads", &[(1.0, 1.0), (2.0, 1.9), (4.0, 1.95)]),
            line("processes", &[(1.0, 0.9), (2.0, 1.7)]),
            Line::reference("ideal", [(1.0, 1.0), (4.0, 4.0)]),
        ],
    }
}

fn logarithmic() -> Plot {
    Plot {
        title: "Rate against size".to_owned(),
        x: Axis::logarithmic("size", Unit::Bytes),
        y: Axis::logarithmic("rate", Unit::BytesPerSecond),
        lines: vec![line(
            "pipe",
            &[
                (64.0, 5e6),
                (1024.0, 8e7),
                (65536.0, 1.5e9),
                (1_048_576.0, 2e9),
            ],
        )],
    }
}
