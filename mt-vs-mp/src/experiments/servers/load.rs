//! Clients of a server: a program of its own, so that they share no process with what they measure.
//!
//! A *closed loop* asks as soon as it has been answered, which tells how much a server can do. It
//! must not be used to time answers: while a server stalls, such clients wait and ask nothing, so
//! one stall is one slow answer, whatever it would have cost those who meant to ask meanwhile. (Gil
//! Tene calls this coordinated omission.) So times are taken by an *open loop*: requests are due at
//! fixed moments, whatever the server does, and each time counts from when its request was due.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::lab::role::Role;

/// A request whose answer takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Load {
    pub port: u16,
    pub clients: usize,
    /// How many requests a client sends before it connects anew.
    pub per_connection: usize,
    /// How many bytes an answer has, without its head.
    pub answer: usize,
    /// For how long, in milliseconds.
    pub span: u64,
    /// How many requests are due in a second, from all clients together. `None`: a closed loop.
    pub rate: Option<f64>,
}

/// How the clients were served.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Served {
    /// How many requests were answered in a second.
    pub rate: f64,
    /// How long half of the answers took at most, in seconds.
    pub half: f64,
    /// The same of 99 in 100.
    pub most: f64,
    pub worst: f64,
}

pub static LOAD: Role<Load, Served> = Role {
    name: "servers: clients",
    play: |load| {
        // The system may otherwise wake a client 50 µs late. Its threads inherit this.
        #[cfg(target_os = "linux")]
        nix::sys::prctl::set_timerslack(1).context("cannot ask for exact timers")?;
        let mut clients: Vec<Client> = (0..load.clients).map(|_| Client::new(load)).collect();
        if load.rate.is_some() {
            // An open loop times answers, not connections: it has them before it begins.
            clients.iter_mut().try_for_each(Client::ask)?;
        }
        let begin = &OnceLock::new();
        let all: anyhow::Result<Vec<(Vec<f64>, Instant)>> = thread::scope(|scope| {
            let start = |(number, client)| {
                let work = move || be_a_client(client, number, *begin.wait());
                let started = thread::Builder::new().spawn_scoped(scope, work);
                started.context("cannot start a client")
            };
            let started: Vec<_> = clients.into_iter().enumerate().map(start).collect();
            // Also if some could not be started: the others wait for it.
            begin.get_or_init(Instant::now);
            let joined = started.into_iter().map(|client| {
                let joined = client?.join();
                joined.unwrap_or_else(|_| bail!("a client panicked"))
            });
            joined.collect()
        });
        let all = all?;
        let begin = begin.get().context("nobody began")?;
        let last = all.iter().map(|(_, end)| *end).max();
        let span = last.context("there are no clients")?.duration_since(*begin);
        let mut times: Vec<f64> = all.into_iter().flat_map(|(times, _)| times).collect();
        times.sort_by(f64::total_cmp);
        ensure!(!times.is_empty(), "nothing was asked");
        let at = |percent| times[(times.len() - 1) * percent / 100];
        Ok(Served {
            rate: times.len() as f64 / span.as_secs_f64(),
            half: at(50),
            most: at(99),
            worst: at(100),
        })
    },
};

/// Returns the time that each answer took, and when the last one came.
fn be_a_client(
    mut client: Client,
    number: usize,
    begin: Instant,
) -> anyhow::Result<(Vec<f64>, Instant)> {
    let load = client.load;
    let end = begin + Duration::from_millis(load.span);
    let mut times = Vec::new();
    for mine in 0.. {
        let due = match load.rate {
            None => Instant::now(),
            Some(rate) => {
                let before = mine * load.clients + number;
                begin + Duration::from_secs_f64(before as f64 / rate)
            }
        };
        // In a closed loop each asks once at least, so that there is something to count.
        if due >= end && (mine > 0 || load.rate.is_some()) {
            break;
        }
        thread::sleep(due.saturating_duration_since(Instant::now()));
        client.ask()?;
        times.push(due.elapsed().as_secs_f64());
    }
    Ok((times, Instant::now()))
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
        let is_last = self.asked >= self.load.per_connection;
        let request = request(&format!("/?bytes={}", self.load.answer), is_last);
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
            if head.is_some_and(|head| filled >= head + 4 + self.load.answer) {
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
