//! The report as one page, which needs no network, no script and no other file.

use maud::{DOCTYPE, Markup, PreEscaped, html};

mod axis;
mod dots;
mod plot;
mod table;
#[cfg(test)]
mod tests;

use super::{Entry, Report};
use crate::{
    finding::{
        figure::{Unit, amount},
        verdict::Verdict,
    },
    lab::machine::Machine,
};

const TITLE: &str = "Threads and processes, measured";

/// For light and dark, wide and narrow, screen and paper.
const STYLE: &str = include_str!("html/style.css");

/// The whole page. (All text is escaped by [`html!`].)
pub fn page(report: &Report) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (TITLE) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header { (head(report)) }
                main {
                    (ledger(report))
                    @for entry in &report.experiments { (experiment(entry)) }
                }
                footer { (how_to_read()) }
            }
        }
    };
    page.into_string()
}

/// The run, its date, and its machine.
fn head(report: &Report) -> Markup {
    let machine = &report.machine;
    let [memory, available] =
        [machine.memory, machine.memory_available].map(|bytes| amount(bytes as f64, Unit::Bytes));
    let date = report.date.replace('T', " ").replace('Z', " UTC");
    html! {
        h1 { (TITLE) }
        p {
            "What is said of threads and processes, tried on one machine: a "
            (report.mode.name()) " run of " (report.workers) " workers, "
            time datetime=(report.date) { (date) } ", " (amount(report.seconds, Unit::Seconds)) "."
        }
        @if !report.complete {
            p.warning role="note" {
                strong { "This run is incomplete." }
                " It was interrupted before it got to " (report.missing.join(", ")) "."
            }
        }
        @for caveat in machine.caveats() { p.warning role="note" { (caveat) } }
        dl {
            div { dt { "Machine" } dd { (machine.processor) ", " (machine.cores_in_words()) ", " (memory) " of memory, " (available) " of it available" } }
            div { dt { "System" } dd { (machine.os) ", kernel " (machine.kernel) ", " (machine.architecture) } }
            div { dt { "Conditions" } dd { (conditions(machine)) } }
            div { dt { "Program" } dd { (machine.program) ", " (machine.profile) " build by " (machine.rustc) } }
        }
    }
}

/// What may influence the figures, as far as the system tells.
fn conditions(machine: &Machine) -> String {
    let either = |it: Option<bool>, if_true: &str, if_false: &str| {
        it.map(|it| if it { if_true } else { if_false }.to_owned())
    };
    let load = |load: Option<f64>, when| load.map(|load| format!("load {load:.1} {when}"));
    let known = [
        either(
            machine.is_virtual,
            "a virtual machine",
            "no virtual machine",
        ),
        either(machine.smt, "two threads to a core", "one thread to a core"),
        machine
            .governor
            .as_ref()
            .map(|it| format!("frequency governor {it}")),
        machine
            .huge_pages
            .as_ref()
            .map(|it| format!("huge pages: {it}")),
        machine
            .cpu_quota
            .map(|it| format!("a quota of {it:.2} processors")),
        load(machine.load_before, "before the run"),
        load(machine.load_after, "after it"),
    ];
    let known: Vec<String> = known.into_iter().flatten().collect();
    match known.is_empty() {
        true => "not told by this system".to_owned(),
        false => known.join(", "),
    }
}

/// All claims and their verdicts.
fn ledger(report: &Report) -> Markup {
    html! {
        section aria-labelledby="ledger" {
            h2 #ledger { "The ledger" }
            ol.ledger {
                @for entry in &report.experiments {
                    li {
                        (verdict(entry.finding.verdict))
                        a href={ "#" (entry.name) } { (entry.claim) }
                        span.headline { (unbroken(&entry.finding.headline)) }
                    }
                }
            }
        }
    }
}

/// One claim: the verdict and its reason, the pictures, the tables.
fn experiment(entry: &Entry) -> Markup {
    let finding = &entry.finding;
    html! {
        section #(entry.name) aria-labelledby={ (entry.name) "-claim" } {
            p.name { (entry.name) }
            h2 id={ (entry.name) "-claim" } { (entry.claim) }
            p.judgement { (verdict(finding.verdict)) " " (unbroken(&finding.reason)) "." }
            div.figures {
                @for table in &finding.tables {
                    @if let Some(dots) = dots::figure(table) { (dots) }
                }
                @for plot in &finding.plots { (plot::figure(plot)) }
            }
            @for table in &finding.tables { (table::framed(table)) }
            @if !finding.left_out.is_empty() {
                div.left-out {
                    p { "Left out:" }
                    ul { @for what in &finding.left_out { li { (what) } } }
                }
            }
            @if !entry.published.is_empty() {
                div.published {
                    p { "What others measured, each on a machine of its own:" }
                    ul { @for other in &entry.published { li { (other.figure) " " cite { (other.source) } } } }
                }
            }
            p.note { "This took " (amount(entry.seconds, Unit::Seconds)) ". " a href="#ledger" { "Back to the ledger" } }
        }
    }
}

/// A figure with its interval, such as `1.87 × [1.85, 1.88]`, stays on one line.
fn unbroken(text: &str) -> String {
    const NO_BREAK: char = '\u{a0}';
    let mut inside = false;
    let text = text.replace(" ×", "\u{a0}×").replace(" [", "\u{a0}[");
    let joined = text.chars().map(|letter| {
        inside = letter == '[' || inside && letter != ']';
        match letter {
            ' ' if inside => NO_BREAK,
            letter => letter,
        }
    });
    joined.collect()
}

/// The word and the sign tell the verdict; the colour only helps.
fn verdict(verdict: Verdict) -> Markup {
    let sign = match verdict {
        Verdict::Holds => "✓",
        Verdict::Fails => "✗",
        Verdict::Depends => "±",
        Verdict::Unclear => "?",
        Verdict::NotMeasured => "–",
    };
    let word = verdict.word();
    html! {
        span class={ "verdict " (word.replace(' ', "-")) } {
            span.sign aria-hidden="true" { (sign) }
            (word)
        }
    }
}

fn how_to_read() -> Markup {
    html! {
        h2 { "How to read this" }
        p {
            "Every measurement ran in a fresh process, and what is compared was measured in turns. A figure "
            "is a median. In brackets, and as a thin line through each point, stands its interval, which "
            "encloses the true median with a probability of at least 95%; fewer than six samples have none. "
            "For " (verdict(Verdict::Holds)) " or " (verdict(Verdict::Fails)) ", the whole "
            "interval must lie on one side of the claim's bound; if the bound lies inside, or too little "
            "was tried, the verdict is " (verdict(Verdict::Unclear)) ". " (verdict(Verdict::Depends))
            " means that the claim holds in some cases and fails in others, and "
            (verdict(Verdict::NotMeasured)) " that this machine could not try it, or that the experiment "
            "failed."
        }
        p { "Put the mouse on a point to see its figure. The figures hold for this machine and this day." }
    }
}
