//! The report as text.

use comfy_table::{ContentArrangement, presets};

use super::{
    Cell, Entry, Report, Table,
    figure::{Unit, amount},
};

/// As wide as most terminals are made.
const WIDTH: u16 = 100;

/// What the run begins with.
pub fn machine(report: &Report) -> String {
    let machine = &report.machine;
    format!(
        "{} on {} cores, {}, {}, kernel {} ({}); {} build by {}",
        machine.program,
        machine.cores,
        amount(machine.memory as f64, Unit::Bytes),
        machine.os,
        machine.kernel,
        machine.architecture,
        machine.profile,
        machine.rustc
    )
}

/// One experiment: the claim, what was measured, the verdict.
pub fn entry(entry: &Entry) -> String {
    let mut text = format!("\n{}: {}\n", entry.name, entry.claim);
    for of in &entry.finding.tables {
        text += &format!("{}\n{}\n", of.title, table(of));
        text += &samples(of);
    }
    for what in &entry.finding.left_out {
        text += &format!("Left out: {what}\n");
    }
    text + &format!("{}: {}.", entry.verdict.word().to_uppercase(), entry.reason)
}

/// What the run ends with.
pub fn ledger(report: &Report) -> String {
    let mut ledger = empty_table();
    ledger.set_header(["experiment", "claim", "verdict", "figure"]);
    for entry in &report.experiments {
        ledger.add_row([
            &entry.name,
            &entry.claim,
            entry.verdict.word(),
            &entry.finding.headline,
        ]);
    }
    format!("\nThe ledger, after {:.1} s:\n{ledger}", report.seconds)
}

/// How many samples the figures of a table come from.
fn samples(of: &Table) -> String {
    let figures = of.rows.iter().flatten().filter_map(|cell| match cell {
        Cell::Figure(figure) => Some(figure.interval.samples),
        _ => None,
    });
    let (fewest, most) = (figures.clone().min(), figures.max());
    match (fewest, most) {
        (Some(n), Some(most)) if n == most => format!("Median [95% interval] of {n} samples.\n"),
        (Some(n), Some(most)) => format!("Median [95% interval] of {n} to {most} samples.\n"),
        _ => String::new(),
    }
}

fn table(of: &Table) -> comfy_table::Table {
    let mut table = empty_table();
    table.set_header(&of.header);
    for row in &of.rows {
        table.add_row(row.iter().map(cell));
    }
    table
}

fn empty_table() -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table
        .load_style(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH);
    table
}

fn cell(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) | Cell::Outcome { text, .. } => text.clone(),
        Cell::Figure(figure) => figure.to_string(),
    }
}
