//! The times as a table, and the speed-up as a picture. The first crew is the serial one.

use crate::{
    lab::statistics::Interval,
    master_worker::Crew,
    report::{
        Axis, Line, Plot, Table,
        figure::{Figure, Unit},
    },
    work::Kind,
};

pub fn table(kind: Kind, crews: &[Crew], samples: &[Vec<f64>]) -> Table {
    let title = format!("The {} job:", kind.name());
    let mut table = Table::new(&title, ["workers are", "workers", "time", "speed-up"]);
    for (crew, times) in crews.iter().zip(samples) {
        table.rows.push(vec![
            crew.to_string().into(),
            crew.workers().to_string().into(),
            Figure::seconds(times).into(),
            Figure::times(&samples[0], times).into(),
        ]);
    }
    table
}

pub fn plot(kind: Kind, crews: &[Crew], samples: &[Vec<f64>]) -> Plot {
    let line = |model| {
        let measured = crews.iter().zip(samples);
        let of_model = measured.filter(|(crew, _)| crew.model() == model);
        let point = |(crew, times): (&Crew, &Vec<f64>)| {
            let speed_up = Interval::of_ratio(&samples[0], times);
            (crew.workers() as f64, speed_up)
        };
        Line::new(model, of_model.map(point))
    };
    let most = crews.iter().map(|crew| crew.workers()).max().unwrap_or(1) as f64;
    let ideal = Line::reference("ideal", [(1.0, 1.0), (most, most)]);
    Plot {
        title: format!("Speed-up against serial work: the {} job", kind.name()),
        x: Axis::linear("workers", Unit::Count),
        y: Axis::linear("speed-up", Unit::Times),
        lines: [line("threads"), line("processes"), line("hybrid"), ideal].into(),
    }
}
