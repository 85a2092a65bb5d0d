//! The part of HTTP that the server needs: to parse the head of a request, and to write an answer.

use std::{
    fmt,
    io::{self, Write},
};

use httparse::{EMPTY_HEADER, Error};
use nix::unistd::{getpid, getppid};

/// The longest head of a request, in bytes.
pub const HEAD_LIMIT: usize = 8 * 1024;
/// The most header lines in it.
const HEADERS: usize = 64;

/// A buffer for the head of a request. Also prepares the parser.
///
/// The parser once asks the processor which instructions it has, and notes the answer. On a virtual
/// machine this question takes longer than the parsing. The parent asks it here, before any fork,
/// so that each child has a copy of the answer.
pub fn buffer() -> Box<[u8; HEAD_LIMIT]> {
    let _ = Request::parse(b"GET / HTTP/1.1\r\n\r\n");
    Box::new([0; HEAD_LIMIT])
}

/// The first line of a request.
pub struct Request<'a> {
    pub method: &'a str,
    /// The path. A question mark and a query follow if there is a query.
    pub target: &'a str,
}

impl<'a> Request<'a> {
    /// Parses what was received so far. `None` if the head is not whole yet.
    ///
    /// # Errors
    /// This is no request, or its head is too long. The error is the status of the answer.
    pub fn parse(received: &'a [u8]) -> Result<Option<Self>, Status> {
        let mut headers = [EMPTY_HEADER; HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(received) {
            Ok(status) if status.is_complete() => Ok(request
                .method
                .zip(request.path)
                .map(|(method, target)| Self { method, target })),
            Ok(_) if received.len() >= HEAD_LIMIT => Err(Status::HeadTooLong),
            Ok(_) => Ok(None),
            Err(Error::TooManyHeaders) => Err(Status::HeadTooLong),
            Err(_) => Err(Status::BadRequest),
        }
    }
}

/// Method and path for the log. Control characters are escaped: a terminal would act on them.
impl fmt::Display for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} {}", self.method, self.target.escape_debug())
    }
}

#[derive(Clone, Copy)]
pub enum Status {
    Ok = 200,
    BadRequest = 400,
    NotFound = 404,
    MethodNotAllowed = 405,
    RequestTimeout = 408,
    HeadTooLong = 431,
    Unavailable = 503,
}

impl Status {
    pub fn code(self) -> u16 {
        self as u16
    }

    fn reason(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::BadRequest => "Bad Request",
            Self::NotFound => "Not Found",
            Self::MethodNotAllowed => "Method Not Allowed",
            Self::RequestTimeout => "Request Timeout",
            Self::HeadTooLong => "Request Header Fields Too Large",
            Self::Unavailable => "Service Unavailable",
        }
    }
}

/// Every text has this length: tools like ab count an answer of another length as a failure.
const TEXT_LENGTH: usize = 64;

/// Writes an answer: its text names the child and the parent, or says what is wrong.
pub fn write_answer(out: &mut impl Write, status: Status) -> io::Result<()> {
    let (code, reason) = (status.code(), status.reason());
    let mut text = [b' '; TEXT_LENGTH];
    text[TEXT_LENGTH - 1] = b'\n';
    // Each text below is shorter than this, so the end of the line stays.
    let mut start = &mut text[..];
    match status {
        Status::Ok => {
            let (child, parent) = (getpid(), getppid());
            write!(
                start,
                "I am child process ({child}) and my parent is {parent}."
            )?;
        }
        _ => write!(start, "{code} {reason}")?,
    }
    // HTTP demands the line `Allow` in an answer of 405. It does no harm in the others.
    write!(
        out,
        "HTTP/1.1 {code} {reason}\r\n\
         Allow: GET\r\n\
         Connection: close\r\n\
         Content-Type: text/plain\r\n\
         Content-Length: {TEXT_LENGTH}\r\n\
         \r\n"
    )?;
    out.write_all(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_may_be_as_long_as_the_buffer_and_is_then_too_long() {
        let mut head = b"GET / HTTP/1.1\r\nX: ".to_vec();
        head.resize(8 * 1024 - 1, b'x');
        assert!(matches!(Request::parse(&head), Ok(None)));
        head.push(b'x');
        assert!(matches!(Request::parse(&head), Err(Status::HeadTooLong)));
    }
}
