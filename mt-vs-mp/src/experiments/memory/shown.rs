//! The costs as a table and as a picture.
//!
//! The page tables of huge pages come out as large as the others: Linux keeps those of small pages
//! in reserve for each huge one, in case it has to be cut up, and counts them. But it leaves them
//! empty, and a fork has nothing to copy from them.

use super::{
    Case,
    parent::{Costs, Pages},
};
use crate::{
    lab::statistics::Interval,
    report::{
        Axis, Cell, Line, Plot, Table,
        figure::{Figure, Unit},
    },
};

pub fn table(cases: &[Case]) -> Table {
    let mut table = Table::new(
        "From its start to its joined end, when the parent has so much memory:",
        ["the parent has", "page tables", "thread", "spawn", "fork"],
    );
    for case in cases {
        let cell = |figure: fn(&Costs) -> Option<f64>, unit| match case.samples(figure) {
            Some(samples) => Cell::from(Figure::new(Interval::of(&samples), unit)),
            None => "-".into(),
        };
        table.rows.push(vec![
            case.parent.name().into(),
            cell(|costs| costs.page_tables, Unit::Bytes),
            cell(|costs| Some(costs.thread), Unit::Seconds),
            cell(|costs| Some(costs.spawn), Unit::Seconds),
            cell(|costs| costs.fork, Unit::Seconds),
        ]);
    }
    table
}

pub fn plot(cases: &[Case]) -> Plot {
    let line = |name, pages, cost: fn(&Costs) -> Option<f64>| {
        // Without memory, all pages are alike.
        let alike = |case: &&Case| case.parent.pages == pages || case.parent.memory == 0;
        let point = |case: &Case| {
            let samples = case.samples(cost)?;
            Some((case.parent.memory as f64, Interval::of(&samples)))
        };
        Line::new(name, cases.iter().filter(alike).filter_map(point))
    };
    let mut lines = vec![
        line("thread", Pages::Small, |costs| Some(costs.thread)),
        line("fork", Pages::Small, |costs| costs.fork),
        line("fork, huge pages", Pages::Huge, |costs| costs.fork),
        line("spawn", Pages::Small, |costs| Some(costs.spawn)),
    ];
    // One point is no line.
    lines.retain(|line| line.points.len() > 1);
    Plot {
        title: "What it costs as the parent's memory grows".to_owned(),
        x: Axis::linear("memory of the parent", Unit::Bytes),
        y: Axis::logarithmic("from its start to its joined end", Unit::Seconds),
        lines,
    }
}
