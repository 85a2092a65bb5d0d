//! The report as text.

use comfy_table::{ContentArrangement, presets};
use console::Term;

use super::{Entry, Report};
use crate::finding::{
    figure::{Unit, amount},
    table::{Cell, Table},
};

/// In columns: wider text is harder to read. In a narrower terminal, the text is as wide as that.
const WIDTH: u16 = 100;

/// The first text of a run.
pub fn machine(report: &Report) -> String {
    let machine = &report.machine;
    let mut text = prose(&format!(
        "{} on {} of {}, {}, {}, kernel {} ({}); {} build by {}",
        machine.program,
        machine.cores_in_words(),
        machine.processor,
        amount(machine.memory as f64, Unit::Bytes),
        machine.os,
        machine.kernel,
        machine.architecture,
        machine.profile,
        machine.rustc
    ));
    for caveat in machine.caveats() {
        text += &format!("\n{}", prose(&caveat));
    }
    text
}

/// One experiment: the claim, what was measured, the verdict.
pub fn entry(entry: &Entry) -> String {
    let claim = prose(&format!("{}: {}", entry.name, entry.claim));
    let mut text = format!("\n{claim}\n");
    for table in &entry.finding.tables {
        text += &format!("{}\n{}\n", prose(&table.title), drawn(table));
        if let Some(samples) = table.samples() {
            text += &(prose(&samples) + "\n");
        }
    }
    for what in &entry.finding.left_out {
        text += &(prose(&format!("Left out: {what}")) + "\n");
    }
    let verdict = entry.finding.verdict.word().to_uppercase();
    text + &prose(&format!("{verdict}: {}.", entry.finding.reason))
}

/// The last text of a run.
pub fn ledger(report: &Report) -> String {
    let mut ledger = empty_table();
    ledger.set_header(["experiment", "claim", "verdict", "figure"]);
    for entry in &report.experiments {
        ledger.add_row([
            &entry.name,
            &entry.claim,
            entry.finding.verdict.word(),
            &entry.finding.headline,
        ]);
    }
    format!("\nThe ledger, after {:.1} s:\n{ledger}", report.seconds)
}

fn drawn(table: &Table) -> comfy_table::Table {
    let mut drawn = empty_table();
    drawn.set_header(&table.header);
    for row in &table.rows {
        drawn.add_row(row.iter().map(cell));
    }
    drawn
}

pub fn empty_table() -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table
        .load_style(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(terminal_width().unwrap_or(WIDTH));
    table
}

/// The text, wrapped between words if stdout is a terminal. In a file or a pipe, a sentence stays
/// on one line, so that a search finds it.
pub fn prose(text: &str) -> String {
    match terminal_width() {
        Some(width) => textwrap::fill(text, usize::from(width)),
        None => text.to_owned(),
    }
}

fn terminal_width() -> Option<u16> {
    let (_, columns) = Term::stdout().size_checked()?;
    Some(columns.min(WIDTH))
}

fn cell(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) | Cell::Outcome { text, .. } => text.clone(),
        Cell::Figure(figure) => figure.to_string(),
    }
}
