//! What `mt-vs-mp serve` promises, to real sockets.
#![cfg(unix)]

use std::{
    collections::{HashMap, HashSet},
    fs,
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
    iter,
    net::{Shutdown, TcpStream},
    process::{Child, Command, ExitStatus},
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::{Signal, kill, killpg};

use crate::common::*;

/// Long enough for any answer: reached only by a server that gives none.
const LIMIT: Duration = Duration::from_secs(10);
/// How many of the longest answers are more than the system keeps for a client that does not read.
const MUCH: usize = 200;

const PREFORK: [&str; 4] = ["--model", "prefork", "--processes", "16"];
const THREADS: [&str; 4] = ["--model", "threads", "--threads", "16"];
const HYBRID: [&str; 6] = ["--model", "hybrid", "--processes", "4", "--threads", "4"];
const MODELS: [&[&str]; 3] = [&PREFORK, &THREADS, &HYBRID];

/// A running server, which does not outlive the test.
struct Server {
    demo: Option<Child>,
    id: u32,
    port: u16,
    /// What it says of its size.
    size: String,
}

impl Server {
    fn start(options: &[&str]) -> Self {
        let mut command = demo!("serve", "--port", "0");
        command.args(options);
        Self::run(command)
    }

    fn run(mut command: Command) -> Self {
        let mut demo = command.spawn().expect("the demo can be started");
        let first = read_until(&mut demo, "\n");
        let port = capture(&first, r".*: listening on http://127\.0\.0\.1:(\d+)/");
        Self {
            id: demo.id(),
            demo: Some(demo),
            port: port.parse().expect("it is a port"),
            size: capture(&first, "(.*): listening on .*"),
        }
    }

    fn connect(&self) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        stream.set_read_timeout(Some(LIMIT)).expect("a valid time");
        Client(BufReader::new(stream))
    }

    /// The answer to one request on a connection of its own; `None` if there is none.
    fn get(&self, path: &str) -> Option<Answer> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(LIMIT)).ok()?;
        let mut client = Client(BufReader::new(stream));
        client.ask(path);
        client.answer()
    }

    /// Sends these bytes on a connection of its own, and returns all that comes back.
    fn send(&self, bytes: &[u8]) -> String {
        let client = self.connect();
        // The server may refuse before it has read all of it.
        let _ = client.0.get_ref().write_all(bytes);
        io::read_to_string(client.0).expect("the connection is not broken off")
    }

    /// Waits until the status page says so.
    fn wait_for_status(&self, what: impl Fn(&Page) -> bool) -> Page {
        wait_for("such a status", || Some(self.status()).filter(&what))
    }

    fn status(&self) -> Page {
        let answer = self.get("/status").expect("the status is answered");
        assert_eq!(answer.status, 200);
        assert!(!answer.keeps_open, "a window would occupy a worker");
        Page(answer.body)
    }

    fn signal(&self, signal: Signal) {
        kill(pid(self.id), signal).expect("it runs");
    }

    /// Waits for the end, after which nobody may be left.
    fn wait(mut self) -> (ExitStatus, String, String) {
        let output = finish(self.demo.take().expect("nobody has waited for it"));
        let text = |bytes| String::from_utf8(bytes).expect("it is UTF-8");
        (output.status, text(output.stdout), text(output.stderr))
    }

    fn end(self) -> (String, String) {
        self.signal(Signal::SIGTERM);
        let (status, log, errors) = self.wait();
        assert_eq!(status.code(), Some(0), "{errors}");
        (log, errors)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut demo) = self.demo.take() {
            let _ = killpg(pid(self.id), Signal::SIGKILL);
            let _ = demo.wait();
        }
    }
}

struct Client(BufReader<TcpStream>);

struct Answer {
    status: u16,
    keeps_open: bool,
    body: String,
}

impl Client {
    fn ask(&mut self, path: &str) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let _ = self.0.get_ref().write_all(request.as_bytes());
    }

    /// Asks for [`MUCH`].
    fn ask_for_much(&self) {
        self.write(
            "GET /?bytes=65536 HTTP/1.1\r\nHost: a\r\n\r\n"
                .repeat(MUCH)
                .as_bytes(),
        );
    }

    fn write(&self, bytes: &[u8]) {
        self.0.get_ref().write_all(bytes).expect("it is open");
    }

    /// The next answer; `None` if the connection has ended.
    fn answer(&mut self) -> Option<Answer> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            match self.0.read_line(&mut head) {
                Ok(0) => return None,
                Err(error) if error.kind() == ErrorKind::WouldBlock => hang("an answer"),
                read => read.ok()?,
            };
        }
        let head = head.replace('\r', "");
        let length: usize = capture(&head, r"Content-Length: (\d+)").parse().ok()?;
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).ok()?;
        Some(Answer {
            status: capture(&head, r"HTTP/1.1 (\d+) .*").parse().ok()?,
            keeps_open: capture(&head, "Connection: (.*)") == "keep-alive",
            body: String::from_utf8(body).ok()?,
        })
    }
}

impl Answer {
    /// The ids of the thread and the process that answered.
    #[track_caller]
    fn who(&self) -> (u32, u32) {
        assert_eq!(self.status, 200, "{}", self.body);
        let id = |pattern| capture(&self.body, pattern).parse().expect("an id");
        (
            id(r"I am thread (\d+) of process .*"),
            id(r"I am thread \d+ of process (\d+)[.,].*"),
        )
    }
}

struct Page(String);

impl Page {
    /// The value of an attribute in each element that has it.
    fn attributes(&self, name: &str) -> Vec<String> {
        let options = roxmltree::ParsingOptions {
            allow_dtd: true,
            ..Default::default()
        };
        let document = roxmltree::Document::parse_with_options(&self.0, options)
            .unwrap_or_else(|error| panic!("{error} in {}", self.0));
        let elements = document.descendants();
        elements
            .filter_map(|element| element.attribute(name).map(str::to_owned))
            .collect()
    }

    fn processes(&self) -> HashSet<u32> {
        let ids = self.attributes("data-process").into_iter();
        ids.map(|id| id.parse().expect("an id")).collect()
    }

    fn count(&self, state: &str) -> usize {
        let states = self.attributes("data-state");
        states.iter().filter(|other| *other == state).count()
    }
}

/// Starts this many requests that wait, and returns when all of them are being served.
fn occupy(server: &Server, number: usize, milliseconds: u32) -> Vec<Client> {
    let clients: Vec<Client> = (0..number)
        .map(|_| {
            let mut client = server.connect();
            client.ask(&format!("/slow?ms={milliseconds}"));
            client
        })
        .collect();
    // Another one answers this: it counts as answering too.
    server.wait_for_status(|page| page.count("answering") == number + 1);
    clients
}

#[test]
fn every_request_is_answered_by_a_worker_of_the_models_kind() {
    // What the server says of its size, and how many processes there are.
    let sizes = [
        ("16 processes of 1 thread", 16),
        ("1 process of 16 threads", 1),
        ("4 processes of 4 threads", 4),
    ];
    for (model, (size, number)) in MODELS.into_iter().zip(sizes) {
        let server = Server::start(model);
        assert_eq!(server.size, size);
        // Held at once, 15 connections must have 15 workers.
        let mut clients = occupy(&server, 15, 300);
        let who: Vec<_> = clients
            .iter_mut()
            .map(|client| client.answer().expect("it is answered").who())
            .collect();
        let threads: HashSet<_> = who.iter().collect();
        assert_eq!(threads.len(), 15, "{model:?}");
        drop(clients);

        let page = server.wait_for_status(|page| page.count("idle") == 15);
        let processes = page.processes();
        assert_eq!(processes.len(), number, "{model:?}");
        assert_eq!(page.attributes("data-thread").len(), 16, "{model:?}");
        assert!(
            who.iter().all(|who| processes.contains(&who.1)),
            "{model:?}"
        );
        // Only the single process of the threads is the one that was started.
        assert_eq!(processes.contains(&server.id), number == 1, "{model:?}");
        // The others are its children, and say so.
        let answer = server.get("/").expect("it is answered").body;
        let parent = format!(", and its parent is {}.\n", server.id);
        assert_eq!(answer.contains(&parent), number > 1, "{answer}");
        assert_eq!(answer.contains("parent"), number > 1, "{answer}");
        server.end();
    }
}

#[test]
fn an_answer_takes_as_long_as_was_asked_for() {
    let server = Server::start(&THREADS);
    for path in ["/slow?ms=30", "/compute?ms=30"] {
        let start = Instant::now();
        server.get(path).expect("it is answered").who();
        assert!(start.elapsed() >= Duration::from_millis(30), "{path}");
    }
    server.end();
}

#[test]
fn a_request_may_come_late_and_in_pieces() {
    for model in MODELS {
        let server = Server::start(model);
        let pass_time = || server.get("/slow?ms=20").expect("it is answered").who();
        let mut client = server.connect();
        pass_time();
        client.write(b"GET / HT");
        pass_time();
        client.write(b"TP/1.1\r\nHost: a\r\n\r\n");
        client.answer().expect("it is answered").who();
        server.end();
    }
}

#[test]
fn answers_may_be_taken_late_or_not_at_all() {
    let server = Server::start(&THREADS);
    let client = server.connect();
    client.ask_for_much();
    client.write(b"GET /nowhere HTTP/1.0\r\n\r\n");
    server.get("/slow?ms=20").expect("it is answered").who();
    let answers = io::read_to_string(client.0).expect("the connection is not broken off");
    assert_eq!(answers.matches("HTTP/1.1 200 OK\r\n").count(), MUCH);
    assert!(answers.ends_with("404 Not Found\n"));
    assert!(answers.len() > MUCH * 65536);
    // The worker of a client that leaves meanwhile has nothing left to do.
    server.connect().ask_for_much();
    server.wait_for_status(|page| page.count("idle") == 15);
    server.end();
}

#[test]
fn a_connection_is_kept_open_and_pipelined_requests_are_answered_in_order() {
    for model in MODELS {
        let server = Server::start(model);
        let mut client = server.connect();
        client.ask("/");
        let first = client.answer().expect("it is answered");
        assert!(first.keeps_open);
        // All at once: the answers tell by their length which request they belong to.
        for bytes in 100..150 {
            client.ask(&format!("/?bytes={bytes}"));
        }
        for bytes in 100..150 {
            let answer = client.answer().expect("it is answered");
            assert_eq!(answer.body.len(), bytes);
            assert_eq!(answer.who(), first.who(), "a connection stays where it is");
        }
        server.end();
    }
}

#[test]
fn a_crash_loses_the_requests_of_its_process_and_no_others() {
    // While 16 requests are under way, one of them crashes.
    for (model, lost) in MODELS.into_iter().zip([1, 16, 4]) {
        let server = Server::start(model);
        let mut clients = occupy(&server, 15, 2000);
        let mut crash = server.connect();
        crash.ask("/crash");
        let others = clients
            .iter_mut()
            .filter_map(Client::answer)
            .filter(|answer| answer.status == 200)
            .count();
        assert!(crash.answer().is_none());
        assert_eq!(16 - others, lost, "{model:?}");
        if lost == 16 {
            let (status, _, errors) = server.wait();
            assert_eq!(
                std::os::unix::process::ExitStatusExt::signal(&status),
                Some(Signal::SIGSEGV as i32)
            );
            assert!(
                errors.contains("crashes: all its 16 threads end"),
                "{errors}"
            );
        } else {
            let page = server.wait_for_status(|page| page.count("nobody") == 0);
            assert!(page.0.contains("was killed by SIGSEGV"), "{}", page.0);
            let (log, errors) = server.end();
            assert!(log.contains("was killed by SIGSEGV during "), "{log}");
            let who = match lost {
                1 => r"mt-vs-mp: process (\d+) crashes",
                _ => r"mt-vs-mp: thread \d+ of process (\d+) crashes: all its 4 threads end",
            };
            capture(&errors, who);
        }
    }
}

#[test]
fn a_panic_ends_one_worker_and_another_takes_its_place() {
    for model in MODELS {
        let server = Server::start(model);
        let all_there = server.wait_for_status(|page| page.count("nobody") == 0);
        let before = all_there.attributes("data-thread");
        assert!(server.get("/panic").is_none());
        // The old worker is seen for a moment after its panic was noted.
        let page = server.wait_for_status(|page| {
            let replaced = page.count("nobody") == 0 && page.attributes("data-thread") != before;
            replaced && page.0.contains("panicked")
        });
        let threads = page.attributes("data-thread");
        let missing = before.iter().filter(|id| !threads.contains(id)).count();
        assert_eq!((threads.len(), missing), (16, 1), "{model:?}");
        server.end();
    }
}

#[test]
fn the_good_requests_among_fifty_crashes_are_all_answered() {
    let server = Server::start(&PREFORK);
    server.get("/").expect("it is answered");
    let good = thread::scope(|scope| {
        let crashes = scope.spawn(|| (0..50).filter_map(|_| server.get("/crash")).count());
        let clients: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| (0..100).map_while(|_| server.get("/")).count()))
            .collect();
        assert_eq!(crashes.join().expect("no panic"), 0);
        let good = clients.into_iter().map(|client| client.join());
        good.map(|good| good.expect("no panic")).sum::<usize>()
    });
    assert_eq!(good, 400);
    server.wait_for_status(|page| page.count("nobody") == 0);
    let (log, _) = server.end();
    assert_eq!(
        log.matches("was killed by SIGSEGV during /crash").count(),
        50
    );
}

#[test]
fn a_process_that_dies_at_once_again_and_again_is_replaced_ever_more_slowly() {
    let server = Server::start(&["--model", "prefork", "--processes", "1"]);
    let start = Instant::now();
    for _ in 0..5 {
        assert!(server.get("/crash").is_none());
    }
    server.get("/").expect("it is answered");
    // 50 + 100 + 200 + 400 + 800 ms. On a slow machine a process may live for a second before it
    // is asked to crash, and then there is no pause.
    let pauses = Duration::from_millis(1550);
    let slow = start.elapsed() >= Duration::from_secs(5);
    assert!(start.elapsed() >= pauses || slow, "{:?}", start.elapsed());
    server.end();
}

#[test]
fn a_process_is_replaced_when_it_has_answered_its_number_of_requests() {
    for model in [&PREFORK[..2], &HYBRID[..2]] {
        let options = [
            model,
            &["--processes", "2", "--threads", "1", "--max-requests", "5"],
        ]
        .concat();
        let server = Server::start(&options);
        let mut answered: HashMap<u32, usize> = HashMap::new();
        for _ in 0..40 {
            let (_, process) = server.get("/").expect("it is answered").who();
            *answered.entry(process).or_default() += 1;
        }
        assert!(answered.len() >= 8, "{answered:?}");
        assert!(
            answered.values().all(|&requests| requests <= 5),
            "{answered:?}"
        );
        // A connection that is kept open ends with its process.
        let mut client = server.connect();
        for _ in 0..6 {
            client.ask("/");
        }
        let answers = iter::from_fn(|| client.answer()).count();
        assert!(answers <= 5, "{answers}");
        drop(client);
        let (log, _) = server.end();
        assert_eq!(log, "", "this is no death");
    }
}

#[test]
fn requests_under_way_are_answered_if_their_process_is_being_replaced() {
    let server = Server::start(&[
        "--model",
        "hybrid",
        "--processes",
        "1",
        "--threads",
        "2",
        "--max-requests",
        "1",
    ]);
    let mut slow = server.connect();
    slow.ask("/slow?ms=400");
    // The other thread answers this. Then the process waits only for the slow request.
    let mut last = server.connect();
    last.ask("/");
    last.answer().expect("it is answered").who();
    assert!(last.answer().is_none());
    let (log, errors) = server.end();
    slow.answer().expect("it is answered").who();
    assert_eq!((log, errors), Default::default());
}

#[test]
fn requests_under_way_are_answered_before_the_server_ends() {
    for (model, signal) in MODELS
        .into_iter()
        .zip([Signal::SIGTERM, Signal::SIGINT, Signal::SIGINT])
    {
        let server = Server::start(model);
        // A connection without a request keeps nobody waiting.
        let mut idle = server.connect();
        idle.ask("/");
        idle.answer().expect("it is answered");
        let mut clients = occupy(&server, 5, 1000);
        // Its answer will be the last one of its connection.
        clients[0].ask("/");
        let start = Instant::now();
        // To all of them, as Ctrl-C does.
        killpg(pid(server.id), signal).expect("it runs");
        for client in &mut clients {
            client.answer().expect("it is answered").who();
        }
        assert!(!clients[0].answer().expect("it is answered").keeps_open);
        assert!(clients.iter_mut().all(|client| client.answer().is_none()));
        assert!(idle.answer().is_none());
        let (status, _, errors) = server.wait();
        assert_eq!(status.code(), Some(0), "{errors}");
        // It does not use all the time that it gives the requests.
        assert!(start.elapsed() < Duration::from_secs(5), "it has waited");
    }
}

#[test]
fn a_second_signal_ends_the_server_at_once() {
    for model in MODELS {
        let server = Server::start(model);
        let mut clients = occupy(&server, 1, 60_000);
        server.signal(Signal::SIGINT);
        // It has noticed the first one when it refuses connections.
        wait_until("a closed port", || {
            TcpStream::connect(("127.0.0.1", server.port)).is_err()
        });
        let start = Instant::now();
        server.signal(Signal::SIGINT);
        let (status, _, errors) = server.wait();
        assert_eq!(status.code(), Some(130), "{errors}");
        assert!(start.elapsed() < Duration::from_secs(4), "it has waited");
        assert!(clients[0].answer().is_none());
    }
}

#[test]
fn nobody_outlives_a_master_that_was_killed() {
    for model in MODELS {
        let mut server = Server::start(model);
        // One is in the middle of a request, and none is told of the end.
        let _client = occupy(
            &server,
            1,
            if cfg!(target_os = "linux") {
                60_000
            } else {
                1000
            },
        );
        kill_only_the_parent(server.demo.take().expect("it runs"));
    }
}

#[test]
fn more_than_the_last_request_is_read_but_not_answered() {
    // If bytes were left unread, the end of the connection would reach the client as an error.
    let rest = "GET / HTTP/1.0\r\n\r\n".repeat(2000);
    for model in MODELS {
        let server = Server::start(model);
        for first in [
            "GET / HTTP/1.0\r\n\r\n",
            "GET /nowhere HTTP/1.0\r\n\r\n",
            "nonsense\r\n\r\n",
        ] {
            let answer = server.send(format!("{first}{rest}").as_bytes());
            assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        }
        server.end();
    }
}

#[test]
fn what_is_no_request_gets_its_status_and_the_next_request_is_served() {
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(1 << 17));
    let lines = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(65));
    let cases = [
        ("nonsense\r\n\r\n", "400 Bad Request"),
        ("\x16\x03\x01\x02\x00", "400 Bad Request"),
        ("GET / HTTP/1.1\r\n\r\n", "400 Bad Request"),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "400 Bad Request",
        ),
        ("GET /slow?ms=x HTTP/1.0\r\n\r\n", "400 Bad Request"),
        ("GET /slow?ms=60001 HTTP/1.0\r\n\r\n", "400 Bad Request"),
        ("GET /nowhere HTTP/1.0\r\n\r\n", "404 Not Found"),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n",
            "405 Method Not Allowed",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n",
            "413 Content Too Large",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            "413 Content Too Large",
        ),
        ("GET / HTTP/2.0\r\n\r\n", "505 HTTP Version Not Supported"),
        (&long, "431 Request Header Fields Too Large"),
        (&lines, "431 Request Header Fields Too Large"),
    ];
    for model in MODELS {
        let server = Server::start(model);
        for (request, status) in &cases {
            let answer = server.send(request.as_bytes());
            let start: String = request.chars().take(60).collect();
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status}\r\n")),
                "{start:?}: {answer}"
            );
            assert!(answer.contains("Connection: close\r\n"), "{answer}");
            assert!(answer.ends_with(&format!("\r\n\r\n{status}\n")), "{answer}");
        }
        for (bytes, start) in [("GET / HT", "HTTP/1.1 400 "), ("", "")] {
            let half = server.connect();
            half.write(bytes.as_bytes());
            half.0
                .get_ref()
                .shutdown(Shutdown::Write)
                .expect("it is open");
            let answer = io::read_to_string(half.0).expect("it is answered");
            assert!(answer.starts_with(start), "{answer}");
            assert_eq!(answer.is_empty(), bytes.is_empty(), "{answer}");
        }
        let head = server.send(b"HEAD / HTTP/1.0\r\n\r\n");
        assert!(
            head.ends_with("\r\n\r\n"),
            "an answer to HEAD has no body: {head}"
        );
        server.get("/").expect("it is answered").who();
        server.end();
    }
}

#[test]
fn clients_that_dawdle_or_do_nothing_are_let_go_and_those_who_wait_are_served() {
    let server = Server::start(&["--model", "prefork", "--processes", "3"]);
    let mut takes_nothing = server.connect();
    takes_nothing.ask_for_much();
    let silent = server.connect();
    let dawdling = server.connect();
    dawdling.write(b"GET / HT");
    // All workers are taken now. This one waits until the time of one of them is up.
    server.get("/").expect("it is answered").who();
    let answer = io::read_to_string(dawdling.0).expect("it is answered");
    assert!(
        answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"),
        "{answer}"
    );
    assert_eq!(io::read_to_string(silent.0).expect("it is closed"), "");
    server.wait_for_status(|page| page.count("idle") == 2);
    let mut taken = Vec::new();
    let _ = takes_nothing.0.read_to_end(&mut taken);
    assert!(taken.len() < MUCH * 65536, "{}", taken.len());
    server.end();
}

#[test]
fn no_zombie_and_no_descriptor_is_left_whatever_clients_did() {
    for model in [&PREFORK[..], &HYBRID[..]] {
        let server = Server::start(model);
        let descriptors = || fs::read_dir(format!("/proc/{}/fd", server.id)).map(Iterator::count);
        server.status();
        let before = descriptors().ok();
        for path in ["/crash", "/exit", "/panic", "/crash"] {
            assert!(server.get(path).is_none());
            drop(server.connect());
            server.get("/").expect("it is answered");
        }
        let page = server.wait_for_status(|page| page.count("nobody") == 0);
        assert_eq!(page.attributes("data-thread").len(), 16);
        assert_eq!(descriptors().ok(), before);
        let (log, errors) = server.end();
        // Another thread may have been about to note that its answer was sent.
        capture(
            &log,
            r"process (\d+) ended with exit code 3 during .*/exit.*",
        );
        assert_eq!(errors.matches(" calls exit").count(), 1, "{errors}");
    }
}

#[test]
fn a_crash_at_the_very_end_is_in_the_log() {
    let server = Server::start(&["--model", "prefork", "--processes", "1"]);
    server.get("/").expect("it is answered");
    // The master learns of the crash and of its own end at the same time.
    server.signal(Signal::SIGSTOP);
    assert!(server.get("/crash").is_none());
    server.signal(Signal::SIGTERM);
    server.signal(Signal::SIGCONT);
    let (status, log, errors) = server.wait();
    assert_eq!(status.code(), Some(0), "{errors}");
    capture(&log, r"process (\d+) was killed by SIGSEGV during /crash");
}

#[test]
fn a_process_that_is_killed_while_it_does_nothing_loses_no_request() {
    let server = Server::start(&PREFORK);
    let page = server.wait_for_status(|page| page.count("idle") == 15);
    let idle = page
        .attributes("data-state")
        .iter()
        .position(|state| state == "idle");
    let process = &page.attributes("data-process")[idle.expect("there are 15")];
    let process: u32 = process.parse().expect("an id");
    assert!(process > 1, "the id of one process");
    kill(pid(process), Signal::SIGKILL).expect("it runs");
    server.wait_for_status(|page| page.0.contains("was killed by SIGKILL"));
    let (log, errors) = server.end();
    let death = format!("process {process} was killed by SIGKILL during no request\n");
    assert_eq!((log, errors), (death, String::new()));
}

#[test]
fn the_status_page_tells_what_is_going_on() {
    for model in MODELS {
        let server = Server::start(model);
        let mut client = server.connect();
        client.ask("/slow?ms=500");
        server.wait_for_status(|page| {
            page.count("answering") == 2 && page.0.contains("<code>/slow?ms=500</code>")
        });
        client.answer().expect("it is answered");
        server.wait_for_status(|page| page.count("kept-open") == 1);
        let _silent = server.connect();
        server.wait_for_status(|page| page.count("reading") == 1);
        // What a client wrote is shown, but it does nothing.
        let strange = server.get("/<b>&amp;");
        assert_eq!(strange.map(|answer| answer.status), Some(404));
        server.status().attributes("data-state");
        server.end();
    }
}

#[test]
fn arguments_that_contradict_the_model_are_refused() {
    for (options, why) in [
        (
            &["--model", "prefork", "--threads", "2"][..],
            "one thread in each process",
        ),
        (&["--model", "threads", "--processes", "2"], "one process"),
        (&["--model", "threads", "--max-requests", "2"], "only one"),
        (&["--model", "threads", "--threads", "0"], "1..=1000"),
        (&["--model", "forks"], "prefork"),
        (&[], "--model"),
    ] {
        let mut command = demo!("serve", "--port", "0");
        command.args(options);
        assert_usage_error(command, why);
    }
}

#[test]
fn threads_that_cannot_wait_for_connections_end_the_server_with_their_error() {
    let mut command = command("sh", &["-c", "ulimit -n 10; exec \"$0\" \"$@\""]);
    command.arg(demo!().get_program());
    command.args(["serve", "--model", "threads", "--port", "0"]);
    run(command).code(1).stderr(predicates::str::contains(
        "cannot wait for connections: Too many open files",
    ));
}

#[test]
fn a_thread_that_cannot_be_started_ends_the_server_with_an_error() {
    let mut command = demo!("serve", "--model", "threads", "--port", "0");
    // The size of a thread's stack, in bytes. The memory of a process is not so large.
    command.env("RUST_MIN_STACK", (1_u64 << 47).to_string());
    run(command)
        .code(1)
        .stdout("")
        .stderr(predicates::str::contains("cannot start thread 1 of 16: "));
}

#[test]
#[cfg(target_os = "linux")]
fn a_process_that_cannot_be_forked_is_tried_again_after_longer_and_longer_pauses() {
    use std::os::unix::process::CommandExt;

    use nix::{
        sys::resource::{Resource, getrlimit, setrlimit},
        unistd::Uid,
    };

    let options = [
        "serve",
        "--port",
        "0",
        "--model",
        "prefork",
        "--processes",
        "2",
    ];
    let copy = ExecutableForAll::copy_of(&demo!());
    let mut command = command(&copy.0, &options);
    // The limit does not bind root, so root becomes another user; one who may have no second
    // process.
    if Uid::effective().is_root() {
        let id = 50_001 + std::process::id() % 5_000;
        command.uid(id).gid(id);
    }
    let (_, most) = getrlimit(Resource::RLIMIT_NPROC).expect("it can be asked for");
    let limit = move || Ok(setrlimit(Resource::RLIMIT_NPROC, 1, most)?);
    // SAFETY: the closure makes one system call and touches no memory but its own.
    unsafe { command.pre_exec(limit) };
    let mut server = Server::run(command);
    let demo = server.demo.as_mut().expect("it runs");
    let why = "Resource temporarily unavailable (os error 11); next attempt in";
    assert_eq!(
        read_until(demo, " in 100ms\n"),
        format!(
            "cannot fork process 1 of 2: {why} 50ms\n\
             cannot fork process 2 of 2: {why} 50ms\n\
             cannot fork process 1 of 2: {why} 100ms\n"
        )
    );
    server.end();
}

#[test]
fn a_port_that_is_taken_is_an_error() {
    let server = Server::start(&PREFORK);
    let port = server.port.to_string();
    let command = demo!("serve", "--model", "threads", "--port", &port);
    run(command)
        .code(1)
        .stdout("")
        .stderr(predicates::str::contains("cannot listen on 127.0.0.1:"));
    server.end();
}
