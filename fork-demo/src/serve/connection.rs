//! What a child does with its connection: it reads one request and answers it.

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

/// Serves one request. What the client does is never an error of the server.
///
/// The child allocates no memory. The allocator would write to pages that the child still shares
/// with its parent, and the system would have to copy each of them.
pub fn serve(
    connection: &TcpStream,
    buffer: &mut [u8; HEAD_LIMIT],
    slot: &Slot,
    head_deadline: Instant,
    quit: &PipeReader,
) -> anyhow::Result<u8> {
    // On systems other than Linux, a connection inherits the non-blocking mode of its listener. The
    // calls below have to wait.
    #[cfg(not(target_os = "linux"))]
    connection.set_nonblocking(false)?;
    let status = match read_head(connection, buffer, head_deadline, quit) {
        Ok(Some(request)) => {
            // This comes before the answer, since the request may be one for a crash.
            slot.set_request(&request);
            match respond(&request) {
                Ok(status) | Err(status) => status,
            }
        }
        // The client has left, so there is nothing to answer.
        Ok(None) => return Ok(0),
        Err(status) => status,
    };
    slot.set_status(status.code());
    send(connection, buffer, status);
    linger(connection, buffer, quit);
    Ok(0)
}

/// Reads until the head of the request is whole. `None` if the client left before it sent anything,
/// or the connection broke. (`'a` tells the compiler that the request is a part of the buffer.)
fn read_head<'a>(
    mut connection: &TcpStream,
    buffer: &'a mut [u8; HEAD_LIMIT],
    // The deadline is one for the whole head. If each byte had its own, a client could stay for
    // ever.
    deadline: Instant,
    quit: &PipeReader,
) -> Result<Option<Request<'a>>, Status> {
    let mut length = 0;
    while Request::parse(&buffer[..length])?.is_none() {
        // If the server quits, a client that has sent a part of its head may still send the rest. A
        // client that has sent nothing is not waited for.
        let quit = if length == 0 { Some(quit) } else { None };
        match wait(connection, deadline, quit) {
            Event::Bytes => {}
            Event::TimeIsUp => return Err(Status::RequestTimeout),
            Event::ServerQuits => return Err(Status::Unavailable),
        }
        match connection.read(&mut buffer[length..]) {
            Ok(0) if length == 0 => return Ok(None),
            // The client has closed its side, and the head will never be whole.
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
    // This crash is intended, so the system need not write the memory to a file (a core dump).
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    process::abort()
}

/// Sends an answer. It is put together in `buffer`.
pub fn send(mut connection: &TcpStream, buffer: &mut [u8; HEAD_LIMIT], status: Status) {
    let mut rest = &mut buffer[..];
    write_answer(&mut rest, status).expect("a head is allowed to be longer than any answer");
    let length = HEAD_LIMIT - rest.len();
    // If it cannot be sent, the client has left. That is not an error of the server.
    let _ = connection.write_all(&buffer[..length]);
}

/// Tells the client that the answer is complete. Then waits until the client has closed its side
/// too, and reads what the client still sends.
///
/// If a process closes a connection while there are bytes that it has not read, the system breaks
/// the connection off, and the client may lose the answer. A client that sends a head that is too
/// long would then not see its 431.
fn linger(mut connection: &TcpStream, buffer: &mut [u8], quit: &PipeReader) {
    // After the answer the client reads the end of file, even if another process has a copy of the
    // connection.
    let _ = connection.shutdown(Shutdown::Write);
    let deadline = Instant::now() + LINGER;
    // Most clients send nothing more. They close when they have read the end of the answer.
    while wait(connection, deadline, Some(quit)) == Event::Bytes
        && connection.read(buffer).is_ok_and(|bytes| bytes > 0)
    {}
}

#[derive(PartialEq)]
enum Event {
    /// There is something to be read: bytes, the end of file, or an error.
    Bytes,
    TimeIsUp,
    ServerQuits,
}

/// Waits until the client sends something, or the deadline comes, or the parent closes the pipe
/// `quit`. With `None` for `quit`, it does not wait for that.
fn wait(connection: &TcpStream, deadline: Instant, quit: Option<&PipeReader>) -> Event {
    // An entry that asks for nothing stands in for `quit` if that is `None`.
    let nothing = || PollFd::new(connection.as_fd(), PollFlags::empty());
    // Nothing is ever written to `quit`. It is readable at the end of file.
    let mut fds = [readable(connection), quit.map_or_else(nothing, readable)];
    // A signal may interrupt `poll`. Then `poll` is called again, for the time that is left.
    while poll(&mut fds, until(Some(deadline))) == Err(Errno::EINTR) {}
    if Instant::now() >= deadline {
        Event::TimeIsUp
    } else if fds[0].any().unwrap_or(true) {
        Event::Bytes
    } else {
        Event::ServerQuits
    }
}
