//! A column of a table as bars: one to a row, as long as its figure is large.

use maud::{Markup, html};

use super::{axis::Scale, plot::px};
use crate::report::{Axis, Cell, Table, figure::Figure};

/// In the picture's own units: it is shown as wide as there is room.
const WIDTH: f64 = 400.0;
const LEFT: f64 = 22.0;
const RIGHT: f64 = WIDTH - 26.0;
/// A row's: the name, and the bar under it.
const ROW: f64 = 38.0;
const TOP: f64 = 6.0;

/// Figures that differ by more than this would leave a short bar invisible beside a long one.
const FAR_APART: f64 = 20.0;

/// The whole figure, if the table has a column to be drawn.
pub fn figure(table: &Table) -> Option<Markup> {
    let column = table.bars?;
    let name = table.header.get(column)?;
    let bars: Vec<(String, Figure)> = table
        .rows
        .iter()
        .filter_map(|row| bar(row, column))
        .collect();
    let medians = bars.iter().map(|(_, figure)| figure.interval.median);
    let least = medians.clone().reduce(f64::min)?;
    let most = medians.reduce(f64::max)?;
    let axis = Axis {
        logarithmic: least > 0.0 && most / least > FAR_APART,
        ..Axis::linear(name, bars.first()?.1.unit)
    };
    let values = bars
        .iter()
        .flat_map(|(_, figure)| [figure.interval.low, figure.interval.high]);
    // From zero; where there is none, from so far below that the shortest bar is a bar too.
    let scale = Scale::over(
        &axis,
        values.chain([if axis.logarithmic { least / 2.0 } else { 0.0 }]),
    )?;
    let bottom = TOP + ROW * bars.len() as f64 + 4.0;
    let across = |value| Some(LEFT + scale.place(value)? * (RIGHT - LEFT));
    Some(html! {
        figure {
            figcaption { (table.title.trim_end_matches(':')) }
            svg role="img" aria-label={ (table.title) " " (name) } viewBox={ "0 0 " (WIDTH) " " (bottom + 38.0) } {
                title { (table.title) " " (name) }
                @for (place, label) in scale.ticks() {
                    @let x = LEFT + place * (RIGHT - LEFT);
                    line.grid x1=(px(x)) x2=(px(x)) y1=(TOP) y2=(bottom) {}
                    text.tick.middle x=(px(x)) y=(bottom + 14.0) { (label) }
                }
                @for (number, (name, figure)) in bars.iter().enumerate() {
                    @let y = TOP + ROW * number as f64;
                    g.bar {
                        title { (name) ": " (figure.to_string()) }
                        text x=(LEFT + 4.0) y=(y + 14.0) { (name) }
                        @if let Some(end) = across(figure.interval.median) {
                            rect x=(LEFT) y=(y + 19.0) width=(px(end - LEFT)) height="14" {}
                        }
                        @if let (Some(low), Some(high)) = (across(figure.interval.low), across(figure.interval.high)) {
                            line.interval x1=(px(low)) x2=(px(high)) y1=(y + 26.0) y2=(y + 26.0) {}
                        }
                    }
                }
                text.label.end x=(RIGHT) y=(bottom + 32.0) { (axis.name()) }
            }
        }
    })
}

/// What stands to the left of the figure is its name.
fn bar(row: &[Cell], column: usize) -> Option<(String, Figure)> {
    let names = row.iter().take(column).filter_map(|cell| match cell {
        Cell::Text(name) => Some(name.as_str()),
        _ => None,
    });
    match row.get(column)? {
        Cell::Figure(figure) => Some((names.collect::<Vec<_>>().join(", "), *figure)),
        _ => None,
    }
}
