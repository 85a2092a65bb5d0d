//! The clients of a server: threads of a process of their own, so that they share no process with
//! what they measure.
//!
//! In a *closed loop*, a client asks again as soon as it is answered. This shows how many requests
//! a server can answer. But its times mislead. While a server stalls, each client waits for one
//! answer and asks nothing more, so a stall of any length makes only one answer per client slow.
//! (Gil Tene calls this coordinated omission.) So times come from an *open loop*: requests are due
//! at fixed moments, whatever the server does, and each time counts from when its request was due.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use crate::lab::role::Role;

/// The length of an answer without its head, in bytes.
const ANSWER: usize = 1024;

/// A longer wait for an answer is an error.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Load {
    pub port: u16,
    pub clients: usize,
    /// How many requests a client sends before it makes a new connection.
    pub requests_per_connection: usize,
    /// How long the clients ask, in milliseconds.
    pub span: u64,
    /// How many requests of all clients together are due in a second. `None`: a closed loop.
    pub rate: Option<f64>,
}

/// How all clients together were served.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Served {
    /// How many requests were answered in a second.
    pub rate: f64,
    /// The median time of an answer, in seconds.
    pub median: f64,
    pub percentile_99: f64,
    pub worst: f64,
}

pub static LOAD: Role<Load, Served> = Role {
    name: "servers: clients",
    play: |load| {
        // Without this, the system may wake a client 50 µs late. The threads inherit it.
        #[cfg(target_os = "linux")]
        nix::sys::prctl::set_timerslack(1).context("cannot ask for exact timers")?;
        let mut clients: Vec<Client> = (0..load.clients).map(|_| Client::new(load)).collect();
        if load.rate.is_some() {
            // So that all clients are connected: an open loop times answers, not connections.
            clients.iter_mut().try_for_each(Client::ask)?;
        }
        // Clients wait until it holds the time at which they begin.
        let begin = &OnceLock::new();
        let answers = thread::scope(|scope| {
            let mut threads = Vec::new();
            for (number, client) in clients.into_iter().enumerate() {
                let work = move || client.work(number, *begin.wait());
                let thread = thread::Builder::new().spawn_scoped(scope, work);
                threads.push(thread.context("cannot start a client"));
            }
            // Also if a client could not be started: the others wait for it.
            begin.get_or_init(Instant::now);
            let mut answers = Vec::new();
            for thread in threads {
                answers.push(thread?.join().expect("no client panics")?);
            }
            anyhow::Ok(answers)
        })?;
        let begin = begin.get().context("nobody began")?;
        let last = answers.iter().map(|it| it.last).max();
        let span = last.context("there are no clients")?.duration_since(*begin);
        let mut times: Vec<f64> = answers.into_iter().flat_map(|it| it.times).collect();
        times.sort_by(f64::total_cmp);
        ensure!(!times.is_empty(), "nothing was asked");
        let percentile = |percent| times[(times.len() - 1) * percent / 100];
        Ok(Served {
            rate: times.len() as f64 / span.as_secs_f64(),
            median: percentile(50),
            percentile_99: percentile(99),
            worst: percentile(100),
        })
    },
};

/// The answers that a client received.
struct Answers {
    /// How long each of them took, in seconds.
    times: Vec<f64>,
    /// When the last one came.
    last: Instant,
}

struct Client {
    load: Load,
    connection: Option<TcpStream>,
    /// How many requests were sent on this connection.
    asked: usize,
    received: Vec<u8>,
}

impl Client {
    fn new(load: Load) -> Self {
        Self {
            load,
            connection: None,
            asked: 0,
            received: vec![0; 16 * 1024],
        }
    }

    /// Asks until the load's span is over.
    fn work(mut self, number: usize, begin: Instant) -> anyhow::Result<Answers> {
        let load = self.load;
        let end = begin + Duration::from_millis(load.span);
        let mut times = Vec::new();
        loop {
            let due = match load.rate {
                None => Instant::now(),
                Some(rate) => {
                    // The clients take turns.
                    let before = times.len() * load.clients + number;
                    begin + Duration::from_secs_f64(before as f64 / rate)
                }
            };
            // In a closed loop each client asks at least once, so that there is a time.
            let may_end = load.rate.is_some() || !times.is_empty();
            if due >= end && may_end {
                let last = Instant::now();
                return Ok(Answers { times, last });
            }
            thread::sleep(due.saturating_duration_since(Instant::now()));
            self.ask()?;
            times.push(due.elapsed().as_secs_f64());
        }
    }

    /// Sends a request, and waits for all of its answer.
    fn ask(&mut self) -> anyhow::Result<()> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                self.asked = 0;
                connect(self.load.port)?
            }
        };
        self.asked += 1;
        let is_last = self.asked >= self.load.requests_per_connection;
        let request = request(&format!("/?bytes={ANSWER}"), is_last);
        connection
            .write_all(request.as_bytes())
            .context("cannot send a request")?;
        let mut filled = 0;
        loop {
            let rest = &mut self.received[filled..];
            let read = connection.read(rest).context("cannot read an answer")?;
            ensure!(read > 0, "a server broke off its answer");
            filled += read;
            let received = &self.received[..filled];
            let head = received.windows(4).position(|four| four == b"\r\n\r\n");
            if head.is_some_and(|head| filled >= head + 4 + ANSWER) {
                ensure!(received.starts_with(b"HTTP/1.1 200 "), "a server refused");
                break;
            }
        }
        if !is_last {
            self.connection = Some(connection);
        }
        Ok(())
    }
}

pub fn connect(port: u16) -> anyhow::Result<TcpStream> {
    let connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).context("cannot connect")?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_nodelay(true)?;
    Ok(connection)
}

pub fn request(target: &str, is_last: bool) -> String {
    let connection = if is_last { "Connection: close\r\n" } else { "" };
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{connection}\r\n")
}
