//! How the crowds did, as tables and as pictures.

use super::{
    Case,
    crowd::{Model, Seen},
    yardstick,
};
use crate::{
    lab::statistics::Interval,
    report::{
        Axis, Line, Plot, Table,
        figure::{Figure, Unit},
    },
};

pub fn tables(cases: &[Case], cores: usize) -> Vec<Table> {
    vec![times(cases, cores), burden(cases)]
}

pub fn plots(cases: &[Case]) -> Vec<Plot> {
    vec![
        plot(
            cases,
            "The same work, from the first worker's start to the last one's end",
            ("time", Unit::Seconds),
            |seen| Some(seen.total),
        ),
        plot(
            cases,
            "Memory that each worker has for itself",
            ("memory", Unit::Bytes),
            |seen| seen.memory,
        ),
        plot(
            cases,
            "How late one that waits is woken, at worst",
            ("time", Unit::Seconds),
            |seen| Some(seen.late.1),
        ),
    ]
}

fn times(cases: &[Case], cores: usize) -> Table {
    let mut table = Table::new(
        "The same work by more and more workers:",
        [
            "workers are",
            "workers",
            "to start them",
            "the work",
            "times one per core",
        ],
    );
    for case in cases {
        let work = case.samples(|seen| seen.work);
        let few = yardstick(cases, case.crowd.model, cores);
        let times_few = few.map(|few| Figure::times(&work, &few.samples(|seen| seen.work)));
        table.rows.push(vec![
            case.crowd.model.name().into(),
            case.crowd.workers.to_string().into(),
            Figure::seconds(&case.samples(|seen| seen.start)).into(),
            Figure::seconds(&work).into(),
            times_few.map_or("-".into(), Figure::into),
        ]);
    }
    table
}

fn burden(cases: &[Case]) -> Table {
    let mut table = Table::new(
        "What each of them takes (private memory and page tables, without the kernel's stack), and how \
         late one more, which only sleeps for 1 ms at a time, is woken meanwhile:",
        [
            "workers are",
            "workers",
            "memory each",
            "late",
            "late at worst",
        ],
    );
    for case in cases {
        let memory: Vec<f64> = case.seen.iter().filter_map(|seen| seen.memory).collect();
        table.rows.push(vec![
            case.crowd.model.name().into(),
            case.crowd.workers.to_string().into(),
            match memory.is_empty() {
                true => "-".into(),
                false => Figure::new(Interval::of(&memory), Unit::Bytes).into(),
            },
            Figure::seconds(&case.samples(|seen| seen.late.0)).into(),
            Figure::seconds(&case.samples(|seen| seen.late.1)).into(),
        ]);
    }
    table
}

fn plot(
    cases: &[Case],
    title: &str,
    (label, unit): (&str, Unit),
    of: fn(&Seen) -> Option<f64>,
) -> Plot {
    let line = |model: Model| {
        let of_model = cases.iter().filter(|case| case.crowd.model == model);
        let points = of_model.filter_map(|case| {
            let samples: Option<Vec<f64>> = case.seen.iter().map(of).collect();
            Some((case.crowd.workers as f64, Interval::of(&samples?)))
        });
        Line::new(model.name(), points)
    };
    Plot {
        title: title.to_owned(),
        x: Axis::logarithmic("workers", Unit::Count),
        y: Axis::logarithmic(label, unit),
        lines: [Model::Processes, Model::Threads].map(line).into(),
    }
}
