//! The clients of a server: threads of a process of their own, so that they share no process with
//! what they measure.
//!
//! In a *closed loop*, a client asks again as soon as it is answered. This shows how many requests
//! a server can answer. But its times mislead. While a server stalls, each client waits for one
//! answer and asks nothing more, so a stall of any length makes only one answer per client slow.
//! (Gil Tene calls this coordinated omission.) So times come from an *open loop*: requests are due
//! at fixed moments, whatever the server does, and each time counts from when its request was due.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Ipv4Addr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, ensure};
use serde::{Deserialize, Serialize};

use crate::{
    experiments::percentile,
    lab::{role::Role, together::all_at_once},
};

/// The length of an answer without its head, in bytes.
const ANSWER: usize = 1024;

/// A longer wait for an answer is an error. (A trial may not take 30 s.)
const PATIENCE: Duration = Duration::from_secs(15);

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

impl Load {
    /// How long after the beginning a client's next request is due in an open loop of this rate, if
    /// so many of the client's requests have been answered. The clients take turns.
    fn due(&self, rate: f64, client: usize, answers: usize) -> Duration {
        let before = answers * self.clients + client;
        Duration::from_secs_f64(before as f64 / rate)
    }
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
        let clients = clients.into_iter().enumerate();
        let work = clients.map(|(number, client)| move |begin| client.work(number, begin));
        let together = all_at_once(work)?;
        served(together.results, together.begin)
    },
};

/// What all clients together say of the time from `begin` until the last of them was done.
fn served(answers: Vec<Answers>, begin: Instant) -> anyhow::Result<Served> {
    let last = answers.iter().map(|it| it.last).max();
    let span = last.context("there are no clients")?.duration_since(begin);
    let mut times: Vec<f64> = answers.into_iter().flat_map(|it| it.times).collect();
    times.sort_by(f64::total_cmp);
    ensure!(!times.is_empty(), "nothing was asked");
    Ok(Served {
        rate: times.len() as f64 / span.as_secs_f64(),
        median: percentile(&times, 50),
        percentile_99: percentile(&times, 99),
        worst: percentile(&times, 100),
    })
}

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
                Some(rate) => begin + load.due(rate, number, times.len()),
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
            let read = match connection.read(rest) {
                // A read with a time limit ends so when its process is stopped and goes on.
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                result => result.map_err(unanswered)?,
            };
            ensure!(read > 0, "a server broke off its answer");
            filled += read;
            let received = &self.received[..filled];
            if is_whole(received) {
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

/// Why an answer could not be read. (The system reports a wait that was too long by the same error
/// code as a lack of processes.)
fn unanswered(error: io::Error) -> anyhow::Error {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => anyhow!("no answer in {PATIENCE:?}"),
        _ => anyhow::Error::from(error).context("cannot read an answer"),
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

/// Whether all of an answer has been received.
fn is_whole(received: &[u8]) -> bool {
    let head = received.windows(4).position(|four| four == b"\r\n\r\n");
    head.is_some_and(|head| received.len() >= head + 4 + ANSWER)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn load(port: u16) -> Load {
        Load {
            port,
            clients: 4,
            requests_per_connection: 2,
            span: 0,
            rate: None,
        }
    }

    #[test]
    fn in_an_open_loop_the_clients_take_turns() {
        let due = |client, answers| load(0).due(1000.0, client, answers);
        assert_eq!(due(0, 0), Duration::ZERO);
        assert_eq!(due(3, 0), Duration::from_millis(3));
        assert_eq!(due(1, 2), Duration::from_millis(9));
    }

    #[test]
    fn the_rate_is_that_of_all_clients_until_the_last_is_done() {
        let begin = Instant::now();
        let client = |times: &[f64], seconds| Answers {
            times: times.to_vec(),
            last: begin + Duration::from_secs(seconds),
        };
        let clients = vec![client(&[3.0, 1.0], 1), client(&[2.0], 2)];
        let served = served(clients, begin).expect("there are answers");
        assert_eq!(served.rate, 1.5);
        assert_eq!((served.median, served.worst), (2.0, 3.0));
        assert!(super::served(vec![client(&[], 1)], begin).is_err());
    }

    fn head_and(bytes: usize) -> Vec<u8> {
        let mut answer = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
        answer.resize(answer.len() + bytes, b'x');
        answer
    }

    #[test]
    fn an_answer_that_lacks_a_byte_is_not_whole() {
        assert!(is_whole(&head_and(ANSWER)));
        assert!(!is_whole(&head_and(ANSWER - 1)));
        assert!(!is_whole(&[b'x'; 2 * ANSWER]));
    }

    #[test]
    fn an_answer_that_is_too_late_is_no_lack_of_room() {
        let late = unanswered(ErrorKind::WouldBlock.into());
        assert_eq!(late.to_string(), "no answer in 15s");
        assert!(!late.is::<io::Error>());
        let reset = unanswered(ErrorKind::ConnectionReset.into());
        assert_eq!(reset.to_string(), "cannot read an answer");
    }

    #[test]
    fn a_connection_has_so_many_requests_and_the_last_one_closes_it() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let port = listener.local_addr().expect("it has an address").port();
        // Two requests on each connection. The last answer is broken off.
        let server = thread::spawn(move || -> io::Result<Vec<bool>> {
            let mut closes = Vec::new();
            for bytes in [[ANSWER, ANSWER], [ANSWER, ANSWER - 1]] {
                let (mut connection, _) = listener.accept()?;
                for bytes in bytes {
                    let mut request = [0; 1024];
                    let read = connection.read(&mut request)?;
                    let request = String::from_utf8_lossy(&request[..read]);
                    closes.push(request.contains("\r\nConnection: close\r\n"));
                    connection.write_all(&head_and(bytes))?;
                }
            }
            Ok(closes)
        });
        let mut client = Client::new(load(port));
        for _ in 0..3 {
            client.ask().expect("it is answered");
        }
        let error = client.ask().expect_err("the answer lacks a byte");
        assert_eq!(error.to_string(), "a server broke off its answer");
        let closes = server.join().expect("it does not panic");
        assert_eq!(closes.expect("all asked"), [false, true, false, true]);
    }
}
