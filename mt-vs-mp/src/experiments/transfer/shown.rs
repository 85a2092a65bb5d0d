//! The times as a table and as a picture.

use super::{Times, message::Batch};
use crate::{
    lab::statistics::Interval,
    report::{
        Axis, Line, Plot, Table,
        figure::{Figure, Unit, amount},
    },
};

fn rates(size: usize, times: &[f64]) -> Interval {
    let rates: Vec<f64> = times.iter().map(|time| size as f64 / time).collect();
    Interval::of(&rates)
}

pub fn table(batches: &[Batch], times: &[Times]) -> Table {
    let mut table = Table::new(
        "Messages one after the other, in one direction:",
        [
            "message",
            "from one to the other of two",
            "per message",
            "rate",
        ],
    );
    for (place, batch) in batches.iter().enumerate() {
        for times in times {
            let samples = times.of(place);
            table.rows.push(vec![
                amount(batch.size as f64, Unit::Bytes).into(),
                times.way.name().into(),
                Figure::seconds(&samples).into(),
                Figure::new(rates(batch.size, &samples), Unit::BytesPerSecond).into(),
            ]);
        }
    }
    table
}

pub fn plot(batches: &[Batch], times: &[Times]) -> Plot {
    let line = |times: &Times| {
        let point = |(place, batch): (usize, &Batch)| {
            (batch.size as f64, rates(batch.size, &times.of(place)))
        };
        Line::new(times.way.name(), batches.iter().enumerate().map(point))
    };
    Plot {
        title: "How fast data gets from one to the other".to_owned(),
        x: Axis::logarithmic("size of a message", Unit::Bytes),
        y: Axis::logarithmic("rate", Unit::BytesPerSecond),
        lines: times.iter().map(line).collect(),
    }
}
