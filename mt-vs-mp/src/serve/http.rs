//! The HTTP of one connection: it reads the requests, and answers them in the same order.

use std::{
    io::{ErrorKind, Read, Write},
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

#[derive(Clone, Copy, PartialEq, Eq)]
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
            let late = !wake.end && *filled > 0;
            return if late {
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
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
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
