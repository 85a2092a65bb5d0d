//! The answers of the server, for each path.

use std::{
    io::Write,
    process, ptr,
    sync::atomic::Ordering::Relaxed,
    thread,
    time::{Duration, Instant},
};

use super::{Model, http::Status, status, worker::Worker};
use crate::output::report_error;

/// The longest time that `/slow` and `/compute` take, in milliseconds.
const SLOWEST: u64 = 60_000;
/// The longest text of `/`, in bytes.
const LONGEST: u64 = 64 * 1024;

/// What kind of answer it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// A page in a browser window. The connection is closed after it: if it were kept open, the
    /// window would occupy a worker.
    Page,
}

/// Writes the answer's body.
///
/// # Errors
/// The status that the client gets instead.
pub fn answer(target: &str, worker: &Worker, body: &mut Vec<u8>) -> Result<Kind, Status> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    match path {
        "/" => {
            // All answers to the same address have the same length: ab counts another length as a
            // failure.
            let length = number(query, "bytes", LONGEST)?.unwrap_or(80).max(1) as usize;
            say_who(worker, body);
            body.resize(length, b' ');
            body[length - 1] = b'\n';
        }
        "/slow" => {
            thread::sleep(milliseconds(query)?);
            say_who(worker, body);
        }
        "/compute" => {
            let end = Instant::now() + milliseconds(query)?;
            // What it computes does not matter. This keeps a processor busy.
            while Instant::now() < end {}
            say_who(worker, body);
        }
        "/crash" => {
            announce_end(worker, "crashes");
            segfault();
        }
        "/exit" => {
            announce_end(worker, "calls exit");
            process::exit(3);
        }
        "/panic" => panic!("a client asked for it"),
        "/status" => {
            status::write(worker, body);
            return Ok(Kind::Page);
        }
        _ => return Err(Status::NotFound),
    }
    Ok(Kind::Text)
}

/// Writes which thread of which process answers.
fn say_who(worker: &Worker, body: &mut Vec<u8>) {
    let thread = worker.slot.thread.load(Relaxed);
    let process = process::id();
    let _ = match worker.site.model {
        // There is no other process.
        Model::Threads => writeln!(body, "I am thread {thread} of process {process}."),
        _ => writeln!(
            body,
            "I am thread {thread} of process {process}, and its parent is {}.",
            worker.site.master
        ),
    };
}

fn milliseconds(query: &str) -> Result<Duration, Status> {
    Ok(Duration::from_millis(
        number(query, "ms", SLOWEST)?.unwrap_or(1000),
    ))
}

/// The value of `name` in a query such as `ms=100`.
fn number(query: &str, name: &str, max: u64) -> Result<Option<u64>, Status> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    match pairs.find(|pair| pair.0 == name) {
        None => Ok(None),
        Some((_, value)) => match value.parse() {
            Ok(number) if number <= max => Ok(Some(number)),
            _ => Err(Status::BadRequest),
        },
    }
}

/// Reports the end of the process on stderr, before it comes.
fn announce_end(worker: &Worker, what: &str) {
    let thread = worker.slot.thread.load(Relaxed);
    let process = process::id();
    match worker.site.board.threads() {
        1 => report_error(format_args!("process {process} {what}")),
        threads => report_error(format_args!(
            "thread {thread} of process {process} {what}: all its {threads} threads end"
        )),
    }
}

fn segfault() {
    // Nobody needs the core file, and it may be large.
    #[cfg(unix)]
    let _ = nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_CORE, 0, 0);
    let nowhere = ptr::without_provenance_mut::<u8>(16);
    // SAFETY: a volatile write to an address outside of Rust's own memory does what the hardware
    // does there. No system maps memory at address 16, so the hardware reports a fault.
    unsafe { nowhere.write_volatile(1) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_by_its_name_and_has_a_limit() {
        for (query, expected) in [
            ("", Ok(None)),
            ("ms", Ok(None)),
            ("s=1&msx=2", Ok(None)),
            ("ms=0", Ok(Some(0))),
            ("bytes=3&ms=60", Ok(Some(60))),
            ("ms=61", Err(Status::BadRequest)),
            ("ms=-1", Err(Status::BadRequest)),
            ("ms=", Err(Status::BadRequest)),
        ] {
            assert_eq!(number(query, "ms", 60), expected, "{query}");
        }
    }
}
