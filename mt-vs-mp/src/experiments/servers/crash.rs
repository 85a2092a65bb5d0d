//! A crash: sixteen requests are under way, and one of them crashes.

use std::{
    io::{Read, Write},
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};

use super::{
    MODELS, WORKERS,
    load::{connect, request},
    server::Server,
};
use crate::lab::role::Role;

/// The number of requests besides the one that crashes.
pub const OTHERS: usize = WORKERS - 1;

/// How long each of the other requests takes in the first attempt, in milliseconds. All of them
/// must still be under way at the crash. If one was answered before, the next attempt is made with
/// requests that take twice as long.
const SLOW: u64 = 100;
/// In the last attempt. (All attempts together take 13 s: a trial may not take 30.)
const SLOWEST: u64 = 6_400;

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Crash {
    /// How many of the other requests were not answered.
    pub lost: usize,
    /// The time from when the crash was seen until the next request was answered, in seconds.
    /// `None` if the next request was not answered.
    pub next_answer: Option<f64>,
}

/// From the row of [`MODELS`].
pub static CRASH: Role<usize, Crash> = Role {
    name: "servers: crash",
    play: |model| {
        let mut slow = SLOW;
        while slow <= SLOWEST {
            if let Some(crash) = try_out(model, slow)? {
                return Ok(crash);
            }
            slow *= 2;
        }
        bail!("{OTHERS} requests of {SLOWEST} ms each were never under way together");
    },
};

/// `None` if one of the other requests was answered before the crash was seen.
fn try_out(model: usize, slow: u64) -> anyhow::Result<Option<Crash>> {
    // Without stderr: there the server reports the crash, which is expected.
    let server = Server::start(MODELS[model].options, Stdio::null())?;
    let port = server.port;
    thread::scope(|scope| {
        let mut others = Vec::new();
        for _ in 0..OTHERS {
            // The thread returns the time of the answer, or `None`.
            let client = move || {
                let answer = ask(port, &format!("/slow?ms={slow}"));
                answer.map(|_| Instant::now())
            };
            let client = thread::Builder::new().spawn_scoped(scope, client);
            others.push(client.context("cannot start a thread")?);
        }
        // Until all of them are under way, or one of them has ended.
        while !others.iter().any(|other| other.is_finished()) {
            let page = ask(port, "/status");
            if page.is_some_and(|page| page.matches("<code>/slow").count() == OTHERS) {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        ensure!(ask(port, "/crash").is_none(), "a crash was answered");
        let crash = Instant::now();
        let next_answer = ask(port, "/").map(|_| crash.elapsed().as_secs_f64());
        let mut lost = 0;
        for other in others {
            match other.join().expect("no client panics") {
                Some(answered) if answered < crash => return Ok(None),
                Some(_) => {}
                None => lost += 1,
            }
        }
        Ok(Some(Crash { lost, next_answer }))
    })
}

/// The whole answer; `None` if there is none, or only a part of one.
fn ask(port: u16, target: &str) -> Option<String> {
    let mut connection = connect(port).ok()?;
    connection
        .write_all(request(target, true).as_bytes())
        .ok()?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).ok()?;
    answer.starts_with("HTTP/1.1 200 ").then_some(answer)
}
