//! The blast radius: sixteen requests are under way, one of them crashes.

use std::{
    io::{Read, Write},
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use anyhow::{bail, ensure};
use serde::{Deserialize, Serialize};

use super::{
    MODELS, WORKERS,
    load::{connect, request},
    server::Server,
};
use crate::lab::role::Role;

/// All but the one that crashes.
pub const OTHERS: usize = WORKERS - 1;

/// How long the others take, in milliseconds: long enough that all are under way when one crashes.
/// Where it is not, they take twice as long the next time.
const SLOW: u64 = 100;
const SLOWEST: u64 = 60_000;

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Blast {
    /// How many of the others got no answer.
    pub lost: usize,
    /// The time from when the crash was seen until the next request was answered, in seconds. `None`
    /// if it never was.
    pub next: Option<f64>,
}

pub static BLAST: Role<usize, Blast> = Role {
    name: "servers: crash",
    play: |model| {
        let mut slow = SLOW;
        while slow <= SLOWEST {
            if let Some(blast) = try_out(model, slow)? {
                return Ok(blast);
            }
            slow *= 2;
        }
        bail!("{OTHERS} requests of a minute each were never under way together");
    },
};

/// `None` if one of the others was answered before the crash was seen.
fn try_out(model: usize, slow: u64) -> anyhow::Result<Option<Blast>> {
    // What it says of its crash is known beforehand.
    let server = Server::start(MODELS[model].options, Stdio::null())?;
    let port = server.port;
    thread::scope(|scope| {
        let slow_one = || {
            scope.spawn(move || {
                let answer = ask(port, &format!("/slow?ms={slow}"));
                answer.map(|_| Instant::now())
            })
        };
        let others: Vec<_> = (0..OTHERS).map(|_| slow_one()).collect();
        while !others.iter().any(|other| other.is_finished()) {
            let page = ask(port, "/status");
            if page.is_some_and(|page| page.matches("<code>/slow").count() == OTHERS) {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        ensure!(ask(port, "/crash").is_none(), "a crash was answered");
        let crash = Instant::now();
        let next = ask(port, "/").map(|_| crash.elapsed().as_secs_f64());
        let ends = others.into_iter().map(|other| other.join().ok().flatten());
        let ends: Vec<Option<Instant>> = ends.collect();
        if ends.iter().flatten().any(|&end| end < crash) {
            return Ok(None);
        }
        let lost = ends.iter().filter(|end| end.is_none()).count();
        Ok(Some(Blast { lost, next }))
    })
}

/// The whole answer; `None` if there is none, or half of one.
fn ask(port: u16, target: &str) -> Option<String> {
    let mut connection = connect(port).ok()?;
    connection
        .write_all(request(target, true).as_bytes())
        .ok()?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).ok()?;
    answer.starts_with("HTTP/1.1 200 ").then_some(answer)
}
