//! A column of a table as dots: one dot for each row, with the interval as a line through it.
//!
//! Bars would need an axis with a zero. The figures of one column may differ by a factor of 1000,
//! and then the axis is logarithmic and has no zero.

use maud::{Markup, html};

use super::{
    axis::{Scale, shown},
    plot::px,
};
use crate::finding::{
    figure::Figure,
    plot::Axis,
    table::{Cell, Table},
};

/// In the picture's own units. The page scales the picture to the width that it has.
const WIDTH: f64 = 400.0;
const LEFT: f64 = 22.0;
const RIGHT: f64 = WIDTH - 26.0;
/// The height of a row: the name, and the dot under it.
const ROW: f64 = 34.0;
const TOP: f64 = 6.0;

/// If figures differ by a larger factor, the axis is logarithmic. On a linear one, the smallest
/// could not be told apart.
const FAR_APART: f64 = 10.0;

/// The picture with its title, if the table has a column that is drawn.
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
    let values = rows.iter().flat_map(|(_, figure)| shown(figure.interval));
    // The axis begins at zero if it is linear.
    let scale = Scale::over(&axis, values.chain([0.0]))?;
    let across = |value| Some(px(LEFT + scale.position(value)? * (RIGHT - LEFT)));
    let ends = |figure: &Figure| {
        let [low, high] = figure.interval.ends()?;
        Some((across(low)?, across(high)?))
    };
    let bottom = TOP + ROW * rows.len() as f64 + 4.0;
    Some(html! {
        figure {
            figcaption { (table.title.trim_end_matches(':')) }
            svg role="img" aria-label={ (table.title) " " (axis.label) } viewBox={ "0 0 " (WIDTH) " " (bottom + 38.0) } {
                title { (table.title) " " (axis.label) }
                @for (position, label) in scale.ticks() {
                    @let x = LEFT + position * (RIGHT - LEFT);
                    line.grid x1=(px(x)) x2=(px(x)) y1=(TOP) y2=(bottom) {}
                    text.tick.middle x=(px(x)) y=(bottom + 14.0) { (label) }
                }
                @for (number, (name, figure)) in rows.iter().enumerate() {
                    @let y = TOP + ROW * number as f64;
                    g.dot.colour-0 {
                        title { (name) ": " (figure.to_string()) }
                        text x=(LEFT + 4.0) y=(y + 12.0) { (name) }
                        @if let Some((low, high)) = ends(figure) {
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

/// The name and the figure of a row's dot. The texts to the left of the figure are its name.
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
