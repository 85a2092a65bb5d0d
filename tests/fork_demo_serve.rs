//! What `fork-demo serve` promises, to real sockets.
#![cfg(unix)]

mod common;

use std::{
    collections::HashSet,
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    os::unix::process::CommandExt,
    process::{Child, Command, Output},
    sync::{
        Mutex,
        mpsc::{self, Receiver},
    },
    thread,
    time::{Duration, Instant},
};

use common::*;
use nix::{
    sys::{
        resource::{Resource, setrlimit},
        signal::{Signal, kill, killpg},
    },
    unistd::Uid,
};
use predicates::prelude::*;

/// Long enough for any answer: reached only by a server that gives none.
const LIMIT: Duration = Duration::from_secs(30);

/// A running server, which does not outlive the test.
struct Server {
    demo: Option<Child>,
    id: u32,
    port: u16,
    log: Mutex<Receiver<String>>,
}

impl Server {
    fn start(options: &[&str]) -> Self {
        let mut command = demo!("serve", "--port", "0");
        command.args(options);
        Self::run(command)
    }

    fn run(mut command: Command) -> Self {
        let mut demo = command.spawn().expect("the demo can be started");
        let stdout = demo.stdout.take().expect("stdout is a pipe");
        let (line, log) = mpsc::channel();
        thread::spawn(move || {
            for read in BufReader::new(stdout).lines() {
                let _ = line.send(read.expect("the log can be read"));
            }
        });
        let mut server = Self {
            id: demo.id(),
            demo: Some(demo),
            port: 0,
            log: Mutex::new(log),
        };
        let first = server.log_line();
        let port = capture(&first, r"Listening on http://127\.0\.0\.1:(\d+)/");
        server.port = port.parse().expect("it is a port");
        server
    }

    /// The next line of the log.
    #[track_caller]
    fn log_line(&self) -> String {
        let log = self.log.lock().expect("no test panics with it");
        log.recv_timeout(LIMIT).expect("there is a line")
    }

    fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        client.set_read_timeout(Some(LIMIT)).expect("it can be set");
        client
    }

    /// Sends these bytes, and returns the answer.
    fn send(&self, request: &[u8]) -> String {
        let mut client = self.connect();
        client.write_all(request).expect("the server reads");
        answer_to(client)
    }

    fn get(&self, path: &str) -> String {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())
    }

    /// Asserts that a good request is answered, and returns the id of the child who did.
    #[track_caller]
    fn assert_serves(&self) -> String {
        child_in(&self.get("/"), self.id)
    }

    /// Asks the server to end, and checks that it does: exit code 0, nothing left behind.
    #[track_caller]
    fn end(mut self) -> Output {
        kill(pid(self.id), Signal::SIGTERM).expect("it runs");
        self.wait()
    }

    #[track_caller]
    fn wait(&mut self) -> Output {
        let output = finish(self.demo.take().expect("nobody has waited for it"));
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        output
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

fn answer_to(mut client: TcpStream) -> String {
    let mut answer = String::new();
    client
        .read_to_string(&mut answer)
        .expect("an answer comes, and ends");
    answer
}

#[track_caller]
fn assert_status(answer: &str, status: &str) {
    assert!(
        answer.starts_with(&format!("HTTP/1.1 {status}\r\n")),
        "{status} is expected, not {answer:?}"
    );
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
    let answers: Vec<String> = thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| (0..25).map(|_| server.get("/")).collect::<Vec<_>>()))
            .collect();
        clients
            .into_iter()
            .flat_map(|client| client.join().expect("every request is answered"))
            .collect()
    });
    let children: HashSet<String> = answers.iter().map(|a| child_in(a, server.id)).collect();
    assert_eq!(children.len(), 200);

    let logged: HashSet<String> = (0..200)
        .map(|_| capture(&server.log_line(), r"GET / 200 (\d+)"))
        .collect();
    assert_eq!(logged, children);
    server.end();
}

#[test]
fn nothing_is_left_open_and_no_zombie_stays_whatever_clients_did() {
    let server = Server::start(&[]);
    let descriptors = || match std::fs::read_dir(format!("/proc/{}/fd", server.id)) {
        Ok(entries) => entries.count(),
        // Elsewhere than on Linux, the next check has to do.
        Err(_) => 0,
    };
    let before = descriptors();
    for _ in 0..20 {
        drop(server.connect());
        server.get("/crash");
        server.send(b"nonsense\r\n\r\n");
        server.assert_serves();
    }
    // A line is written when the child is reaped; a client that asks nothing gets none.
    let lines: Vec<String> = (0..60).map(|_| server.log_line()).collect();
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
            "405 Method Not Allowed",
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
        capture(&server.log_line(), &format!(r"({line} \d+)"));
        server.assert_serves();
        server.log_line();
    }
    server.end();
}

#[test]
fn a_client_that_closes_its_side_is_answered_if_it_has_asked() {
    let server = Server::start(&[]);
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "200 OK"),
        ("GET / HT", "400 Bad Request"),
    ] {
        let mut client = server.connect();
        client
            .write_all(request.as_bytes())
            .expect("the server reads");
        client.shutdown(Shutdown::Write).expect("it is open");
        assert_status(&answer_to(client), status);
    }
    server.assert_serves();
    server.end();
}

#[test]
fn a_client_that_dawdles_is_sent_away_however_often_it_sends_a_byte() {
    let server = Server::start(&["--head-timeout", "0.5"]);
    let mut client = server.connect();
    client
        .set_read_timeout(Some(Duration::from_millis(50)))
        .expect("it can be set");
    let mut sent = 0;
    let mut first = [0];
    // A byte whenever there is no answer for a while. If each byte had half a second of its own,
    // this would go on.
    while let Err(error) = client.read(&mut first) {
        assert!(
            matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
            "{error}"
        );
        client.write_all(b"x").expect("the server reads");
        sent += 1;
        assert!(sent < 400, "it is never sent away");
    }
    assert!(sent > 0);
    client.set_read_timeout(Some(LIMIT)).expect("it can be set");
    assert_status(&format!("H{}", answer_to(client)), "408 Request Timeout");
    server.assert_serves();
    server.end();
}

#[test]
fn a_crash_is_logged_and_harms_no_other_request() {
    let server = Server::start(&[]);
    thread::scope(|scope| {
        scope.spawn(|| (0..50).for_each(|_| assert_eq!(server.get("/crash"), "")));
        scope.spawn(|| (0..50).for_each(|_| drop(server.assert_serves())));
    });
    let lines: Vec<String> = (0..100).map(|_| server.log_line()).collect();
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
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| child_in(&server.get("/slow?ms=100"), server.id));
        }
    });
    // Two at a time: four times 100 ms. Were there more, it would be faster.
    assert!(
        start.elapsed() >= Duration::from_millis(400),
        "{:?}",
        start.elapsed()
    );
    server.end();
}

/// Has a server told to end, in the middle of a request.
#[track_caller]
fn assert_the_running_request_is_answered(tell: impl Fn(&Server)) {
    let mut server = Server::start(&[]);
    let mut slow = server.connect();
    slow.write_all(b"GET /slow?ms=500 HTTP/1.1\r\n\r\n")
        .expect("the server reads");
    // Connections are accepted in their order: when this one is answered, the first has its child.
    server.assert_serves();
    tell(&server);
    child_in(&answer_to(slow), server.id);
    server.wait();
    let error = TcpStream::connect(("127.0.0.1", server.port)).expect_err("nobody listens");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    capture(&server.log_line(), r"(GET / 200 \d+)");
    capture(&server.log_line(), r"(GET /slow\?ms=500 200 \d+)");
}

#[test]
fn sigterm_ends_the_server_after_the_running_requests() {
    assert_the_running_request_is_answered(|server| {
        kill(pid(server.id), Signal::SIGTERM).expect("it runs");
    });
}

#[test]
fn ctrl_c_ends_the_server_after_the_running_requests_although_it_reaches_the_children_too() {
    assert_the_running_request_is_answered(|server| {
        killpg(pid(server.id), Signal::SIGINT).expect("it runs");
    });
}

#[test]
fn a_request_that_outlives_the_server_is_answered_and_keeps_no_port() {
    let mut server = Server::start(&[]);
    let mut slow = server.connect();
    slow.write_all(b"GET /slow?ms=500 HTTP/1.1\r\n\r\n")
        .expect("the server reads");
    // Connections are accepted in their order: when this one is answered, the first has its child.
    server.assert_serves();
    adopt_orphans();
    let mut demo = server.demo.take().expect("nobody has waited for it");
    demo.kill().expect("it runs");
    demo.wait().expect("it can be waited for");
    let error = TcpStream::connect(("127.0.0.1", server.port)).expect_err("nobody listens");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert_status(&answer_to(slow), "200 OK");
    finish_with_orphans(demo);
}

#[test]
fn when_fork_is_refused_the_client_is_told_and_the_server_goes_on() {
    let mut command = demo!("serve", "--port", "0");
    // The limit does not bind root, so root becomes another user; one who may have no second
    // process.
    let copy = ExecutableForAll::copy_of(&command);
    if Uid::effective().is_root() {
        command = common::command(&copy.0, &["serve", "--port", "0"]);
        command.uid(54_322).gid(54_322);
    }
    let limit = || Ok(setrlimit(Resource::RLIMIT_NPROC, 1, 1)?);
    // SAFETY: the closure makes one system call and touches no memory but its own.
    unsafe { command.pre_exec(limit) };
    let server = Server::run(command);
    for _ in 0..3 {
        assert_status(&server.get("/"), "503 Service Unavailable");
        assert_eq!(server.log_line(), "- - 503 -");
    }
    let errors = String::from_utf8(server.end().stderr).expect("stderr is UTF-8");
    assert_eq!(
        errors
            .matches("cannot fork a child for a request: Resource temp")
            .count(),
        3,
        "{errors}"
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
fn a_log_that_nobody_reads_does_not_stop_the_server() {
    let mut command = demo!("serve", "--port", "0");
    let (reader, writer) = io::pipe().expect("a pipe can be made");
    command.stdout(writer);
    let mut demo = command.spawn().expect("the demo can be started");
    drop(command);
    let mut first = String::new();
    // Like `head -1`, it reads a line and leaves.
    BufReader::new(reader)
        .read_line(&mut first)
        .expect("it says its address");
    let port = capture(first.trim_end(), r"Listening on http://127\.0\.0\.1:(\d+)/");
    demo.stdout = None;
    let server = Server {
        id: demo.id(),
        demo: Some(demo),
        port: port.parse().expect("it is a port"),
        log: Mutex::new(mpsc::channel().1),
    };
    for _ in 0..10 {
        server.assert_serves();
    }
    assert!(server.end().stderr.is_empty());
}

#[test]
fn an_address_that_cannot_be_printed_ends_the_server() {
    assert_quiet_without_reader(demo!("serve", "--port", "0"));
    assert_error_on_full_disk(demo!("serve", "--port", "0"));
}

#[test]
fn wrong_arguments_are_refused_with_what_is_allowed() {
    assert_usage_error(demo!("serve", "--port", "65536"), "0..=65535");
    assert_usage_error(demo!("serve", "--max-children", "0"), "1..=10000");
    assert_usage_error(demo!("serve", "--head-timeout", "0"), "0.001 to 3600");
    run(demo!("serve", "--help"))
        .success()
        .stdout(predicate::str::is_match("(?s)--head-timeout.*default: 5]").expect("it is valid"));
}
