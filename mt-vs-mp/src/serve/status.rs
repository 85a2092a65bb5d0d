//! `/status`: the scoreboard as a page.
//!
//! The browser asks for it once a second, and any worker may answer. When all workers are busy,
//! this request has to wait like all others.

use std::{fmt, sync::atomic::Ordering::Relaxed, time::Duration};

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{
    Model, Site, amount,
    scoreboard::{Death, How, Process, Slot, State, between},
    worker::Worker,
};

const STYLE: &str = include_str!("status.css");

pub fn write(worker: &Worker, body: &mut Vec<u8>) {
    body.extend_from_slice(page(worker.site).into_string().as_bytes());
}

fn page(site: &Site) -> Markup {
    let board = site.board;
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

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use roxmltree::{Document, ParsingOptions};

    use super::*;
    use crate::serve::scoreboard::{self, Board};

    /// The texts of the page, or of a part of it.
    fn texts(part: Markup) -> Vec<String> {
        let part = part.into_string();
        let options = ParsingOptions {
            allow_dtd: true,
            ..Default::default()
        };
        let document = Document::parse_with_options(&part, options).expect("it is XML");
        let nodes = document.descendants().filter(|node| node.is_text());
        nodes
            .filter_map(|node| node.text().map(str::to_owned))
            .collect()
    }

    /// A board of two processes of two threads. One thread is answering, one is idle, and one waits
    /// for the next request. There is no fourth one.
    fn board() -> &'static Board {
        let board = scoreboard::new(2, 2).expect("there is memory");
        for (number, slot) in board.slots(0).iter().chain(board.slots(1)).enumerate() {
            slot.thread.store(11 + number as u32, Relaxed);
            slot.answered.store(5, Relaxed);
        }
        board.slot(0, 0).start_answer("/slow?ms=9000", 2000);
        board.slot(0, 1).enter(State::Idle);
        board.slot(1, 0).enter(State::KeptOpen);
        board
    }

    #[test]
    fn the_page_begins_with_how_many_are_busy() {
        for (model, name, size) in [
            (
                Model::Prefork,
                "prefork",
                "2 processes of 2 threads, master 9",
            ),
            (Model::Threads, "threads", "2 processes of 2 threads"),
            (
                Model::Hybrid,
                "hybrid",
                "2 processes of 2 threads, master 9",
            ),
        ] {
            let site = Site {
                model,
                listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free"),
                board: board(),
                max_requests: u64::MAX,
                master: 9,
            };
            let page = texts(page(&site));
            assert_eq!(page[0], format!("2 busy, {name}"));
            // Then comes the style.
            assert_eq!(
                page[2..10],
                [name, size, "busy", "2 of 4", "answered", "20", "died", "0"]
            );
            // At the end, the colours are explained.
            assert_eq!(
                page[page.len() - 4..],
                [
                    "idle",
                    "waits for a request",
                    "answers",
                    "waits for the next request"
                ]
            );
            assert!(!page.contains(&"The last deaths".to_owned()));
            site.board.note_death(8, 0, None, How::Code(1));
            let page = texts(super::page(&site));
            assert_eq!(page[8..10], ["died", "1"]);
            assert!(page.contains(&"The last deaths".to_owned()));
        }
    }

    #[test]
    fn a_process_is_shown_with_its_threads() {
        let board = board();
        let process = &board.processes()[0];
        process.since.store(1000, Relaxed);
        let shown = |pid, generation, slots| {
            process.pid.store(pid, Relaxed);
            process.generation.store(generation, Relaxed);
            texts(process_box(process, slots, 4500))
        };
        let threads = [
            ["11", "/slow?ms=9000", "for 2.5 s", "5 answered"],
            ["12", "idle", "5 answered", ""],
        ];
        let threads = threads.concat();
        assert_eq!(
            shown(7, 1, board.slots(0)),
            [&["process 7", "for 3.5 s"], &threads[..7]].concat()
        );
        assert_eq!(shown(7, 2, &[])[1], "for 3.5 s, the 2nd here");
        assert_eq!(
            shown(0, 3, board.slots(1)),
            [
                "no process",
                "about to be replaced, the 3rd here",
                "13",
                "waits for the next request",
                "5 answered",
                "14",
                "gone",
                "5 answered",
            ]
        );
    }

    #[test]
    fn the_deaths_are_shown_with_the_requests_that_were_lost() {
        let board = board();
        let of_thread = board.note_death(8, 0, Some(0), How::Panic);
        of_thread.when.store(1500, Relaxed);
        board.slot(0, 1).start_answer("/exit", 2000);
        let of_process = board.note_death(8, 0, None, How::Code(3));
        of_process.when.store(2500, Relaxed);
        let shown = texts(last_deaths(board.deaths().1, 4500));
        assert_eq!(
            shown[5..],
            [
                [
                    "2.0 s",
                    "process 8",
                    "ended with exit code 3",
                    "2",
                    "/slow?ms=9000, /exit"
                ],
                ["3.0 s", "thread 11", "panicked", "1", "/slow?ms=9000"],
            ]
            .concat()
        );
    }

    #[test]
    fn numbers_have_their_endings() {
        let ending = |number| format!("{number}{}", ordinal_ending(number));
        for number in [
            "2nd", "3rd", "4th", "10th", "11th", "12th", "13th", "14th", "21st", "22nd", "23rd",
            "30th", "101st", "111th", "113th", "122nd",
        ] {
            let digits = number.trim_end_matches(char::is_alphabetic);
            assert_eq!(ending(digits.parse().expect("a number")), number);
        }
    }

    #[test]
    fn an_age_is_in_seconds_minutes_or_hours() {
        for (milliseconds, age) in [
            (1_260, "1.3 s"),
            (9_900, "9.9 s"),
            (10_000, "10 s"),
            (119_999, "119 s"),
            (120_000, "2 min"),
            (7_199_000, "119 min"),
            (7_200_000, "2 h"),
            (90_000_000, "25 h"),
        ] {
            let duration = Duration::from_millis(milliseconds);
            assert_eq!(Age(duration).to_string(), age);
        }
    }

    #[test]
    fn a_death_by_a_signal_is_shown_with_its_name() {
        #[cfg(unix)]
        assert_eq!(How::Signal(11).to_string(), "was killed by SIGSEGV");
        // Real-time signals have no name.
        let nameless = How::Signal(60).to_string();
        assert_eq!(nameless, "was killed by signal 60");
    }
}
