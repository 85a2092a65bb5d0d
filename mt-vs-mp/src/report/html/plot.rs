//! A plot as SVG: its lines, the interval of each point, and what each line is.
//!
//! Written by hand and not by a plotting library, because those write their colours into the
//! picture: here classes stand, and the style sheet gives them a colour for light and for dark.

use maud::{Markup, html};

use super::axis::Scale;
use crate::finding::{
    figure::{Figure, amount},
    plot::{Line, Plot, Point},
};

/// The picture's size and its margins, in its own units: it is shown as wide as there is room.
const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 270.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = WIDTH - 26.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = HEIGHT - 42.0;

/// Colour is never the only sign: each line has a mark of its own shape.
const MARKS: [&str; 4] = [
    "M-3.6,0a3.6,3.6 0 1,0 7.2,0a3.6,3.6 0 1,0 -7.2,0z",
    "M-3.2,-3.2h6.4v6.4h-6.4z",
    "M0,-4.4l4.2,7.4h-8.4z",
    "M0,-4.8l4.8,4.8l-4.8,4.8l-4.8,-4.8z",
];

/// As many colours as the style sheet has.
const COLOURS: usize = 6;

/// The whole figure: title, picture, legend.
pub fn figure(plot: &Plot) -> Markup {
    let measured = plot.lines.iter().filter(|line| line.is_measured());
    let values = measured.flat_map(|line| &line.points);
    let x = Scale::over(&plot.x, values.clone().map(|point| point.x));
    let y = values.flat_map(|point| [point.y.low, point.y.median, point.y.high]);
    // Lengths from zero can be compared by eye.
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
            @let lost = picture.without_a_place();
            @if lost > 0 {
                p.note { (lost) " values at or below zero have no place on a logarithmic axis." }
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
        Some(LEFT + self.x.place(x)? * (RIGHT - LEFT))
    }

    fn down(&self, y: f64) -> Option<f64> {
        Some(BOTTOM - self.y.place(y)? * (BOTTOM - TOP))
    }

    fn position(&self, point: &Point) -> Option<(f64, f64)> {
        Some((self.across(point.x)?, self.down(point.y.median)?))
    }

    fn without_a_place(&self) -> usize {
        let points = self.plot.lines.iter().flat_map(|line| &line.points);
        points
            .filter(|point| self.position(point).is_none())
            .count()
    }

    /// The grid, and what is written beside it.
    fn frame(&self) -> Markup {
        html! {
            @for (place, label) in self.y.ticks() {
                @let y = BOTTOM - place * (BOTTOM - TOP);
                line.grid x1=(LEFT) x2=(RIGHT) y1=(px(y)) y2=(px(y)) {}
                text.tick.end x=(LEFT - 7.0) y=(px(y + 4.0)) { (label) }
            }
            @for (place, label) in self.x.ticks() {
                @let x = LEFT + place * (RIGHT - LEFT);
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
                            @if let (Some(low), Some(high)) =
                                (self.down(point.y.low), self.down(point.y.high)) {
                                line.interval x1=(px(x)) x2=(px(x)) y1=(px(low)) y2=(px(high)) {}
                            }
                            path.mark d=(mark(number)) transform={ "translate(" (px(x)) " " (px(y)) ")" } {}
                        }
                    }
                }
            }
        }
    }

    /// What the measured lines are compared with. It may leave the picture, so a picture within the
    /// picture cuts it off.
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
        let places = line.points.iter().filter_map(|point| self.position(point));
        let places = places.map(|(x, y)| format!("{},{}", px(x), px(y)));
        format!("M{}", places.collect::<Vec<_>>().join("L"))
    }

    /// What one learns by pointing at a point.
    fn words(&self, line: &Line, point: &Point) -> String {
        let (at, x) = (amount(point.x, self.plot.x.unit), &self.plot.x.label);
        let y = Figure::new(point.y, self.plot.y.unit);
        format!("{}, {x} {at}: {y}, {} samples", line.name, point.y.samples)
    }
}

/// Text and not part of the picture, so that it wraps.
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

/// A tenth of a unit is finer than any screen.
pub fn px(place: f64) -> String {
    format!("{place:.1}")
}
