//! The report as one page that needs nothing else.

use super::{Report, terminal};

/// The whole page.
pub fn page(report: &Report) -> String {
    let mut text = terminal::machine(report);
    for entry in &report.experiments {
        text += &terminal::entry(entry);
    }
    text += &terminal::ledger(report);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Threads and processes, measured</title>\n<pre>{}</pre>\n</html>\n",
        escape(&text)
    )
}

/// Text in which nothing is taken for a tag.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
