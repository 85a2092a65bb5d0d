//! One connection, from the child's side: a request is read, answered, and that is all.

use std::{
    io::{PipeReader, Read, Write},
    net::{Shutdown, TcpStream},
    os::fd::AsFd,
    process, thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, poll},
    sys::resource::{Resource, setrlimit},
};

use super::{
    request::{HEAD_LIMIT, Request, Status, write_answer},
    scoreboard::Slot,
    waiting::{readable, until},
};

/// The longest time that `/slow` takes, in milliseconds.
const SLOWEST: u64 = 60_000;
/// How long a client may take to close its side after the answer.
pub const LINGER: Duration = Duration::from_secs(2);

/// Serves one request. That succeeds, whatever the client does.
///
/// The child allocates nothing: of all the memory that it shares with its parent until one of them
/// writes to it, it would have to copy what the allocator needs, page by page.
pub fn serve(
    connection: &TcpStream,
    buffer: &mut [u8; HEAD_LIMIT],
    slot: &Slot,
    head_deadline: Instant,
    server_ends: &PipeReader,
) -> anyhow::Result<u8> {
    // Elsewhere a connection takes after its listener, which must not wait.
    #[cfg(not(target_os = "linux"))]
    connection.set_nonblocking(false)?;
    let status = match read_head(connection, buffer, head_deadline, server_ends) {
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
    linger(connection, buffer, server_ends);
    Ok(0)
}

/// Reads until the head of the request is whole. `None` if the client left without a word.
fn read_head<'a>(
    connection: &TcpStream,
    buffer: &'a mut [u8; HEAD_LIMIT],
    // For the whole head: if each byte had a time of its own, a client could stay for ever.
    deadline: Instant,
    server_ends: &PipeReader,
) -> Result<Option<Request<'a>>, Status> {
    let mut length = 0;
    while Request::parse(&buffer[..length])?.is_none() {
        // A client that has not begun has nothing to lose when the server ends.
        let server_ends = Some(server_ends).filter(|_| length == 0);
        match wait(connection, deadline, server_ends) {
            Event::Bytes => {}
            Event::TimeIsUp => return Err(Status::RequestTimeout),
            Event::ServerEnds => return Err(Status::Unavailable),
        }
        match (&*connection).read(&mut buffer[length..]) {
            Ok(0) if length == 0 => return Ok(None),
            // Half a head will never be a request.
            Ok(0) => return Err(Status::BadRequest),
            Ok(more) => length += more,
            Err(_) => return Ok(None),
        }
    }
    Request::parse(&buffer[..length])
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

/// Sends an answer, which is put together in `buffer`.
pub fn send(mut connection: &TcpStream, buffer: &mut [u8; HEAD_LIMIT], status: Status) {
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
fn linger(mut connection: &TcpStream, buffer: &mut [u8], server_ends: &PipeReader) {
    let _ = connection.shutdown(Shutdown::Write);
    let deadline = Instant::now() + LINGER;
    // Most clients send no more: they see the end of the answer, and close.
    while wait(connection, deadline, Some(server_ends)) == Event::Bytes
        && connection.read(buffer).is_ok_and(|bytes| bytes > 0)
    {}
}

#[derive(PartialEq)]
enum Event {
    /// There are bytes to be read, or the end of them, or an error.
    Bytes,
    TimeIsUp,
    ServerEnds,
}

/// Waits for bytes from the client, or for the deadline; or, if that is asked for, for the end of
/// the server.
fn wait(connection: &TcpStream, deadline: Instant, server_ends: Option<&PipeReader>) -> Event {
    let nothing = || PollFd::new(connection.as_fd(), PollFlags::empty());
    // Nothing is ever written to the pipe: what can be read there is its end.
    let mut fds = [
        readable(connection),
        server_ends.map_or_else(nothing, readable),
    ];
    // After an interruption, only the time that is left: the whole time would begin anew each time.
    while poll(&mut fds, until(Some(deadline))) == Err(Errno::EINTR) {}
    if Instant::now() >= deadline {
        Event::TimeIsUp
    } else if fds[0].any().unwrap_or(true) {
        Event::Bytes
    } else {
        Event::ServerEnds
    }
}
