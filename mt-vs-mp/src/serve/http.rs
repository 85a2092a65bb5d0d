//! The HTTP of one connection: it reads the requests, and answers them in the same order.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    time::{Duration, Instant},
};

use httparse::{EMPTY_HEADER, Error};

use super::{
    routes::{self, Kind},
    scoreboard::State,
    waiting,
    worker::Worker,
};

/// The longest head of a request, in bytes.
const HEAD_LIMIT: usize = 8 * 1024;
/// The most header lines of a request.
const HEADERS: usize = 64;
/// How long a worker waits for the first byte of a request.
const IDLE: Duration = Duration::from_secs(5);
/// How long the head of a request may take from its first byte to its last. How long a client may
/// take to receive an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a client may take to close its side, after the server has closed its own.
const LINGER: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    Ok = 200,
    BadRequest = 400,
    NotFound = 404,
    MethodNotAllowed = 405,
    RequestTimeout = 408,
    ContentTooLarge = 413,
    HeadTooLong = 431,
    VersionNotSupported = 505,
}

impl Status {
    fn reason(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::BadRequest => "Bad Request",
            Self::NotFound => "Not Found",
            Self::MethodNotAllowed => "Method Not Allowed",
            Self::RequestTimeout => "Request Timeout",
            Self::ContentTooLarge => "Content Too Large",
            Self::HeadTooLong => "Request Header Fields Too Large",
            Self::VersionNotSupported => "HTTP Version Not Supported",
        }
    }
}

/// What a worker needs for each connection. It is allocated once.
pub struct Buffers {
    received: Box<[u8; HEAD_LIMIT]>,
    body: Vec<u8>,
    answer: Vec<u8>,
}

impl Buffers {
    pub fn new() -> Self {
        Self {
            received: Box::new([0; HEAD_LIMIT]),
            body: Vec::new(),
            answer: Vec::new(),
        }
    }
}

struct Request<'a> {
    /// Whether the method is HEAD, which is like GET, but asks only for the head of the answer.
    only_head: bool,
    target: &'a str,
    /// Whether another request may follow on this connection.
    keep_open: bool,
    /// The length of the head, in bytes.
    length: usize,
}

/// Serves a connection until the client leaves, its time is over, or the server ends.
pub fn serve(connection: &TcpStream, worker: &Worker, buffers: &mut Buffers) {
    let Buffers {
        received,
        body,
        answer,
    } = buffers;
    let mut filled = 0;
    worker.slot.enter(State::Reading);
    loop {
        let request = match read_request(connection, worker, received, &mut filled) {
            Ok(Some(request)) => request,
            Ok(None) => return,
            Err(status) => {
                let keep_open = false;
                error_page(status, body);
                write_head(answer, status, Kind::Text, keep_open, body.len());
                answer.extend_from_slice(body);
                if send(connection, answer).is_ok() {
                    linger(connection, &mut received[..]);
                }
                return;
            }
        };
        worker
            .slot
            .start_answer(request.target, worker.site.board.now());
        body.clear();
        let (status, kind) = match routes::answer(request.target, worker, body) {
            Ok(kind) => (Status::Ok, kind),
            Err(status) => {
                error_page(status, body);
                (status, Kind::Text)
            }
        };
        let keep_open = request.keep_open && kind != Kind::Page;
        write_head(answer, status, kind, keep_open, body.len());
        if !request.only_head {
            answer.extend_from_slice(body);
        }
        let sent = send(connection, answer);
        worker.slot.end_answer();
        if sent.is_err() {
            return;
        }
        // The bytes after this request are the next request, or its beginning.
        let rest = request.length..filled;
        filled = rest.len();
        if !keep_open || worker.is_retired() {
            if filled > 0 {
                linger(connection, &mut received[..]);
            }
            return;
        }
        received.copy_within(rest, 0);
    }
}

/// Reads until a request is complete. Returns `None` if the client has left or has sent nothing in
/// time, or if the server ends.
fn read_request<'a>(
    connection: &TcpStream,
    worker: &Worker,
    received: &'a mut [u8; HEAD_LIMIT],
    filled: &mut usize,
) -> Result<Option<Request<'a>>, Status> {
    let mut server_ends = false;
    let mut deadline = Instant::now() + if *filled == 0 { IDLE } else { PATIENCE };
    while parse(&received[..*filled])?.is_none() {
        // When the server ends, a request that has begun to arrive is still answered.
        let may_end = (*filled == 0).then_some(worker.end);
        let Ok(wake) = waiting::readable(connection, may_end, deadline) else {
            return Ok(None);
        };
        server_ends |= wake.end;
        if !wake.client {
            return if *filled > 0 {
                Err(Status::RequestTimeout)
            } else {
                Ok(None)
            };
        }
        match (&*connection).read(&mut received[*filled..]) {
            Ok(0) if *filled == 0 => return Ok(None),
            // The client has closed its side in the middle of a head.
            Ok(0) => return Err(Status::BadRequest),
            Ok(more) => {
                if *filled == 0 {
                    // One deadline for the whole head: with a new deadline for each byte, a client
                    // could stay for ever.
                    deadline = Instant::now() + PATIENCE;
                }
                *filled += more;
            }
            Err(_) => return Ok(None),
        }
    }
    let mut request = parse(&received[..*filled])?;
    if let Some(request) = &mut request {
        request.keep_open &= !server_ends;
    }
    Ok(request)
}

/// Parses what was received. Returns `None` if the head is not complete yet.
///
/// # Errors
/// The status by which the request is refused.
fn parse(received: &[u8]) -> Result<Option<Request<'_>>, Status> {
    let mut headers = [EMPTY_HEADER; HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(received) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if received.len() >= HEAD_LIMIT => {
            return Err(Status::HeadTooLong);
        }
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(Error::TooManyHeaders) => return Err(Status::HeadTooLong),
        Err(Error::Version) => return Err(Status::VersionNotSupported),
        Err(_) => return Err(Status::BadRequest),
    };
    let is_1_1 = request.version == Some(1);
    let (mut keep_open, mut hosts) = (is_1_1, 0);
    for header in request.headers.iter() {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("connection") {
            for word in header.value.split(|&byte| byte == b',') {
                match word.trim_ascii() {
                    word if word.eq_ignore_ascii_case(b"close") => keep_open = false,
                    word if word.eq_ignore_ascii_case(b"keep-alive") => keep_open = true,
                    _ => {}
                }
            }
        } else if is("host") {
            hosts += 1;
        } else if is("transfer-encoding") || is("content-length") && header.value != b"0" {
            // No route takes a body. If it were left unread, it would be parsed as the next
            // request.
            return Err(match request.method {
                Some("GET" | "HEAD") => Status::ContentTooLarge,
                _ => Status::MethodNotAllowed,
            });
        }
    }
    // HTTP/1.1 demands exactly one Host header. With two, a proxy could choose the other one.
    if is_1_1 && hosts != 1 {
        return Err(Status::BadRequest);
    }
    let only_head = match request.method {
        Some("GET") => false,
        Some("HEAD") => true,
        _ => return Err(Status::MethodNotAllowed),
    };
    Ok(Some(Request {
        only_head,
        target: request.path.unwrap_or_default(),
        keep_open,
        length,
    }))
}

fn error_page(status: Status, body: &mut Vec<u8>) {
    body.clear();
    // Writing to a Vec cannot fail.
    let _ = writeln!(body, "{} {}", status as u16, status.reason());
}

fn write_head(answer: &mut Vec<u8>, status: Status, kind: Kind, keep_open: bool, length: usize) {
    answer.clear();
    let kind = match kind {
        Kind::Text => "text/plain",
        Kind::Page => "text/html",
    };
    let allow = match status {
        Status::MethodNotAllowed => "Allow: GET, HEAD\r\n",
        _ => "",
    };
    let _ = write!(
        answer,
        "HTTP/1.1 {} {}\r\n\
         Content-Type: {kind}; charset=utf-8\r\n\
         Content-Length: {length}\r\n\
         Connection: {}\r\n\
         Cache-Control: no-store\r\n\
         {allow}\r\n",
        status as u16,
        status.reason(),
        if keep_open { "keep-alive" } else { "close" },
    );
}

fn send(connection: &TcpStream, answer: &[u8]) -> std::io::Result<()> {
    waiting::write(connection, answer, Instant::now() + PATIENCE)
}

/// Reads and drops what the client still sends, until the client closes its side too.
///
/// When a connection is closed with unread bytes, the system resets it, and the client may lose the
/// answer. A client that sends a much too long head would never learn what was wrong.
fn linger(connection: &TcpStream, buffer: &mut [u8]) {
    let _ = connection.shutdown(Shutdown::Write);
    let deadline = Instant::now() + LINGER;
    while Instant::now() < deadline
        && waiting::readable(connection, None, deadline).is_ok_and(|wake| wake.client)
        && (&*connection).read(buffer).is_ok_and(|bytes| bytes > 0)
    {}
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether only the head of the answer is wanted, the target, and whether the connection stays
    /// open.
    type Parsed = (bool, &'static str, bool);

    /// What is parsed of bytes that begin with the lines of a head. More bytes follow it.
    fn parsed(lines: &[&str]) -> Result<Option<Parsed>, Status> {
        let head = format!("{}\r\n\r\n", lines.join("\r\n")).leak();
        let received = format!("{head}GET /next").leak();
        let request = parse(received.as_bytes())?;
        Ok(request.map(|request| {
            assert_eq!(request.length, head.len());
            (request.only_head, request.target, request.keep_open)
        }))
    }

    #[test]
    fn a_connection_stays_open_as_the_client_asks_or_as_its_version_does() {
        let keeps_open = |version, connection| {
            let lines = [&format!("GET /a?b=c {version}"), "Host: a", connection];
            let parsed = parsed(&lines).expect("it is accepted");
            let (only_head, target, keep_open) = parsed.expect("it is complete");
            assert_eq!((only_head, target), (false, "/a?b=c"));
            keep_open
        };
        for (version, otherwise) in [("HTTP/1.0", false), ("HTTP/1.1", true)] {
            assert_eq!(keeps_open(version, "X: close"), otherwise);
            assert_eq!(keeps_open(version, "Connection: upgrade"), otherwise);
            assert!(!keeps_open(version, "connection: Close"));
            assert!(keeps_open(version, "CONNECTION: x , Keep-Alive"));
        }
    }

    #[test]
    fn only_get_and_head_are_accepted_and_only_without_a_body() {
        let parsed = |method: &str, header| {
            let parsed = parsed(&[&format!("{method} / HTTP/1.1"), "Host: a", header])?;
            Ok(parsed.expect("it is complete").0)
        };
        for (header, of_get) in [
            ("Content-Length: 0", None),
            ("Content-Type: x", None),
            ("Content-Length: 1", Some(Status::ContentTooLarge)),
            ("Content-Length: 00", Some(Status::ContentTooLarge)),
            ("Transfer-Encoding: 0", Some(Status::ContentTooLarge)),
        ] {
            assert_eq!(parsed("GET", header), of_get.map_or(Ok(false), Err));
            assert_eq!(parsed("HEAD", header), of_get.map_or(Ok(true), Err));
            assert_eq!(parsed("PUT", header), Err(Status::MethodNotAllowed));
        }
    }

    #[test]
    fn the_newer_version_demands_one_host() {
        let get = |version| format!("GET / {version}");
        let (old, new) = (&*get("HTTP/1.0"), &*get("HTTP/1.1"));
        let accepted = |keep_open| Ok(Some((false, "/", keep_open)));
        assert_eq!(parsed(&[old]), accepted(false));
        assert_eq!(parsed(&[old, "Host: a", "Host: a"]), accepted(false));
        assert_eq!(parsed(&[new, "host: a"]), accepted(true));
        assert_eq!(parsed(&[new, "X: a"]), Err(Status::BadRequest));
        let two = parsed(&[new, "Host: a", "Host: a"]);
        assert_eq!(two, Err(Status::BadRequest));
        assert_eq!(parsed(&[&get("HTTP/3")]), Err(Status::VersionNotSupported));
    }

    #[test]
    fn a_head_may_be_incomplete_until_it_is_too_long() {
        let incomplete = |length| {
            let mut head = b"GET / HTTP/1.0\r\nX: ".to_vec();
            head.resize(length, b'x');
            parse(&head).map(|request| assert!(request.is_none()))
        };
        assert_eq!(incomplete(8191), Ok(()));
        assert_eq!(incomplete(8192), Err(Status::HeadTooLong));
        let mut lines = vec!["X: x"; 1 + 64];
        lines[0] = "GET / HTTP/1.0";
        assert!(parsed(&lines).is_ok());
        lines.push("X: x");
        assert_eq!(parsed(&lines), Err(Status::HeadTooLong));
    }

    #[test]
    fn the_head_of_an_answer_says_what_follows() {
        let mut head = b"of the answer before".to_vec();
        write_head(&mut head, Status::Ok, Kind::Page, true, 12);
        assert_eq!(
            String::from_utf8_lossy(&head),
            "HTTP/1.1 200 OK\r\n\
             Content-Type: text/html; charset=utf-8\r\n\
             Content-Length: 12\r\n\
             Connection: keep-alive\r\n\
             Cache-Control: no-store\r\n\r\n"
        );
        let refusal = Status::MethodNotAllowed;
        write_head(&mut head, refusal, Kind::Text, false, 0);
        assert_eq!(
            String::from_utf8_lossy(&head),
            "HTTP/1.1 405 Method Not Allowed\r\n\
             Content-Type: text/plain; charset=utf-8\r\n\
             Content-Length: 0\r\n\
             Connection: close\r\n\
             Cache-Control: no-store\r\n\
             Allow: GET, HEAD\r\n\r\n"
        );
    }
}
