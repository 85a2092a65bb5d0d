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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{finding::verdict::Verdict, report::made_up};

    /// In one line, however wide the terminal is that shows it.
    fn in_one_line(text: &str) -> String {
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_machine_and_what_makes_its_figures_worse_come_first() {
        let mut report = made_up::report();
        assert_eq!(
            in_one_line(&machine(&report)),
            "mt-vs-mp 0.1.0 on 2 cores of A processor & more, 8.00 GiB, An <OS>, kernel 6.1 (x86_64); \
             release build by rustc 1.95.0"
        );
        report.machine.profile = "debug".to_owned();
        let text = in_one_line(&machine(&report));
        assert!(
            text.contains("rustc 1.95.0 This is a debug build"),
            "{text}"
        );
    }

    #[test]
    fn an_experiment_has_its_claim_its_figures_what_was_left_out_and_its_verdict() {
        let report = made_up::report();
        let text = |name: &str| {
            let found = report.experiments.iter().find(|it| it.name == name);
            in_one_line(&entry(found.expect("it is there")))
        };
        let dots = text("dots");
        assert!(dots.starts_with("dots: The claim of dots is"), "{dots}");
        for part in [
            "One after the other:",
            "│ fork & wait ┆ 180 µs [162 µs, 216 µs] ┆ 7.20 × [6.48, 8.64] │",
            "Median [95% interval] of 12 samples.",
        ] {
            assert!(dots.contains(part), "{dots}");
        }
        assert!(dots.ends_with("HOLDS: because 1 < 2."), "{dots}");
        assert!(!dots.contains("Left out"), "{dots}");
        let absent = text("absent");
        let left_out = "Left out: 4 GiB: there is too little <memory> NOT MEASURED: ";
        assert!(absent.contains(left_out), "{absent}");
    }

    #[test]
    fn the_ledger_has_a_row_for_each_experiment() {
        let report = made_up::report();
        let text = ledger(&report);
        assert!(text.contains("The ledger, after 33.5 s:"), "{text}");
        for entry in &report.experiments {
            let row = text.lines().find(|line| line.contains(&entry.name));
            let row = row.expect("it has a row");
            // The last two words stand in two lines if the terminal is narrow.
            let word = entry.finding.verdict.word();
            assert!(
                row.contains(word) || word == Verdict::NotMeasured.word(),
                "{text}"
            );
        }
    }
}
