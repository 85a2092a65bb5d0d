//! A column of a table as dots: one to a row, with the interval as a line through it.
//!
//! Dots and not bars: the figures of one column may differ a thousandfold and then need a
//! logarithmic axis, which has no zero for a bar to begin at.

use maud::{Markup, html};

use super::{axis::Scale, plot::px};
use crate::finding::{
    figure::Figure,
    plot::Axis,
    table::{Cell, Table},
};

/// In the picture's own units: it is shown as wide as there is room.
const WIDTH: f64 = 400.0;
const LEFT: f64 = 22.0;
const RIGHT: f64 = WIDTH - 26.0;
/// A row's: the name, and the dot under it.
const ROW: f64 = 34.0;
const TOP: f64 = 6.0;

/// Figures that differ by more than this would leave the small ones side by side.
const FAR_APART: f64 = 10.0;

/// The whole figure, if the table has a column to be drawn.
pub fn figure(table: &Table) -> Option<Markup> {
    let column = table.dots?;
    let rows = table.rows.iter().filter_map(|row| dot(row, column));
    let rows: Vec<(String, Figure)> = rows.collect();
    let medians = rows.iter().map(|(_, figure)| figure.interval.median);
    let least = medians.clone().reduce(f64::min)?;
    let most = medians.reduce(f64::max)?;
    let axis = Axis {
        logarithmic: least > 0.0 && most / least > FAR_APART,
        ..Axis::linear(table.header.get(column)?, rows.first()?.1.unit)
    };
    let ends = rows.iter().flat_map(|(_, figure)| {
        let interval = figure.interval;
        [interval.low, interval.median, interval.high]
    });
    // From zero, if the axis has one.
    let scale = Scale::over(&axis, ends.chain([0.0]))?;
    let across = |value| Some(px(LEFT + scale.place(value)? * (RIGHT - LEFT)));
    let bottom = TOP + ROW * rows.len() as f64 + 4.0;
    Some(html! {
        figure {
            figcaption { (table.title.trim_end_matches(':')) }
            svg role="img" aria-label={ (table.title) " " (axis.label) } viewBox={ "0 0 " (WIDTH) " " (bottom + 38.0) } {
                title { (table.title) " " (axis.label) }
                @for (place, label) in scale.ticks() {
                    @let x = LEFT + place * (RIGHT - LEFT);
                    line.grid x1=(px(x)) x2=(px(x)) y1=(TOP) y2=(bottom) {}
                    text.tick.middle x=(px(x)) y=(bottom + 14.0) { (label) }
                }
                @for (number, (name, figure)) in rows.iter().enumerate() {
                    @let y = TOP + ROW * number as f64;
                    g.dot.colour-0 {
                        title { (name) ": " (figure.to_string()) }
                        text x=(LEFT + 4.0) y=(y + 12.0) { (name) }
                        @if let (Some(low), Some(high)) = (across(figure.interval.low), across(figure.interval.high)) {
                            line.interval x1=(low) x2=(high) y1=(y + 22.0) y2=(y + 22.0) {}
                        }
                        @if let Some(median) = across(figure.interval.median) {
                            circle.mark cx=(median) cy=(y + 22.0) r="4.2" {}
                        }
                    }
                }
                text.label.end x=(RIGHT) y=(bottom + 32.0) { (axis.name()) }
            }
        }
    })
}

/// What stands to the left of the figure is its name.
fn dot(row: &[Cell], column: usize) -> Option<(String, Figure)> {
    let names = row.iter().take(column).filter_map(|cell| match cell {
        Cell::Text(name) => Some(name.as_str()),
        _ => None,
    });
    match row.get(column)? {
        Cell::Figure(figure) => Some((names.collect::<Vec<_>>().join(", "), *figure)),
        _ => None,
    }
}
