//! The timeline: which worker ran which task, and when. It has a row for each worker, and a bar for
//! each task.
//!
//! The workers are different processes, so their times must come from the same clock. An `Instant`
//! has a meaning only in its own process. So the beginning of a task is a `SystemTime`, the time of
//! the system's clock. But this clock can be set while a task runs, so the task's duration is
//! measured by an `Instant`.

use std::{
    collections::BTreeMap,
    io,
    time::{Duration, Instant, SystemTime},
};

use serde::{Deserialize, Serialize};
use terminal_size::{Width, terminal_size_of};

use crate::{output::say, task::WorkerId};

/// When a task ran, and in which worker.
#[derive(Serialize, Deserialize)]
pub struct Bar {
    pub worker: String,
    pub task: u32,
    pub began: SystemTime,
    pub took: Duration,
}

impl Bar {
    /// Does a task's work, and returns when and in which worker it was done.
    pub fn of(task: u32, worker: WorkerId, work: impl FnOnce()) -> Self {
        let (began, start) = (SystemTime::now(), Instant::now());
        work();
        Self {
            worker: worker.to_string(),
            task,
            began,
            took: start.elapsed(),
        }
    }
}

/// Prints the timeline, as wide as the terminal. If stdout is no terminal, it is 80 columns wide.
pub fn draw(bars: &[Bar]) -> anyhow::Result<()> {
    let width = terminal_size_of(io::stdout()).map_or(80, |(Width(columns), _)| columns);
    rows(bars, width.into())
        .iter()
        .try_for_each(|row| say!("{row}"))
}

/// The lines of the timeline: a scale, and then a row for each worker.
fn rows(bars: &[Bar], width: usize) -> Vec<String> {
    let Some(first) = bars.iter().map(|bar| bar.began).min() else {
        return Vec::new();
    };
    // How long after the first bar a bar begins. (`duration_since` is an error only for a time that
    // is before `first`, and there is none.)
    let begin = |bar: &Bar| bar.began.duration_since(first).unwrap_or_default();
    let end = bars.iter().map(|bar| begin(bar) + bar.took).max();
    let end = end.unwrap_or_default().as_secs_f64();

    let names = bars.iter().map(|bar| bar.worker.len()).max().unwrap_or(0);
    let columns = width.saturating_sub(names + 1).max(20);
    // If no task took any time, this divides 0 by 0. The result, NaN, becomes column 0.
    let column = |time: Duration| (time.as_secs_f64() / end * columns as f64) as usize;

    let mut rows = BTreeMap::new();
    for bar in bars {
        let row = rows.entry(&bar.worker);
        let row = row.or_insert_with(|| vec![' '; columns]);
        let mut from = column(begin(bar)).min(columns - 1);
        if row[from] != ' ' && from + 1 < columns {
            // The bar before this one ends here. Its end stays visible.
            from += 1;
        }
        // Even the shortest bar has one column.
        let to = column(begin(bar) + bar.took).clamp(from + 1, columns);
        row[from..to].copy_from_slice(&draw_bar(bar.task, to - from));
    }
    // `:>1$` aligns to the right, and takes the width from argument 1.
    let scale = format!("0{:>1$}", format!("{end:.2} s"), columns - 1);
    let scale = format!("{:names$} {scale}", "");
    let row = |(worker, row): (&String, Vec<char>)| {
        let row = String::from_iter(row);
        format!("{worker:>names$} {}", row.trim_end())
    };
    [scale]
        .into_iter()
        .chain(rows.into_iter().map(row))
        .collect()
}

/// A bar of a given length. It begins with the task's number, if there is room for it.
fn draw_bar(task: u32, length: usize) -> Vec<char> {
    let number = task.to_string();
    let number = if number.len() < length { &number } else { "" };
    let line = "━".repeat(length - number.len() - 1);
    format!("{number}{line}╸").chars().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(worker: &str, task: u32, began: u64, took: u64) -> Bar {
        Bar {
            worker: worker.to_owned(),
            task,
            began: SystemTime::UNIX_EPOCH + Duration::from_secs(began),
            took: Duration::from_secs(took),
        }
    }

    #[test]
    fn a_task_that_waited_begins_where_another_ended() {
        let bars = [
            bar("11", 0, 100, 5),
            bar("9", 1, 100, 20),
            bar("11", 2, 105, 10),
        ];
        assert_eq!(
            rows(&bars, 43),
            [
                "   0                                20.00 s",
                "11 0━━━━━━━━╸2━━━━━━━━━━━━━━━━━━╸",
                " 9 1━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╸",
            ]
        );
    }

    #[test]
    fn no_tasks_make_no_timeline() {
        assert_eq!(rows(&[], 80), [""; 0]);
    }

    #[test]
    fn tasks_that_take_no_time_are_seen() {
        assert_eq!(rows(&[bar("1", 0, 7, 0)], 30)[1], "1 ╸");
    }

    #[test]
    fn a_task_at_the_very_end_is_in_the_last_column() {
        let bars = [bar("1", 0, 0, 9), bar("2", 1, 9, 0)];
        let rows = rows(&bars, 30);
        assert_eq!(rows[2].chars().count(), 30, "{rows:#?}");
    }

    #[test]
    fn a_task_that_begins_in_the_column_of_the_last_one_is_drawn_beside_it() {
        let bars = [bar("1", 0, 0, 0), bar("1", 1, 0, 9)];
        assert!(rows(&bars, 30)[1].starts_with("1 ╸1━━━"));
    }

    #[test]
    fn no_row_is_wider_than_the_terminal_unless_that_is_absurd() {
        let bars: Vec<Bar> = (0..500).map(|n| bar("1234567", n, n.into(), 1)).collect();
        for width in 28..200 {
            for row in rows(&bars, width) {
                assert!(row.chars().count() <= width, "{width}: {row}");
            }
        }
        assert!(rows(&bars, 0)[1].chars().count() < 40);
    }
}
