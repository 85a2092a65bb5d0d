//! One connection, from the child's side: a request is read, answered, and that is all.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    process, thread,
    time::{Duration, Instant},
};

use nix::sys::resource::{Resource, setrlimit};

use super::{
    request::{HEAD_LIMIT, Request, Status, write_answer},
    scoreboard::Slot,
};

/// The longest time that `/slow` takes, in milliseconds.
const SLOWEST: u64 = 60_000;
/// How long a client may take to close its side after the answer.
const LINGER: Duration = Duration::from_secs(2);
/// How many times the parent reads from a client that it refuses.
const REFUSED_READS: usize = 16;

/// A time within which several things together must be done.
#[derive(Clone, Copy)]
pub struct TimeLimit {
    end: Instant,
}

impl TimeLimit {
    /// Starts the time.
    pub fn new(whole: Duration) -> Self {
        let end = Instant::now() + whole;
        Self { end }
    }

    fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }
}

/// Serves one request. That succeeds, whatever the client does.
///
/// The child allocates nothing: of all the memory that it shares with its parent until one of them
/// writes to it, it would have to copy what the allocator needs, page by page.
pub fn serve(
    connection: &TcpStream,
    buffer: &mut [u8; HEAD_LIMIT],
    slot: &Slot,
    head_limit: TimeLimit,
) -> anyhow::Result<u8> {
    // Elsewhere a connection takes after its listener, which must not wait.
    #[cfg(not(target_os = "linux"))]
    connection.set_nonblocking(false)?;
    let status = match read_head(connection, buffer, head_limit) {
        Ok(Some(request)) => {
            // Noted before anything is done about it: that may be a crash.
            slot.set_request(&request);
            respond(&request).unwrap_or_else(|status| status)
        }
        // The client is gone: there is nobody left to answer.
        Ok(None) => return Ok(0),
        Err(status) => status,
    };
    slot.set_status(status.code());
    send(connection, buffer, status);
    linger(connection, buffer);
    Ok(0)
}

/// Reads until the head of the request is whole. `None` if the client left without a word.
fn read_head<'a>(
    connection: &TcpStream,
    buffer: &'a mut [u8; HEAD_LIMIT],
    limit: TimeLimit,
) -> Result<Option<Request<'a>>, Status> {
    let mut length = 0;
    while Request::parse(&buffer[..length])?.is_none() {
        // For the whole head: if each byte had a time of its own, a client could stay for ever.
        match read(connection, &mut buffer[length..], limit) {
            Ok(0) if length == 0 => return Ok(None),
            // Half a head will never be a request.
            Ok(0) => return Err(Status::BadRequest),
            Ok(more) => length += more,
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                return Err(Status::RequestTimeout);
            }
            Err(_) => return Ok(None),
        }
    }
    Request::parse(&buffer[..length])
}

/// Reads what there is, or waits for it, but no longer than that.
fn read(mut connection: &TcpStream, buffer: &mut [u8], limit: TimeLimit) -> io::Result<usize> {
    loop {
        // Computed again after each interruption, which would otherwise start the time anew.
        let left = limit.left();
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        connection.set_read_timeout(Some(left))?;
        match connection.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Err(ErrorKind::TimedOut.into());
            }
            result => return result,
        }
    }
}

/// Does what the request asks for.
fn respond(request: &Request) -> Result<Status, Status> {
    if request.method != "GET" {
        return Err(Status::MethodNotAllowed);
    }
    let target = request.target;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    match path {
        "/" => {}
        "/slow" => thread::sleep(milliseconds(query)?),
        "/crash" => crash(),
        _ => return Err(Status::NotFound),
    }
    Ok(Status::Ok)
}

/// The time in `ms=500`.
fn milliseconds(query: &str) -> Result<Duration, Status> {
    match query.strip_prefix("ms=").and_then(|ms| ms.parse().ok()) {
        Some(ms @ 0..=SLOWEST) => Ok(Duration::from_millis(ms)),
        _ => Err(Status::BadRequest),
    }
}

fn crash() -> ! {
    // It is a crash on purpose: nobody needs its memory on disk.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    process::abort()
}

/// In the parent, when there is no child for a client: says so, and waits for nothing.
pub fn refuse(mut connection: &TcpStream, buffer: &mut [u8; HEAD_LIMIT]) {
    // A new connection has room for far more than this answer. If not: the client waits, not we.
    let _ = connection.set_nonblocking(true);
    send(connection, buffer, Status::Unavailable);
    let _ = connection.shutdown(Shutdown::Write);
    // See `linger`; this is as much of it as can be done without waiting. A client that sends
    // without end is not read for ever.
    for _ in 0..REFUSED_READS {
        if !connection.read(buffer).is_ok_and(|bytes| bytes > 0) {
            break;
        }
    }
}

/// Sends an answer, which is put together in `buffer`.
fn send(mut connection: &TcpStream, buffer: &mut [u8; HEAD_LIMIT], status: Status) {
    let mut rest = &mut buffer[..];
    write_answer(&mut rest, status).expect("a head is allowed to be longer than any answer");
    let length = HEAD_LIMIT - rest.len();
    // If it cannot be sent, the client is gone, which is its own affair.
    let _ = connection.write_all(&buffer[..length]);
}

/// Waits until the client has closed its side too, and reads away what it still sends.
///
/// Closing a connection with bytes unread breaks it off, and the client may lose the answer with
/// it: one that sends a head that is far too long would never learn what was wrong.
fn linger(connection: &TcpStream, buffer: &mut [u8]) {
    let _ = connection.shutdown(Shutdown::Write);
    let limit = TimeLimit::new(LINGER);
    // Most clients send no more: they see the end of the answer, and close.
    while read(connection, buffer, limit).is_ok_and(|bytes| bytes > 0) {}
}
