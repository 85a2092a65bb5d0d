//! A table, in a frame of its own that scrolls when there is no room for it.

use maud::{Markup, html};

use crate::finding::table::{Cell, Table};

pub fn framed(table: &Table) -> Markup {
    html! {
        // Reached by the keyboard too, to be scrolled.
        div.table role="region" tabindex="0" aria-label=(table.title) {
            table {
                caption { span { (table.title) } }
                thead {
                    tr {
                        @for (column, name) in table.header.iter().enumerate() {
                            th scope="col" class=[class(table, column)] { (name) }
                        }
                    }
                }
                tbody { @for row in &table.rows { tr { (cells(table, row)) } } }
            }
        }
        @if let Some(samples) = table.samples() {
            p.note { (samples) }
        }
    }
}

fn cells(table: &Table, row: &[Cell]) -> Markup {
    html! {
        @for (column, cell) in row.iter().enumerate() {
            @if column == 0 {
                th scope="row" class=[class(table, column)] { (content(cell)) }
            } @else {
                td class=[class(table, column)] { (content(cell)) }
            }
        }
    }
}

fn content(cell: &Cell) -> Markup {
    match cell {
        Cell::Text(text) => html! { (text) },
        Cell::Figure(figure) => {
            let (median, interval) = figure.parts();
            html! {
                span.median title={ (figure.interval.samples) " samples" } { (median) }
                " "
                span.range { (interval) }
            }
        }
        Cell::Outcome { text, good } => html! {
            span.outcome.good[*good].bad[!good] {
                span.sign { (if *good { "✓" } else { "✗" }) }
                span { (text) }
            }
        },
    }
}

/// Numbers stand one under the other.
fn class(table: &Table, column: usize) -> Option<&'static str> {
    let mut cells = table.rows.iter().filter_map(|row| row.get(column));
    let number = |cell: &Cell| match cell {
        Cell::Text(text) => text.parse::<f64>().is_ok(),
        Cell::Figure(_) => true,
        Cell::Outcome { .. } => false,
    };
    cells.all(number).then_some("number")
}
