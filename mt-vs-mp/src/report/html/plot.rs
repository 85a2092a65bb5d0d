//! A plot as SVG: its lines, the interval of each point, and a legend.
//!
//! It uses no plotting library, because these write colours into the picture. Here, the picture
//! holds names of classes, and the style sheet gives each class a colour, for light and for dark.

use maud::{Markup, html};

use super::axis::{Scale, shown};
use crate::finding::{
    figure::{Figure, amount},
    plot::{Line, Plot, Point},
};

/// The picture's size and its margins, in its own units. The page scales the picture to the width
/// that it has.
const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 270.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = WIDTH - 26.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = HEIGHT - 42.0;

/// Lines differ by colour and by the shape of their marks.
const MARKS: [&str; 4] = [
    "M-3.6,0a3.6,3.6 0 1,0 7.2,0a3.6,3.6 0 1,0 -7.2,0z",
    "M-3.2,-3.2h6.4v6.4h-6.4z",
    "M0,-4.4l4.2,7.4h-8.4z",
    "M0,-4.8l4.8,4.8l-4.8,4.8l-4.8,-4.8z",
];

/// The number of colours in the style sheet.
const COLOURS: usize = 6;

/// The picture with its title and its legend.
pub fn figure(plot: &Plot) -> Markup {
    let measured = plot.lines.iter().filter(|line| line.is_measured());
    let values = measured.flat_map(|line| &line.points);
    let x = Scale::over(&plot.x, values.clone().map(|point| point.x));
    let y = values.flat_map(|point| shown(point.y));
    // From zero, if the axis is linear: then heights can be compared by eye.
    let y = Scale::over(&plot.y, y.chain([0.0]));
    let (Some(x), Some(y)) = (x, y) else {
        return html! { p.note { (plot.title) ": there is nothing to draw." } };
    };
    let picture = Picture { plot, x, y };
    html! {
        figure {
            figcaption { (plot.title) }
            svg role="img" aria-label=(plot.title) viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } {
                title { (plot.title) }
                (picture.frame())
                @for (number, line) in plot.lines.iter().enumerate() {
                    @if line.is_measured() { (picture.line(number, line)) }
                    @else { (picture.reference(line)) }
                }
            }
            (legend(plot))
            @let missing = picture.points_without_position();
            @if missing > 0 {
                p.note { (missing) " values at or below zero have no place on a logarithmic axis." }
            }
        }
    }
}

struct Picture<'a> {
    plot: &'a Plot,
    x: Scale,
    y: Scale,
}

impl Picture<'_> {
    fn across(&self, x: f64) -> Option<f64> {
        Some(LEFT + self.x.position(x)? * (RIGHT - LEFT))
    }

    fn down(&self, y: f64) -> Option<f64> {
        Some(BOTTOM - self.y.position(y)? * (BOTTOM - TOP))
    }

    fn position(&self, point: &Point) -> Option<(f64, f64)> {
        Some((self.across(point.x)?, self.down(point.y.median)?))
    }

    /// The lower and the upper end of the point's interval, if it has one.
    fn ends(&self, point: &Point) -> Option<(f64, f64)> {
        let [low, high] = point.y.ends()?;
        Some((self.down(low)?, self.down(high)?))
    }

    fn points_without_position(&self) -> usize {
        let points = self.plot.lines.iter().flat_map(|line| &line.points);
        points
            .filter(|point| self.position(point).is_none())
            .count()
    }

    /// The grid, and the values and labels beside it.
    fn frame(&self) -> Markup {
        html! {
            @for (position, label) in self.y.ticks() {
                @let y = BOTTOM - position * (BOTTOM - TOP);
                line.grid x1=(LEFT) x2=(RIGHT) y1=(px(y)) y2=(px(y)) {}
                text.tick.end x=(LEFT - 7.0) y=(px(y + 4.0)) { (label) }
            }
            @for (position, label) in self.x.ticks() {
                @let x = LEFT + position * (RIGHT - LEFT);
                line.grid x1=(px(x)) x2=(px(x)) y1=(BOTTOM) y2=(BOTTOM + 4.0) {}
                text.tick.middle x=(px(x)) y=(BOTTOM + 17.0) { (label) }
            }
            text.label x="0" y="13" { (self.plot.y.name()) }
            text.label.end x=(RIGHT) y=(HEIGHT - 5.0) { (self.plot.x.name()) }
        }
    }

    fn line(&self, number: usize, line: &Line) -> Markup {
        html! {
            g class=(class(number)) {
                path.line d=(self.path(line)) {}
                @for point in &line.points {
                    @if let Some((x, y)) = self.position(point) {
                        g.point {
                            title { (self.words(line, point)) }
                            @if let Some((low, high)) = self.ends(point) {
                                line.interval x1=(px(x)) x2=(px(x)) y1=(px(low)) y2=(px(high)) {}
                            }
                            path.mark d=(mark(number)) transform={ "translate(" (px(x)) " " (px(y)) ")" } {}
                        }
                    }
                }
            }
        }
    }

    /// A line for comparison. It may be longer than the axes, so it is drawn in an inner picture,
    /// which cuts it off.
    fn reference(&self, line: &Line) -> Markup {
        let (width, height) = (RIGHT - LEFT, BOTTOM - TOP);
        html! {
            svg x=(LEFT) y=(TOP) width=(width) height=(height)
                viewBox={ (LEFT) " " (TOP) " " (width) " " (height) } {
                path.reference d=(self.path(line)) { title { (line.name) } }
            }
        }
    }

    fn path(&self, line: &Line) -> String {
        let positions = line.points.iter().filter_map(|point| self.position(point));
        let positions = positions.map(|(x, y)| format!("{},{}", px(x), px(y)));
        format!("M{}", positions.collect::<Vec<_>>().join("L"))
    }

    /// The text that a browser shows when the mouse is over the point.
    fn words(&self, line: &Line, point: &Point) -> String {
        let (at, x) = (amount(point.x, self.plot.x.unit), &self.plot.x.label);
        let y = Figure::new(point.y, self.plot.y.unit);
        format!("{}, {x} {at}: {y}, {} samples", line.name, point.y.samples)
    }
}

/// It is text outside the picture, so that it wraps.
fn legend(plot: &Plot) -> Markup {
    html! {
        ul.legend {
            @for (number, line) in plot.lines.iter().enumerate() {
                li {
                    svg aria-hidden="true" viewBox="-12 -6 24 12" class=(class(number)) {
                        @if line.is_measured() {
                            path.line d="M-12,0h24" {}
                            path.mark d=(mark(number)) {}
                        } @else {
                            path.reference d="M-12,0h24" {}
                        }
                    }
                    (line.name)
                }
            }
        }
    }
}

fn class(number: usize) -> String {
    format!("colour-{}", number % COLOURS)
}

fn mark(number: usize) -> &'static str {
    MARKS[number % MARKS.len()]
}

/// A coordinate. A tenth of a unit is finer than any screen.
pub fn px(coordinate: f64) -> String {
    format!("{coordinate:.1}")
}
