//! What `fork-demo serve` promises, to real sockets.
//!
//! Three promises take seconds to see kept, so they are asked for by name or by
//! `cargo test -p fork-demo -- --include-ignored`.
#![cfg(unix)]

use std::{
    collections::HashSet,
    fs,
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::process::CommandExt,
    process::{Child, ChildStderr, ChildStdout, Command},
    sync::{
        Mutex,
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::signal::{SigSet, Signal, kill, killpg},
};
use predicates::prelude::*;

use crate::common::*;

/// Long enough for any answer: reached only by a server that gives none.
const LIMIT: Duration = Duration::from_secs(10);

/// How long the server leaves its children when it is told to end.
const GRACE: Duration = Duration::from_secs(5);

/// The lines that come out of a pipe, as they come.
struct Lines(Mutex<Receiver<String>>);

impl Lines {
    fn of(pipe: impl Read + Send + 'static) -> Self {
        let (line, lines) = mpsc::channel();
        thread::spawn(move || {
            for read in BufReader::new(pipe).lines() {
                let _ = line.send(read.expect("a pipe can be read"));
            }
        });
        Self(Mutex::new(lines))
    }

    #[track_caller]
    fn next(&self) -> String {
        let lines = self.0.lock().expect("no test panics with it");
        lines
            .recv_timeout(LIMIT)
            .expect("the server writes another line")
    }

    /// Those that are still to come, until whoever writes them has ended.
    #[track_caller]
    fn rest(&self) -> Vec<String> {
        let lines = self.0.lock().expect("no test panics with it");
        let end = Instant::now() + LIMIT;
        let mut rest = Vec::new();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match lines.recv_timeout(left) {
                Err(RecvTimeoutError::Disconnected) => return rest,
                Ok(line) if !left.is_zero() => rest.push(line),
                _ => panic!(
                    "the server, or a child of it, is still there after {LIMIT:?}, and has said {:?}",
                    rest.last()
                ),
            }
        }
    }
}

/// A running server, which does not outlive the test.
struct Server {
    demo: Option<Child>,
    id: u32,
    port: u16,
    log: Lines,
    errors: Lines,
}

impl Server {
    fn start(options: &[&str]) -> Self {
        let mut command = demo!("serve", "--port", "0");
        command.args(options);
        Self::run(command)
    }

    fn run(command: Command) -> Self {
        let (mut server, log) = Self::run_unread(command);
        server.log = Lines::of(log);
        server
    }

    /// Starts a server. Of its log, nothing is read yet but the address.
    fn run_unread(mut command: Command) -> (Self, ChildStdout) {
        let mut demo = command.spawn().expect("the demo can be started");
        let address = read_until(&mut demo, "\n");
        let log = demo.stdout.take().expect("stdout is a pipe");
        let errors = demo.stderr.take().expect("stderr is a pipe");
        (Self::new(demo, &address, errors), log)
    }

    /// A server that has printed its address.
    fn new(demo: Child, address: &str, errors: ChildStderr) -> Self {
        let id = demo.id();
        let mut server = Self {
            id,
            demo: Some(demo),
            port: 0,
            log: Lines::of(io::empty()),
            errors: Lines::of(errors),
        };
        let port = capture(address, r"Listening on http://127\.0\.0\.1:(\d+)/");
        server.port = port.parse().expect("it is a port");
        server
    }

    fn try_connect(&self) -> io::Result<TcpStream> {
        let client = TcpStream::connect(("127.0.0.1", self.port))?;
        client.set_read_timeout(Some(LIMIT))?;
        Ok(client)
    }

    fn connect(&self) -> TcpStream {
        self.try_connect().expect("it listens")
    }

    /// Sends these bytes, and leaves the connection open.
    fn ask(&self, request: &[u8]) -> TcpStream {
        let mut client = self.connect();
        // In pieces: what is written at once may wait in buffers that nobody reads.
        for piece in request.chunks(1024) {
            client.write_all(piece).expect("the server reads");
        }
        client
    }

    /// Sends these bytes, and returns the answer.
    fn send(&self, request: &[u8]) -> String {
        answer_to(self.ask(request))
    }

    fn get(&self, path: &str) -> String {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())
    }

    /// Sends many requests, from eight clients, and returns the ids of the children who answered.
    fn get_many(&self, path: &str, requests_each: usize) -> HashSet<String> {
        let get = |_| child_in(&self.get(path), self.id);
        let client = || (0..requests_each).map(get).collect::<Vec<_>>();
        thread::scope(|scope| {
            let clients: Vec<_> = (0..8).map(|_| scope.spawn(client)).collect();
            clients
                .into_iter()
                .flat_map(|client| client.join().expect("every request is answered"))
                .collect()
        })
    }

    /// Asserts that a good request is answered, and returns the id of the child who did.
    #[track_caller]
    fn assert_serves(&self) -> String {
        child_in(&self.get("/"), self.id)
    }

    /// Asserts that the server, which was told to end, serves nobody any more.
    #[track_caller]
    fn assert_serves_no_more(&self) {
        // One it may still accept before it looks at its signals. (This one asks nothing: the end
        // of its child would be another signal.)
        let first = self.try_connect();
        let second = self.try_connect().and_then(|mut client| {
            client.write_all(b"GET / HTTP/1.1\r\n\r\n")?;
            io::read_to_string(client)
        });
        assert_eq!(second.unwrap_or_default(), "", "it still serves");
        drop(first);
    }

    /// How long the server has used a processor. Elsewhere than on Linux, it seems to use none.
    fn processor_time(&self) -> Duration {
        let nanoseconds = fs::read_to_string(format!("/proc/{}/schedstat", self.id))
            .ok()
            .and_then(|text| text.split(' ').next()?.parse().ok());
        Duration::from_nanos(nanoseconds.unwrap_or(0))
    }

    /// Asserts that the server, while it waits for a child and has nothing to do, does nothing.
    #[track_caller]
    fn assert_waits_without_working(&self) {
        let (start, before) = (Instant::now(), self.processor_time());
        let slow = self.ask(b"GET /slow?ms=300 HTTP/1.1\r\n\r\n");
        // If the server may have no other child, this client waits too.
        let newcomer = self.ask(b"GET / HTTP/1.1\r\n\r\n");
        child_in(&answer_to(slow), self.id);
        let used = self.processor_time() - before;
        let waited = start.elapsed();
        assert!(waited >= Duration::from_millis(300), "only {waited:?}");
        child_in(&answer_to(newcomer), self.id);
        assert!(
            used < Duration::from_millis(75),
            "it has worked for {used:?} of the 300 ms in which it had nothing to do"
        );
    }

    /// Sends the server SIGINT again and again, until it has ended.
    #[track_caller]
    fn interrupt_until_it_ends(&mut self) {
        let demo = self.demo.as_mut().expect("it runs");
        let start = Instant::now();
        while demo.try_wait().expect("it is our child").is_none() {
            kill(pid(self.id), Signal::SIGINT).expect("nobody has waited for it");
            assert!(start.elapsed() < LIMIT, "it does not end");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks the server to end, and waits for it.
    #[track_caller]
    fn end(mut self) -> Vec<String> {
        kill(pid(self.id), Signal::SIGTERM).expect("it runs");
        self.assert_serves_no_more();
        self.wait()
    }

    /// Waits for the end of the server, which must come by exit code 0 and leave nobody behind.
    /// Returns the errors that it wrote.
    #[track_caller]
    fn wait(&mut self) -> Vec<String> {
        // Its children hold this open too.
        let errors = self.errors.rest();
        let output = finish(self.demo.take().expect("nobody has waited for it"));
        assert_eq!(output.status.code(), Some(0), "{errors:?}");
        errors
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

fn answer_to(client: TcpStream) -> String {
    io::read_to_string(client).expect("an answer comes, and ends, within the limit")
}

/// Asserts that the connection is closed without an answer.
#[track_caller]
fn assert_is_not_answered(client: TcpStream) {
    match io::read_to_string(client) {
        Ok(answer) => assert_eq!(answer, ""),
        // The child was killed before it had read the request.
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
}

#[track_caller]
fn assert_status(answer: &str, status: &str) {
    assert!(
        answer.starts_with(&format!("HTTP/1.1 {status}\r\n")),
        "{status} is expected, not {answer:?}"
    );
    // Or else a client would wait for more, or miss the end.
    let text = answer.replace("\r\n", "\n");
    let (head, body) = text.split_once("\n\n").expect("the head ends");
    let length = capture(head, r"Content-Length: (\d+)");
    assert_eq!(body.len().to_string(), length, "{answer}");
    capture(head, "(Connection: close)");
}

/// The child's id in an answer of 200, whose parent must be the server.
#[track_caller]
fn child_in(answer: &str, server: u32) -> String {
    assert_status(answer, "200 OK");
    let body = answer.replace('\r', "");
    capture(
        &body,
        &format!(r"I am child process \((\d+)\) and my parent is {server}\. *"),
    )
}

#[test]
fn every_request_is_answered_by_a_child_of_its_own() {
    let server = Server::start(&[]);
    let children = server.get_many("/", 25);
    assert_eq!(children.len(), 200);

    let logged: HashSet<String> = (0..200)
        .map(|_| capture(&server.log.next(), r"GET / 200 (\d+)"))
        .collect();
    assert_eq!(logged, children);
    server.end();
}

#[test]
fn nothing_is_left_open_and_no_zombie_stays_whatever_clients_did() {
    let server = Server::start(&[]);
    let descriptors = || match fs::read_dir(format!("/proc/{}/fd", server.id)) {
        Ok(entries) => entries.count(),
        // Elsewhere than on Linux, the next check has to do.
        Err(_) => 0,
    };
    let before = descriptors();
    server.assert_serves();
    server.log.next();
    assert_eq!(descriptors(), before, "a request has left something open");
    for _ in 0..20 {
        drop(server.connect());
        server.get("/crash");
        server.send(b"nonsense\r\n\r\n");
        server.assert_serves();
    }
    // A line is written when the child is reaped; a client that asks nothing gets none.
    let lines: Vec<String> = (0..60).map(|_| server.log.next()).collect();
    assert_eq!(
        lines.iter().filter(|line| line.contains("SIGABRT")).count(),
        20,
        "{lines:?}"
    );
    assert_eq!(descriptors(), before);
    // That nobody is left is for `end` to check.
    server.end();
}

#[test]
fn what_is_no_request_gets_its_status_and_the_next_request_is_served() {
    let server = Server::start(&[]);
    let long_line = [
        b"GET / HTTP/1.1\r\nX: ".as_slice(),
        &vec![b'x'; 1 << 20],
        b"\r\n\r\n",
    ]
    .concat();
    let many_lines = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(65));
    let cases: [(&[u8], &str, &str); 9] = [
        (b"nonsense\r\n\r\n", "400 Bad Request", "- - 400"),
        (b"\x16\x03\x01\x02\x00", "400 Bad Request", "- - 400"),
        (&long_line, "431 Request Header Fields Too Large", "- - 431"),
        (
            many_lines.as_bytes(),
            "431 Request Header Fields Too Large",
            "- - 431",
        ),
        (
            b"POST / HTTP/1.1\r\n\r\n",
            "405 Method Not Allowed\r\nAllow: GET",
            "POST / 405",
        ),
        (
            b"GET /nowhere HTTP/1.1\r\n\r\n",
            "404 Not Found",
            "GET /nowhere 404",
        ),
        (
            b"GET /slow HTTP/1.1\r\n\r\n",
            "400 Bad Request",
            "GET /slow 400",
        ),
        (
            b"GET /slow?ms=60001 HTTP/1.1\r\n\r\n",
            "400 Bad Request",
            r"GET /slow\?ms=60001 400",
        ),
        (
            "GET /\u{9b}31m HTTP/1.1\r\n\r\n".as_bytes(),
            "404 Not Found",
            r"GET /\\u\{9b\}31m 404",
        ),
    ];
    for (request, status, line) in cases {
        assert_status(&server.send(request), status);
        capture(&server.log.next(), &format!(r"({line} \d+)"));
        server.assert_serves();
        server.log.next();
    }
    server.end();
}

#[test]
fn the_end_of_an_answer_does_not_wait_for_the_client() {
    let server = Server::start(&[]);
    // The client closes its side when it has seen the end. A server that waited for that would do
    // so for two seconds.
    let quick = (0..5).any(|_| {
        let start = Instant::now();
        server.assert_serves();
        start.elapsed() < Duration::from_secs(1)
    });
    assert!(quick, "each of five answers took a second to end");
    server.end();
}

#[test]
fn a_client_that_closes_its_side_is_answered_if_it_has_asked() {
    let server = Server::start(&[]);
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "200 OK"),
        ("GET / HT", "400 Bad Request"),
    ] {
        let client = server.ask(request.as_bytes());
        client.shutdown(Shutdown::Write).expect("it is open");
        assert_status(&answer_to(client), status);
    }
    server.assert_serves();
    server.end();
}

#[test]
fn a_client_that_dawdles_is_sent_away_however_often_it_sends_a_byte() {
    let server = Server::start(&["--head-timeout", "0.3"]);
    let silent = server.connect();
    let mut client = server.connect();
    client
        .set_read_timeout(Some(Duration::from_millis(50)))
        .expect("it can be set");
    let mut sent = 0;
    let mut first = [0];
    // A byte whenever there is no answer for a while. If each byte had 0.3 s of its own, this would
    // go on.
    while let Err(error) = client.read(&mut first) {
        assert!(
            matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
            "{error}"
        );
        client.write_all(b"x").expect("the server reads");
        sent += 1;
        assert!(sent < 100, "it is never sent away");
    }
    assert!(sent > 0);
    client.set_read_timeout(Some(LIMIT)).expect("it can be set");
    assert_status(&format!("H{}", answer_to(client)), "408 Request Timeout");
    assert_status(&answer_to(silent), "408 Request Timeout");
    server.assert_serves();
    server.end();
}

#[test]
#[ignore = "it takes the two seconds that a client has to close its side"]
fn a_client_that_goes_on_sending_after_its_answer_is_left_at_last() {
    let server = Server::start(&[]);
    let mut client = server.ask(b"GET / HTTP/1.1\r\n\r\n");
    let log = server.log.0.lock().expect("no test panics with it");
    let mut sent = 0;
    // The line is written when the child has ended.
    while log.recv_timeout(Duration::from_millis(50)).is_err() {
        let _ = client.write_all(b"x");
        sent += 1;
        assert!(sent < 100, "it is never left");
    }
    drop(log);
    server.end();
}

#[test]
fn a_crash_is_logged_and_harms_no_other_request() {
    let server = Server::start(&[]);
    thread::scope(|scope| {
        scope.spawn(|| (0..50).for_each(|_| assert_eq!(server.get("/crash"), "")));
        scope.spawn(|| (0..50).for_each(|_| drop(server.assert_serves())));
    });
    let lines: Vec<String> = (0..100).map(|_| server.log.next()).collect();
    let all = lines.join("\n");
    assert_eq!(
        captures(&all, r"(GET /crash SIGABRT \d+)").len(),
        50,
        "{all}"
    );
    assert_eq!(captures(&all, r"(GET / 200 \d+)").len(), 50, "{all}");
    server.end();
}

#[test]
fn never_more_children_run_than_allowed_and_newcomers_wait() {
    let server = Server::start(&["--max-children", "2"]);
    let busy = [server.ask(b"GET / HT"), server.ask(b"GET / HT")];
    let mut newcomers: Vec<_> = (0..6)
        .map(|_| server.ask(b"GET / HTTP/1.1\r\n\r\n"))
        .collect();
    // A third child would answer at once.
    let wait = |client: &TcpStream, longest| client.set_read_timeout(Some(longest));
    wait(&newcomers[0], Duration::from_millis(200)).expect("it can be set");
    let early = newcomers[0].read(&mut [0]);
    assert!(early.is_err(), "a newcomer is answered while all are busy");
    wait(&newcomers[0], LIMIT).expect("it can be set");

    for mut client in busy {
        client
            .write_all(b"TP/1.1\r\n\r\n")
            .expect("the child reads");
        child_in(&answer_to(client), server.id);
    }
    for client in newcomers {
        child_in(&answer_to(client), server.id);
    }
    server.end();
}

#[test]
fn while_there_is_nothing_to_do_the_server_does_nothing() {
    let server = Server::start(&["--max-children", "1"]);
    server.assert_waits_without_working();
    server.end();
}

#[test]
fn children_that_end_together_are_all_reaped() {
    let server = Server::start(&[]);
    let clients: Vec<_> = (0..8).map(|_| server.ask(b"GET / HT")).collect();
    // Connections are accepted in their order: when this one is answered, each has its child.
    server.assert_serves();
    server.log.next();

    // Of all the signals that a stopped server gets when its children end, one is kept.
    kill(pid(server.id), Signal::SIGSTOP).expect("it runs");
    let children: Vec<u32> = clients
        .into_iter()
        .map(|mut client| {
            client
                .write_all(b"TP/1.1\r\n\r\n")
                .expect("the child reads");
            let child = child_in(&answer_to(client), server.id);
            child.parse().expect("it is an id")
        })
        .collect();
    children
        .iter()
        .for_each(|&child| wait_for_the_zombie(child));
    kill(pid(server.id), Signal::SIGCONT).expect("it is stopped");

    // The first request may come before the signal; the second comes after it.
    server.assert_serves();
    server.assert_serves();
    for child in children {
        let gone = kill(pid(child), None);
        assert_eq!(gone, Err(Errno::ESRCH), "child {child} is not reaped");
    }
    server.end();
}

/// Waits until a child of somebody else has ended. Elsewhere than on Linux, it does not wait.
fn wait_for_the_zombie(child: u32) {
    wait_until(&format!("the end of child {child}"), || {
        let stat = fs::read_to_string(format!("/proc/{child}/stat"));
        stat.map_or(true, |stat| stat.contains(") Z "))
    });
}

#[test]
fn a_server_without_requests_ends_at_once() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut server = Server::start(&[]);
        let start = Instant::now();
        kill(pid(server.id), signal).expect("it runs");
        server.assert_serves_no_more();
        server.wait();
        assert!(
            start.elapsed() < GRACE,
            "it waited, although it had no request"
        );
    }
}

#[test]
fn a_client_that_asks_nothing_or_stays_after_its_answer_does_not_hold_up_the_end() {
    let mut server = Server::start(&["--head-timeout", "60"]);
    let silent = server.connect();
    let answered = server.ask(b"GET /?first HTTP/1.1\r\n\r\n");
    answered.peek(&mut [0]).expect("the answer comes");
    // Connections are accepted in their order: when this one is answered, the first has its child.
    server.assert_serves();
    kill(pid(server.id), Signal::SIGTERM).expect("it runs");
    // If it were held up, the child would be killed in the end, and say nothing.
    assert_status(&answer_to(silent), "503 Service Unavailable");
    server.wait();
    child_in(&answer_to(answered), server.id);
    let log = server.log.rest().join("\n");
    capture(&log, r"(- - 503 \d+)");
    capture(&log, r"(GET /\?first 200 \d+)");
}

#[test]
fn a_server_that_is_started_with_its_signals_blocked_gets_them_all_the_same() {
    let mut command = demo!("serve", "--port", "0", "--max-children", "1");
    let block = || Ok(SigSet::all().thread_block()?);
    // SAFETY: the closure makes one system call and touches no memory but its own.
    unsafe { command.pre_exec(block) };
    let server = Server::run(command);
    // The second has to wait until the first child is reaped.
    server.assert_serves();
    server.assert_serves();
    server.end();
}

/// Has a server and all its children told to end, in the middle of three requests.
#[track_caller]
fn assert_the_running_requests_are_answered(signal: Signal) {
    let mut server = Server::start(&[]);
    let slow = server.ask(b"GET /slow?ms=300 HTTP/1.1\r\n\r\n");
    // The end of the other is nothing that ends this one.
    let slower = server.ask(b"GET /slow?ms=600 HTTP/1.1\r\n\r\n");
    let mut half = server.ask(b"GET / HT");
    // Connections are accepted in their order: when this one is answered, the others have their
    // children.
    server.assert_serves();
    capture(&server.log.next(), r"(GET / 200 \d+)");

    killpg(pid(server.id), signal).expect("it runs");
    server.assert_serves_no_more();
    half.write_all(b"TP/1.1\r\n\r\n").expect("the child reads");
    child_in(&answer_to(half), server.id);
    child_in(&answer_to(slow), server.id);
    child_in(&answer_to(slower), server.id);
    server.wait();
    let log = server.log.rest().join("\n");
    capture(&log, r"(The server ends): requests under way have 5 s\. .*");
    capture(&log, r"(GET / 200 \d+)");
    capture(&log, r"(GET /slow\?ms=300 200 \d+)");
}

#[test]
fn ctrl_c_ends_the_server_after_the_running_requests_although_it_reaches_the_children_too() {
    assert_the_running_requests_are_answered(Signal::SIGINT);
}

#[test]
fn sigterm_to_all_of_them_ends_the_server_after_the_running_requests_too() {
    assert_the_running_requests_are_answered(Signal::SIGTERM);
}

#[test]
#[ignore = "it takes the five seconds that the server leaves its children"]
fn a_request_that_takes_longer_than_the_server_waits_is_killed_and_logged() {
    let mut server = Server::start(&[]);
    let slow = server.ask(b"GET /slow?ms=60000 HTTP/1.1\r\n\r\n");
    // Connections are accepted in their order: when this one is answered, the first has its child.
    server.assert_serves();
    kill(pid(server.id), Signal::SIGTERM).expect("it runs");
    assert_is_not_answered(slow);
    server.wait();
    let log = server.log.rest().join("\n");
    capture(&log, r"(GET /slow\?ms=60000 SIGKILL \d+)");
}

#[test]
fn a_second_ctrl_c_ends_the_server_at_once() {
    let mut server = Server::start(&[]);
    // The server would have left it the time to be answered.
    let slow = server.ask(b"GET /slow?ms=4000 HTTP/1.1\r\n\r\n");
    // Connections are accepted in their order: when this one is answered, the first has its child.
    server.assert_serves();
    server.interrupt_until_it_ends();
    assert_is_not_answered(slow);
    server.wait();
    let log = server.log.rest().join("\n");
    capture(&log, r"(GET /slow\?ms=4000 SIGKILL \d+)");
}

#[test]
fn two_signals_in_a_row_count_as_one() {
    // They do if they come within 0.1 seconds. On a busy machine, the second one may come later.
    let answered = (0..5).any(|_| {
        let mut server = Server::start(&[]);
        let slow = server.ask(b"GET /slow?ms=300 HTTP/1.1\r\n\r\n");
        // Connections are accepted in their order: when this one is answered, the first has its
        // child.
        server.assert_serves();
        server.log.next();
        kill(pid(server.id), Signal::SIGTERM).expect("it runs");
        // When this line comes, the server has taken the first signal. (If it does not come next, the
        // request was over before.)
        if !server.log.next().starts_with("The server ends") {
            return false;
        }
        kill(pid(server.id), Signal::SIGTERM).expect("it runs");
        server.wait();
        io::read_to_string(slow).is_ok_and(|answer| answer.starts_with("HTTP/1.1 200 OK"))
    });
    assert!(
        answered,
        "none of five requests was answered after a second signal"
    );
}

#[test]
fn a_taken_port_is_an_error() {
    let server = Server::start(&[]);
    run(demo!("serve", "--port", &server.port.to_string()))
        .code(1)
        .stdout("")
        .stderr(predicate::str::contains(format!(
            "cannot listen on 127.0.0.1:{}: Address already in use",
            server.port
        )));
    server.end();
}

#[test]
fn a_log_whose_reader_left_does_not_stop_the_server() {
    let (server, log) = Server::run_unread(demo!("serve", "--port", "0"));
    // As `head -1` does.
    drop(log);
    for _ in 0..10 {
        server.assert_serves();
    }
    server.assert_waits_without_working();
    assert_eq!(server.end(), [""; 0]);
}

/// A request with a line of 250 bytes in the log.
fn long_path() -> String {
    format!("/?{}", "x".repeat(230))
}

#[test]
fn a_slow_reader_of_the_log_holds_nobody_up_and_misses_no_line() {
    let (mut server, mut log) = Server::run_unread(demo!("serve", "--port", "0"));
    // More than a pipe holds.
    let mut children = server.get_many(&long_path(), 40);
    // Then there is some room again, but not for all that is to be written.
    let mut start = [0; 8192];
    log.read_exact(&mut start).expect("the log can be read");
    children.insert(child_in(&server.get(&long_path()), server.id));

    server.log = Lines::of(io::Cursor::new(start).chain(log));
    let lines: Vec<String> = children.iter().map(|_| server.log.next()).collect();
    let logged = captures(&lines.join("\n"), r"GET /\?x{230} 200 (\d+)");
    assert_eq!(HashSet::from_iter(logged), children);
    server.end();
}

#[test]
fn an_address_that_cannot_be_printed_ends_the_server() {
    assert_quiet_without_reader(demo!("serve", "--port", "0"));
    assert_error_on_full_disk(demo!("serve", "--port", "0"));
}

#[test]
fn wrong_arguments_are_refused_with_what_is_allowed() {
    assert_usage_error(demo!("serve", "--port", "65536"), "0..=65535");
    // A server that took one of these would not serve: its port is taken.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener
        .local_addr()
        .expect("it has one")
        .port()
        .to_string();
    for (option, value, allowed) in [
        ("--max-children", "0", "1..=10000"),
        ("--head-timeout", "0", "0.001 to 3600"),
    ] {
        assert_usage_error(demo!("serve", "--port", &port, option, value), allowed);
    }
    run(demo!("serve", "--help"))
        .success()
        .stdout(predicate::str::is_match("(?s)--head-timeout.*default: 5]").expect("it is valid"));
}

/// What a test can bring about on Linux only.
#[cfg(target_os = "linux")]
mod on_linux {
    use std::{
        fs::File,
        os::fd::AsRawFd,
        ptr,
        sync::atomic::{AtomicU32, Ordering},
    };

    use nix::{
        fcntl::{FcntlArg, fcntl},
        libc,
        sys::resource::{Resource, getrlimit, setrlimit},
        unistd::{Pid, Uid},
    };

    use super::*;

    /// Starts a server to which the system refuses each fork. Returns it with its user, if that is
    /// not ours.
    fn start_childless() -> (Server, Option<u32>) {
        static USERS: AtomicU32 = AtomicU32::new(0);
        let mut command = demo!("serve", "--port", "0", "--max-children", "1");
        // The limit does not bind root, so root becomes another user; one who may have no second
        // process.
        let copy = ExecutableForAll::copy_of(&command);
        let mut user = None;
        if Uid::effective().is_root() {
            command =
                crate::common::command(&copy.0, &["serve", "--port", "0", "--max-children", "1"]);
            // Tests that run at the same time have other ids.
            let id = std::process::id() * 2 + USERS.fetch_add(1, Ordering::Relaxed);
            let id = 60_001 + id % 5_000;
            command.uid(id).gid(id);
            user = Some(id);
        }
        let (_, most) = getrlimit(Resource::RLIMIT_NPROC).expect("it can be asked for");
        let limit = move || Ok(setrlimit(Resource::RLIMIT_NPROC, 1, most)?);
        // SAFETY: the closure makes one system call and touches no memory but its own.
        unsafe { command.pre_exec(limit) };
        (Server::run(command), user)
    }

    /// Lets the server fork from now on.
    fn allow_children(server: &Server, user: Option<u32>) {
        // Not every root may set the limits of another user's process, but this user may. So a
        // program that does nothing is started as this user, and sets the limit first.
        let mut command = Command::new("true");
        if let Some(id) = user {
            command.uid(id).gid(id);
        }
        let (_, most) = getrlimit(Resource::RLIMIT_NPROC).expect("it can be asked for");
        let server = server.id;
        let limit = move || Ok(limit_process(server, Resource::RLIMIT_NPROC, most, most)?);
        // SAFETY: the closure makes one system call and touches no memory but its own.
        unsafe { command.pre_exec(limit) };
        let status = command.status().expect("the limit can be set");
        assert!(status.success());
    }

    #[test]
    fn when_fork_is_refused_the_client_is_told_and_the_server_goes_on() {
        let (mut server, _) = start_childless();
        // One who asks nothing: the server must not wait for that.
        let silent = server.connect();
        for _ in 0..3 {
            assert_status(&server.get("/"), "503 Service Unavailable");
        }
        assert_status(&answer_to(silent), "503 Service Unavailable");
        // Bytes that the server left unread would break the connection off, and the answer with it.
        kill(pid(server.id), Signal::SIGSTOP).expect("it runs");
        let talkative = server.ask(&[b'x'; 20_000]);
        kill(pid(server.id), Signal::SIGCONT).expect("it runs");
        assert_status(&answer_to(talkative), "503 Service Unavailable");
        // And so would bytes that come when the server has answered already.
        let late = server.connect();
        send_much_after_the_answer(&late);
        assert_status(&answer_to(late), "503 Service Unavailable");
        for _ in 0..6 {
            assert_eq!(server.log.next(), "- - 503 -");
        }
        kill(pid(server.id), Signal::SIGTERM).expect("it runs");
        let errors = server.wait();
        assert_eq!(errors.len(), 6, "{errors:?}");
        for error in errors {
            let told = "cannot fork a child for a request: Resource temporarily unavailable";
            assert!(error.contains(told), "{error}");
        }
    }

    #[test]
    fn a_child_has_the_connection_of_its_own_client_only() {
        let (server, user) = start_childless();
        let refused = server.ask(b"GET / HT");
        // The server keeps the connection for a while.
        assert_eq!(server.log.next(), "- - 503 -");
        allow_children(&server, user);
        let half = server.ask(b"GET / HT");
        let child = server.only_child();
        // The server closes the connection itself in the end, after five seconds.
        let start = Instant::now();
        wait_until("its own connection only", || sockets(child).len() == 1);
        assert!(start.elapsed() < LIMIT / 2, "the child kept the other one");
        assert_status(&answer_to(refused), "503 Service Unavailable");
        drop(half);
        server.end();
    }

    #[test]
    fn a_server_without_memory_for_its_children_prints_no_address() {
        for mebibytes in 4..100 {
            let mut command = demo!("serve", "--port", "0", "--max-children", "10000");
            // A server that prints its address ends with an error.
            let full = File::options().write(true).open("/dev/full");
            command.stdout(full.expect("/dev/full can be opened"));
            let limit = move || {
                // With too little memory, the demo cannot start, and may abort.
                setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
                Ok(setrlimit(
                    Resource::RLIMIT_AS,
                    mebibytes << 20,
                    mebibytes << 20,
                )?)
            };
            // SAFETY: the closure makes two system calls and touches no memory but its own.
            unsafe { command.pre_exec(limit) };
            let assert = run(command).failure();
            let errors = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
            assert!(!errors.contains("cannot write to stdout"), "{errors}");
            if errors.contains("cannot share memory with children") {
                return;
            }
        }
        panic!("no limit leaves too little memory for the children alone");
    }

    #[test]
    fn a_client_may_send_the_rest_of_its_request_after_its_answer() {
        let server = Server::start(&[]);
        let client = server.ask(b"nonsense\r\n\r\n");
        send_much_after_the_answer(&client);
        assert_status(&answer_to(client), "400 Bad Request");
        server.end();
    }

    #[test]
    fn when_the_client_has_closed_its_side_the_child_ends_without_work() {
        let server = Server::start(&[]);
        server.assert_serves();
        // The line is written when the child has ended.
        server.log.next();
        let [_, _, of_children @ ..] = watchdog::linux::ticks(server.id).expect("it runs");
        let ticks: u64 = of_children.iter().sum();
        // (There are 100 ticks in a second. A child that looks again and again would compute for
        // two seconds.)
        assert!(ticks < 50, "{ticks}");
        server.end();
    }

    /// Waits for an answer, and then sends more than fits into the buffers of the connection. So
    /// somebody has to read it.
    #[track_caller]
    fn send_much_after_the_answer(mut client: &TcpStream) {
        make_the_send_buffer_small(client);
        client.peek(&mut [0]).expect("the answer comes");
        for _ in 0..20 {
            client.write_all(&[b'x'; 20_000]).expect("the server reads");
        }
    }

    #[test]
    fn a_second_ctrl_c_ends_a_server_whose_log_nobody_reads() {
        let (mut server, log) = Server::run_unread(demo!("serve", "--port", "0"));
        // The pipe then holds a single page.
        fcntl(&log, FcntlArg::F_SETPIPE_SZ(0)).expect("it is a pipe");
        server.get_many(&long_path(), 8);
        server.interrupt_until_it_ends();
        drop(log);
        server.wait();
    }

    #[test]
    #[ignore = "it takes two seconds to send so many requests"]
    fn a_log_that_is_never_read_ends_at_a_whole_line() {
        let (mut server, log) = Server::run_unread(demo!("serve", "--port", "0"));
        let children = server.get_many(&long_path(), 200);
        // Each line is written, or lost, when the child is reaped.
        wait_until("the end of all children", || server.children().is_empty());
        server.log = Lines::of(log);
        kill(pid(server.id), Signal::SIGTERM).expect("it runs");
        server.wait();
        let lines = server.log.rest();
        let all = lines.join("\n");
        let logged = captures(&all, r"GET /\?x{230} 200 (\d+)");
        let lost = captures(&all, r"(\d+) lines are lost: they were too many to keep");
        assert_eq!(logged.len() + lost.len(), lines.len(), "{lines:?}");
        let logged = HashSet::from_iter(logged);
        assert!(children.is_superset(&logged));
        // A quarter of a megabyte is kept, beside what the pipe holds.
        assert!((1000..1600).contains(&logged.len()), "{}", logged.len());
        let lost: usize = lost
            .iter()
            .filter_map(|lost| lost.parse::<usize>().ok())
            .sum();
        assert_eq!(logged.len() + lost, children.len());
    }

    fn make_the_send_buffer_small(client: &TcpStream) {
        let bytes: libc::c_int = 4096;
        // SAFETY: the call reads `bytes`, which is as long as it is told.
        let result = unsafe {
            libc::setsockopt(
                client.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_SNDBUF,
                (&raw const bytes).cast(),
                size_of_val(&bytes) as libc::socklen_t,
            )
        };
        Errno::result(result).expect("it can be set");
    }

    #[test]
    fn a_terminal_that_nobody_reads_does_not_stop_the_server() {
        const CHILDREN: usize = 300;

        let terminal = new_terminal(None);
        let mut command = demo!("serve", "--port", "0", "--max-children", "400");
        command.stdout(terminal.slave);
        let mut demo = command.spawn().expect("the demo can be started");
        // It holds the terminal's other end too, and would keep the terminal open.
        drop(command);
        let mut screen = BufReader::new(fs::File::from(terminal.master));
        let mut address = String::new();
        screen
            .read_line(&mut address)
            .expect("a terminal can be read");
        let errors = demo.stderr.take().expect("stderr is a pipe");
        let server = Server::new(demo, address.trim_end(), errors);

        let mut clients: Vec<_> = (0..CHILDREN).map(|_| server.connect()).collect();
        wait_until("a child for each client", || {
            server.children().len() == CHILDREN
        });
        // All end while the server is stopped: then it has more to write at once than the terminal
        // takes.
        kill(pid(server.id), Signal::SIGSTOP).expect("it runs");
        for client in &mut clients {
            let request = format!("GET {} HTTP/1.1\r\n\r\n", long_path());
            client.write_all(request.as_bytes()).expect("a child reads");
        }
        for client in clients {
            assert_status(&answer_to(client), "200 OK");
        }
        kill(pid(server.id), Signal::SIGCONT).expect("it is stopped");
        // It gets the time to fill the terminal. (A client that comes before that would not notice
        // a write that waits: the end of its child would interrupt it.)
        thread::sleep(Duration::from_millis(200));
        for _ in 0..3 {
            server.assert_serves();
        }
        server.assert_waits_without_working();

        // When the terminal is read again, it shows every line, and each once and whole.
        let mut lines = screen.lines();
        for _ in 0..CHILDREN {
            let line = lines
                .next()
                .expect("a line")
                .expect("a terminal can be read");
            capture(line.trim_end(), r"GET /\?x{230} (200) \d+");
        }
        kill(pid(server.id), Signal::SIGKILL).expect("it runs");
    }

    #[test]
    fn a_time_limit_goes_on_while_a_child_is_interrupted() {
        let server = Server::start(&["--head-timeout", "0.5"]);
        let mut silent = server.connect();
        let child = server.only_child();
        silent
            .set_read_timeout(Some(Duration::from_millis(100)))
            .expect("it can be set");
        let mut interruptions = 0;
        // If each interruption started the time anew, this would go on.
        while silent.read(&mut [0]).is_err() {
            for signal in [Signal::SIGTERM, Signal::SIGSTOP, Signal::SIGCONT] {
                let _ = kill(child, signal);
            }
            interruptions += 1;
            assert!(interruptions < 100, "the time is never up");
        }
        server.end();
    }

    #[test]
    fn a_request_that_outlives_the_server_is_answered_and_keeps_no_port() {
        let mut server = Server::start(&["--head-timeout", "60"]);
        let mut half = server.ask(b"GET / HT");
        let child = server.only_child();
        assert_eq!(listening_sockets(pid(server.id)), 1);
        // (To try the port would not do: when the server has ended, another test's may get it.)
        wait_until("a child without the port", || listening_sockets(child) == 0);
        // A Ctrl-C reaches the child too.
        wait_until("a child that ignores them", || {
            ignores(child, Signal::SIGINT) && ignores(child, Signal::SIGTERM)
        });

        adopt_orphans();
        let mut demo = server.demo.take().expect("nobody has waited for it");
        demo.kill().expect("it runs");
        demo.wait().expect("it can be waited for");
        half.write_all(b"TP/1.1\r\n\r\n").expect("the child reads");
        assert_status(&answer_to(half), "200 OK");
        finish_with_orphans(demo);
    }

    impl Server {
        /// Waits until the server has one child, and returns it.
        fn only_child(&self) -> Pid {
            wait_for("the client's child", || match self.children()[..] {
                [child] => Some(child),
                _ => None,
            })
        }

        /// The children that the server has at this moment.
        fn children(&self) -> Vec<Pid> {
            let path = format!("/proc/{0}/task/{0}/children", self.id);
            let children = fs::read_to_string(path).expect("the server runs");
            let ids = children.split_whitespace();
            ids.map(|id| pid(id.parse().expect("it is an id")))
                .collect()
        }
    }

    /// Whether a process ignores a signal.
    fn ignores(process: Pid, signal: Signal) -> bool {
        let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
        let ignored = capture(&status, r"SigIgn:\s*([0-9a-f]+)");
        // The lowest bit stands for signal 1.
        let ignored = u64::from_str_radix(&ignored, 16).expect("it is a number");
        ignored >> (signal as i32 - 1) & 1 == 1
    }

    /// The inodes of the sockets that a process has.
    fn sockets(process: Pid) -> Vec<String> {
        let descriptors = fs::read_dir(format!("/proc/{process}/fd")).expect("it runs");
        descriptors
            .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
            .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.to_owned()))
            .map(|inode| inode.trim_end_matches(']').to_owned())
            .collect()
    }

    /// How many sockets a process has that listen for connections.
    fn listening_sockets(process: Pid) -> usize {
        let table = fs::read_to_string("/proc/net/tcp").expect("the sockets are listed");
        let listening: HashSet<&str> = table
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .filter(|fields| fields[3] == "0A")
            .map(|fields| fields[9])
            .collect();
        sockets(process)
            .iter()
            .filter(|inode| listening.contains(inode.as_str()))
            .count()
    }

    /// How long the server leaves the system alone after a refusal.
    const PAUSE: Duration = Duration::from_millis(100);

    #[test]
    fn when_no_descriptor_is_left_the_newcomer_waits_and_the_server_does_not_spin() {
        let server = Server::start(&[]);
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("it can be asked for");
        let (start, before) = (Instant::now(), server.processor_time());
        // As many as the server has already, or fewer. (`poll` needs three.)
        limit_descriptors(server.id, 3, hard);
        let newcomer = server.ask(b"GET / HTTP/1.1\r\n\r\n");
        let told = "fork-demo: cannot accept a connection: Too many open files (os error 24)";
        for _ in 0..3 {
            assert_eq!(server.errors.next(), told);
        }
        let used = server.processor_time() - before;
        limit_descriptors(server.id, soft, hard);
        child_in(&answer_to(newcomer), server.id);
        let pauses = start.elapsed().div_duration_f64(PAUSE);
        let messages = 3 + server.end().len();
        assert!(
            messages as f64 <= pauses + 1.0,
            "{messages} messages in the time of {pauses:.1} pauses"
        );
        assert!(
            used < Duration::from_millis(75),
            "it has worked for {used:?} in two pauses of {PAUSE:?}"
        );
    }

    #[test]
    fn a_server_that_can_wait_no_more_leaves_no_child_behind() {
        let mut server = Server::start(&[]);
        let slow = server.ask(b"GET /slow?ms=4000 HTTP/1.1\r\n\r\n");
        server.assert_serves();
        // `poll` refuses more descriptors than a process may have. It is called again for this:
        limit_descriptors(server.id, 0, 0);
        kill(pid(server.id), Signal::SIGCHLD).expect("it runs");
        assert_is_not_answered(slow);
        let demo = server.demo.take().expect("it runs");
        assert_eq!(finish(demo).status.code(), Some(1));
        assert!(server.errors.rest().join("\n").contains("cannot wait"));
    }

    /// Limits the descriptors of a running process: to `soft` now, to `hard` at most.
    fn limit_descriptors(process: u32, soft: u64, hard: u64) {
        limit_process(process, Resource::RLIMIT_NOFILE, soft, hard).expect("the server is ours");
    }

    /// Sets a limit of a running process.
    fn limit_process(process: u32, resource: Resource, soft: u64, hard: u64) -> Result<(), Errno> {
        let limit = libc::rlimit {
            rlim_cur: soft,
            rlim_max: hard,
        };
        let process = pid(process).as_raw();
        // SAFETY: the call reads `limit`, and takes a null pointer for the limit there was.
        let result = unsafe { libc::prlimit(process, resource as _, &limit, ptr::null_mut()) };
        Errno::result(result).map(drop)
    }
}
