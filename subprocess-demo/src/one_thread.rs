//! `communicate` by one thread: the way of Python's `Popen.communicate` on Unix.
//!
//! What to notice: `poll` waits for all pipes at once, and says which of them are ready. So no call
//! waits for one pipe while the child waits for another. What it takes: stdin must not block, since
//! "ready" only promises room for a part of the text; and we have to note ourselves how much was
//! sent. Three threads need neither: each of them just waits.

use std::{
    io::{self, ErrorKind, Read, Write},
    os::fd::{AsFd, BorrowedFd},
    process::Child,
};

use anyhow::Context;
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use crate::communicate::Exchange;

/// Sends `input` to the child and collects what it answers, until it has ended.
pub fn communicate(mut child: Child, input: &[u8]) -> anyhow::Result<Exchange> {
    let exchanged = exchange(&mut child, input);
    // Also if that failed: the pipes are closed now, so the child ends, and we reap it.
    let status = child.wait().context("cannot wait for the child")?;
    let (sent, send_error, stdout, stderr) = exchanged?;
    Ok(Exchange {
        sent,
        send_error,
        stdout,
        stderr,
        status,
    })
}

/// How much was sent, what stopped it, and what came back on stdout and on stderr.
type Exchanged = (usize, Option<io::Error>, Vec<u8>, Vec<u8>);

fn exchange(child: &mut Child, input: &[u8]) -> anyhow::Result<Exchanged> {
    // Each is `None` once it is closed.
    let (mut stdin, mut stdout, mut stderr) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (mut sent, mut send_error) = (0, None);
    let (mut out, mut err) = (Vec::new(), Vec::new());

    let end = stdin.as_ref().context("stdin is no pipe")?;
    // If it could block, the first write would wait until the child has read everything.
    fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).context("cannot make stdin non-blocking")?;

    while stdin.is_some() || stdout.is_some() || stderr.is_some() {
        let ends = [
            stdin.as_ref().map(AsFd::as_fd),
            stdout.as_ref().map(AsFd::as_fd),
            stderr.as_ref().map(AsFd::as_fd),
        ];
        let [can_write, can_read_out, can_read_err] = wait_for(ends)?;
        if let Some(pipe) = stdin.as_mut().filter(|_| can_write) {
            match pipe.write(&input[sent..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => send_error = Some(error),
            }
            if sent == input.len() || send_error.is_some() {
                stdin = None; // Closed: the end of file for the child.
            }
        }
        if can_read_out && read_some(&mut stdout, &mut out).context("cannot read stdout")? == 0 {
            stdout = None;
        }
        if can_read_err && read_some(&mut stderr, &mut err).context("cannot read stderr")? == 0 {
            stderr = None;
        }
    }
    Ok((sent, send_error, out, err))
}

/// Waits until one of these ends is ready, or closed at its other side, and says which are.
fn wait_for(ends: [Option<BorrowedFd>; 3]) -> nix::Result<[bool; 3]> {
    let open = [0, 1, 2].into_iter().filter(|&n| ends[n].is_some());
    let events = [PollFlags::POLLOUT, PollFlags::POLLIN, PollFlags::POLLIN];
    let mut asked = Vec::new();
    for (end, events) in ends.into_iter().zip(events) {
        asked.extend(end.map(|end| PollFd::new(end, events)));
    }
    // A signal ends the waiting early, and is no reason to stop.
    while poll(&mut asked, PollTimeout::NONE) == Err(Errno::EINTR) {}
    let mut ready = [false; 3];
    for (n, asked) in open.zip(&asked) {
        ready[n] = asked.any().unwrap_or(true);
    }
    Ok(ready)
}

/// Reads what is there, at most 64 KiB. 0 is the end of file.
fn read_some(pipe: &mut Option<impl Read>, bytes: &mut Vec<u8>) -> io::Result<usize> {
    let Some(pipe) = pipe else { return Ok(0) };
    let mut piece = [0; 65_536];
    let count = pipe.read(&mut piece)?;
    bytes.try_reserve(count)?;
    bytes.extend_from_slice(&piece[..count]);
    Ok(count)
}
