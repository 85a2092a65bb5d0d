//! An invented report for the tests. It has all that a report can hold, and text that would break a
//! page that does not escape it.

use super::{Entry, Published, Report};
use crate::{
    finding::{
        Finding,
        figure::{Figure, Unit},
        interval::Interval,
        plot::{Axis, Line, Plot},
        table::{Cell, Table},
        verdict::Verdict,
    },
    lab::{Mode, machine::Machine},
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
                "dots",
                finding(Verdict::Holds, |it| it.tables = vec![dots()]),
            ),
            entry(
                "matrix",
                finding(Verdict::Depends, |it| it.tables = vec![matrix()]),
            ),
            entry(
                "lines",
                finding(Verdict::Fails, |it| {
                    it.plots = vec![linear(), logarithmic()]
                }),
            ),
            entry("wide", finding(Verdict::Unclear, |_| {})),
            entry(
                "absent",
                finding(Verdict::NotMeasured, |it| {
                    it.left_out = vec!["4 GiB: there is too little <memory>".to_owned()];
                }),
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
        is_virtual: Some(true),
        smt: Some(false),
        governor: None,
        huge_pages: Some("always".to_owned()),
        cpu_quota: None,
        load_before: Some(0.5),
        load_after: Some(1.5),
        throttled: None,
    }
}

fn entry(name: &str, finding: Finding) -> Entry {
    Entry {
        name: name.to_owned(),
        claim: format!("The claim of {name} is that 1 < 2 & \"2 > 1\"."),
        seconds: 1.5,
        finding,
        published: vec![Published {
            figure: "a thread 5 µs, a fork 22 µs".to_owned(),
            source: "Somebody & others, 2018".to_owned(),
        }],
    }
}

fn finding(verdict: Verdict, fill: impl FnOnce(&mut Finding)) -> Finding {
    let mut finding = Finding::new(verdict, "because 1 < 2", "a / b = 2.00 × [1.90, 2.10]");
    fill(&mut finding);
    finding
}

fn interval(median: f64) -> Interval {
    Interval {
        median,
        low: median * 0.9,
        high: median * 1.2,
        samples: 12,
    }
}

fn dots() -> Table {
    let ways = [
        ("thread", 25e-6),
        ("fork & wait", 180e-6),
        ("spawn", 900e-6),
    ];
    let figure = |value, unit| Cell::from(Figure::new(interval(value), unit));
    Table::of(
        "One after the other:",
        &ways,
        &[
            ("what", &|way| way.0.into()),
            ("time", &|way| figure(way.1, Unit::Seconds)),
            ("times <a thread>", &|way| {
                figure(way.1 / 25e-6, Unit::Ratio)
            }),
        ],
    )
    .with_dots(1)
}

fn matrix() -> Table {
    let outcome = |ending: &str, good| Cell::outcome(format!("by {ending}, 0 < 3 lost"), good);
    Table::of(
        "Who survives?",
        &["panic", "abort"],
        &[
            ("its end is", &|&ending| ending.into()),
            ("threads", &|&ending| outcome(ending, ending == "panic")),
            ("processes", &|&ending| outcome(ending, true)),
        ],
    )
}

fn line(name: &str, points: &[(f64, f64)]) -> Line {
    Line::new(name, points.iter().map(|&(x, y)| (x, interval(y))))
}

fn linear() -> Plot {
    Plot {
        title: "Speed-up, < and >".to_owned(),
        x: Axis::linear("workers", Unit::Count),
        y: Axis::linear("speed-up", Unit::Ratio),
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
