//! `/status`: the scoreboard as a page.
//!
//! The browser asks for it once a second, and any worker may answer. When all workers are busy,
//! this request has to wait like all others.

use std::{fmt, sync::atomic::Ordering::Relaxed, time::Duration};

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{
    Model, amount,
    scoreboard::{Death, How, Process, Slot, State, between},
    worker::Worker,
};

const STYLE: &str = include_str!("status.css");

pub fn write(worker: &Worker, body: &mut Vec<u8>) {
    body.extend_from_slice(page(worker).into_string().as_bytes());
}

fn page(worker: &Worker) -> Markup {
    let (site, board) = (worker.site, worker.site.board);
    let model = match site.model {
        Model::Prefork => "prefork",
        Model::Threads => "threads",
        Model::Hybrid => "hybrid",
    };
    let processes = || board.processes().iter().enumerate();
    let slots = || processes().flat_map(|(number, _)| board.slots(number));
    let answered: u64 = slots().map(|slot| slot.answered.load(Relaxed)).sum();
    let busy = slots().filter(|slot| is_busy(slot.state())).count();
    let (dead, deaths) = board.deaths();
    let now = board.now();
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                // These elements are closed (`/>`), so that the page is XML too.
                (PreEscaped(r#"<meta charset="utf-8"/>"#))
                (PreEscaped(r#"<meta name="viewport" content="width=device-width"/>"#))
                (PreEscaped(r#"<meta http-equiv="refresh" content="1"/>"#))
                title { (busy) " busy, " (model) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { (model) }
                    p {
                        (amount(board.processes().len(), "process", "es")) " of "
                        (amount(board.threads(), "thread", "s"))
                        @if site.model != Model::Threads { ", master " (site.master) }
                    }
                }
                dl {
                    (figure("busy", &format_args!("{busy} of {}", slots().count())))
                    (figure("answered", &answered))
                    (figure("died", &dead))
                    (figure("running for", &Age(Duration::from_millis(now))))
                }
                main {
                    @for (number, process) in processes() {
                        (process_box(process, board.slots(number), now))
                    }
                }
                (legend())
                @if dead > 0 {
                    (last_deaths(deaths, now))
                }
            }
        }
    }
}

fn figure(name: &str, value: &dyn fmt::Display) -> Markup {
    html! { div { dt { (name) } dd { (value.to_string()) } } }
}

fn process_box(process: &Process, slots: &[Slot], now: u64) -> Markup {
    let pid = process.pid.load(Relaxed);
    let generation = process.generation.load(Relaxed);
    html! {
        section.process.gone[pid == 0] data-process=(pid) {
            h2 {
                @if pid == 0 { "no process" } @else { "process " (pid) }
            }
            p {
                @if pid == 0 { "about to be replaced" }
                @else { "for " (Age(between(process.since.load(Relaxed), now))) }
                @if generation > 1 { ", the " (generation) (ordinal_ending(generation)) " here" }
            }
            div.threads {
                @for slot in slots { (tile(slot, now)) }
            }
        }
    }
}

fn tile(slot: &Slot, now: u64) -> Markup {
    let state = slot.state();
    let thread = slot.thread.load(Relaxed);
    html! {
        div.tile.(class(state)) data-thread=(thread) data-state=(class(state)) {
            b { (thread) }
            @match state {
                State::Answering => {
                    code { (slot.target.get()) }
                    span { "for " (Age(between(slot.since.load(Relaxed), now))) }
                }
                _ => { span { (words(state)) } }
            }
            small { (slot.answered.load(Relaxed)) " answered" }
        }
    }
}

fn last_deaths(deaths: impl Iterator<Item = &'static Death>, now: u64) -> Markup {
    html! {
        section {
            h2 { "The last deaths" }
            div.scroll {
                table {
                    tr { th { "ago" } th { "who" } th { "how" } th { "requests lost" } th {} }
                    @for death in deaths {
                        tr {
                            td { (Age(between(death.when.load(Relaxed), now))) }
                            td {
                                @match death.thread.load(Relaxed) {
                                    0 => { "process " (death.process.load(Relaxed)) }
                                    thread => { "thread " (thread) }
                                }
                            }
                            td { (death.how()) }
                            td { (death.lost.load(Relaxed)) }
                            td { code { (death.targets.get()) } }
                        }
                    }
                }
            }
        }
    }
}

fn legend() -> Markup {
    let states = [
        State::Idle,
        State::Reading,
        State::Answering,
        State::KeptOpen,
    ];
    html! {
        p.legend {
            @for state in states {
                span.key.(class(state)) {} span.label { (words(state)) }
            }
        }
    }
}

fn is_busy(state: State) -> bool {
    !matches!(state, State::Nobody | State::Idle)
}

fn class(state: State) -> &'static str {
    match state {
        State::Nobody => "nobody",
        State::Idle => "idle",
        State::Reading => "reading",
        State::Answering => "answering",
        State::KeptOpen => "kept-open",
    }
}

fn words(state: State) -> &'static str {
    match state {
        State::Nobody => "gone",
        State::Idle => "idle",
        State::Reading => "waits for a request",
        State::Answering => "answers",
        State::KeptOpen => "waits for the next request",
    }
}

fn ordinal_ending(number: u64) -> &'static str {
    match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    }
}

/// A duration in seconds, minutes or hours.
struct Age(Duration);

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.0.as_secs() {
            0..10 => write!(f, "{:.1} s", self.0.as_secs_f64()),
            seconds @ 10..120 => write!(f, "{seconds} s"),
            seconds @ 120..7200 => write!(f, "{} min", seconds / 60),
            seconds => write!(f, "{} h", seconds / 3600),
        }
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match *self {
            Self::Panic => write!(f, "panicked"),
            Self::Code(code) => write!(f, "ended with exit code {code}"),
            Self::Signal(signal) => {
                #[cfg(unix)]
                if let Ok(signal) = nix::sys::signal::Signal::try_from(signal) {
                    return write!(f, "was killed by {signal}");
                }
                write!(f, "was killed by signal {signal}")
            }
        }
    }
}
