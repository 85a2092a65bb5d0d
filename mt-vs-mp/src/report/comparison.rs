//! Two runs side by side: two machines, two systems, or before and after a change.

use std::{fs, path::Path};

use anyhow::{Context, ensure};
use serde_json::Value;

use super::{
    Entry, FORMAT, Report,
    terminal::{empty_table, prose},
};
use crate::{
    finding::{
        figure::{Figure, Unit, amount},
        table::{Cell, Table},
    },
    output::say,
};

/// Prints both runs: first the verdicts, then each figure that both have, with its ratio.
pub fn show(first: &Path, second: &Path) -> anyhow::Result<u8> {
    let (a, b) = (read(first)?, read(second)?);
    say!("{}", text(&a, &b))?;
    Ok(0)
}

fn read(path: &Path) -> anyhow::Result<Report> {
    let name = path.display();
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
    let report: Value =
        serde_json::from_str(&text).with_context(|| format!("{name} is no JSON file"))?;
    let format = report.get("format").and_then(Value::as_u64);
    let format = format.with_context(|| format!("{name} is no report of mt-vs-mp"))?;
    ensure!(
        format == u64::from(FORMAT),
        "{name} has format {format}, and only format {FORMAT} can be compared: run the laboratory again"
    );
    serde_json::from_value(report).with_context(|| format!("{name} is no whole report"))
}

fn text(a: &Report, b: &Report) -> String {
    let mut parts = vec![run("A", a), run("B", b)];
    if a.mode != b.mode {
        parts.push("The runs differ in mode: they did not measure quite the same.".to_owned());
    }
    let in_b = |name: &str| b.experiments.iter().find(|it| it.name == name);
    let both = a
        .experiments
        .iter()
        .filter_map(|it| Some((it, in_b(&it.name)?)));
    let both: Vec<(&Entry, &Entry)> = both.collect();
    parts.push(verdicts(&both));
    parts.extend(both.iter().filter_map(|(a, b)| figures(a, b)));
    parts.join("\n")
}

fn run(name: &str, report: &Report) -> String {
    let machine = &report.machine;
    prose(&format!(
        "{name}: {}, a {} run of {} workers on {} of {}, kernel {}, {} build",
        report.date,
        report.mode.name(),
        report.workers,
        machine.cores_in_words(),
        machine.processor,
        machine.kernel,
        machine.profile
    ))
}

/// The verdicts that differ come first.
fn verdicts(both: &[(&Entry, &Entry)]) -> String {
    let differ = |(a, b): &&(&Entry, &Entry)| a.finding.verdict != b.finding.verdict;
    let (different, same): (Vec<_>, Vec<_>) = both.iter().partition(differ);
    let mut table = empty_table();
    table.set_header(["experiment", "A", "B", ""]);
    for (pairs, mark) in [(&different, "differs"), (&same, "")] {
        for (a, b) in pairs {
            let [of_a, of_b] = [a, b].map(|entry| entry.finding.verdict.word());
            table.add_row([&a.name, of_a, of_b, mark]);
        }
    }
    let (number, all) = (different.len(), both.len());
    format!("\nVerdicts: {number} of {all} differ.\n{table}")
}

/// Every figure of the tables that both runs have, row by row. The texts of a row identify it.
fn figures(a: &Entry, b: &Entry) -> Option<String> {
    let mut table = empty_table();
    table.set_header([&a.name, "A", "B", "B / A"]);
    for of_a in &a.finding.tables {
        let same = |of_b: &&Table| of_b.title == of_a.title && of_b.header == of_a.header;
        let Some(of_b) = b.finding.tables.iter().find(same) else {
            continue;
        };
        for row in &of_a.rows {
            let Some(other) = of_b.rows.iter().find(|other| name(other) == name(row)) else {
                continue;
            };
            for (column, cells) in of_a.header.iter().zip(row.iter().zip(other)) {
                if let (Cell::Figure(a), Cell::Figure(b)) = cells {
                    let what = format!("{}: {column}", name(row));
                    table.add_row([what, a.to_string(), b.to_string(), ratio(a, b)]);
                }
            }
        }
    }
    (!table.is_empty()).then(|| format!("\n{table}"))
}

fn name(row: &[Cell]) -> String {
    let texts = row.iter().filter_map(|cell| match cell {
        Cell::Text(text) => Some(text.as_str()),
        _ => None,
    });
    texts.collect::<Vec<_>>().join(", ")
}

/// The quotient of the medians, marked if the two intervals do not overlap.
fn ratio(a: &Figure, b: &Figure) -> String {
    let ratio = amount(b.interval.median / a.interval.median, Unit::Ratio);
    match (a.interval.ends(), b.interval.ends()) {
        (Some([low_a, high_a]), Some([low_b, high_b])) if high_a < low_b || high_b < low_a => {
            format!("{ratio} *")
        }
        _ => ratio,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{finding::verdict::Verdict, report::made_up};

    #[test]
    fn verdicts_that_differ_stand_on_top_and_figures_have_their_ratio() {
        let (a, mut b) = (made_up::report(), made_up::report());
        b.experiments[1].finding.verdict = Verdict::Fails;
        let Cell::Figure(time) = &mut b.experiments[0].finding.tables[0].rows[1][1] else {
            panic!("it is a figure");
        };
        for value in [
            &mut time.interval.median,
            &mut time.interval.low,
            &mut time.interval.high,
        ] {
            *value *= 2.0;
        }
        let text = text(&a, &b);
        assert!(text.contains("Verdicts: 1 of 5 differ."), "{text}");
        let line = |with| text.lines().position(|line| line.contains(with));
        assert!(line("matrix") < line("dots"), "{text}");
        let row = text.lines().find(|line| line.contains("fork & wait: time"));
        assert!(row.is_some_and(|row| row.contains("2.00 × *")), "{text}");
        let row = text.lines().find(|line| line.contains("thread: time"));
        assert!(row.is_some_and(|row| row.contains("1.00 × ")), "{text}");
    }

    /// In one line, however wide the terminal is that shows it.
    fn in_one_line(text: &str) -> String {
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_runs_are_introduced_and_a_difference_in_mode_is_said() {
        let (a, mut b) = (made_up::report(), made_up::report());
        let same = in_one_line(&text(&a, &b));
        assert!(!same.contains("differ in mode"), "{same}");
        b.mode = crate::lab::Mode::Full;
        b.workers = 7;
        b.machine.cores = 1;
        let text = in_one_line(&text(&a, &b));
        let first = "A: 2026-01-02T03:04:05Z, a default run of 2 workers on 2 cores of A processor & more, \
                     kernel 6.1, release build B: ";
        assert!(text.starts_with(first), "{text}");
        assert!(
            text.contains("a full run of 7 workers on 1 core of"),
            "{text}"
        );
        assert!(text.contains("differ in mode"), "{text}");
    }

    #[test]
    fn only_the_same_columns_of_the_same_table_are_compared() {
        let compared = |change: fn(&mut Table)| {
            let (a, mut b) = (made_up::report(), made_up::report());
            change(&mut b.experiments[0].finding.tables[0]);
            figures(&a.experiments[0], &b.experiments[0]).is_some()
        };
        assert!(compared(|_| ()));
        assert!(!compared(|table| table.title.push('!')));
        assert!(!compared(|table| table.header[1].push('!')));
        assert!(!compared(|table| table.rows.clear()));
        assert!(compared(|table| table.rows.truncate(1)));
    }

    #[test]
    fn an_experiment_of_one_run_alone_is_not_compared() {
        let (a, mut b) = (made_up::report(), made_up::report());
        b.experiments.remove(1);
        b.experiments[1].finding.verdict = Verdict::Unclear;
        let text = text(&a, &b);
        assert!(text.contains("Verdicts: 1 of 4 differ."), "{text}");
        assert!(!text.contains("matrix"), "{text}");
        let row = text.lines().find(|line| line.contains("lines"));
        let differs = ["fails", "unclear", "differs"];
        assert!(
            row.is_some_and(|row| differs.iter().all(|word| row.contains(word))),
            "{text}"
        );
        assert_eq!(text.matches("differs").count(), 1, "{text}");
    }

    #[test]
    fn a_ratio_is_marked_where_the_intervals_do_not_overlap() {
        let figure = |samples: [f64; 6]| {
            let interval = crate::finding::interval::Interval::of(&samples);
            Figure::new(interval, Unit::Seconds)
        };
        let (low, high) = (figure([1.0; 6]), figure([2.0; 6]));
        let wide = figure([0.5, 1.0, 1.0, 2.0, 3.0, 4.0]);
        assert_eq!(ratio(&low, &high), "2.00 × *");
        assert_eq!(ratio(&high, &low), "0.50 × *");
        assert_eq!(ratio(&low, &low), "1.00 ×");
        assert_eq!(ratio(&wide, &high), "1.33 ×");
        // They touch in one value: 2.
        let (below, above) = (figure([1.0, 1.0, 1.0, 1.0, 2.0, 2.0]), figure([2.0; 6]));
        assert_eq!(ratio(&below, &above), "2.00 ×");
        assert_eq!(ratio(&above, &below), "0.50 ×");
    }

    #[test]
    fn a_file_of_another_format_is_refused() {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let refused = |text: &str| {
            let path = folder.path().join("report.json");
            fs::write(&path, text).expect("it can be written");
            format!("{:#}", read(&path).expect_err("it is refused"))
        };
        assert!(refused("{\"format\": 1}").contains("has format 1, and only format 2"));
        assert!(refused("{}").contains("is no report of mt-vs-mp"));
        assert!(refused("banana").contains("is no JSON file"));
        assert!(refused("{\"format\": 2}").contains("is no whole report"));
    }
}
