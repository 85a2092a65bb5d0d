//! A table, in a frame that scrolls if the table is wider than the page.

use maud::{Markup, html};

use crate::finding::table::{Cell, Table};

pub fn framed(table: &Table) -> Markup {
    html! {
        // With `tabindex`, the keyboard can reach the frame and scroll it.
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
        Cell::Figure(figure) => html! {
            span.median title={ (figure.interval.samples) " samples" } { (figure.median()) }
            @if let Some(range) = figure.range() {
                " "
                span.range { (range) }
            }
        },
        Cell::Outcome { text, good } => html! {
            span.outcome.good[*good].bad[!good] {
                span.sign { (if *good { "✓" } else { "✗" }) }
                span { (text) }
            }
        },
    }
}

/// The class of a column: one of numbers only is aligned to the right.
fn class(table: &Table, column: usize) -> Option<&'static str> {
    let mut cells = table.rows.iter().filter_map(|row| row.get(column));
    let number = |cell: &Cell| match cell {
        Cell::Text(text) => text.parse::<f64>().is_ok(),
        Cell::Figure(_) => true,
        Cell::Outcome { .. } => false,
    };
    cells.all(number).then_some("number")
}
