//! `communicate` by one thread: the way of Python's `Popen.communicate` on Unix.
//!
//! What to notice: `poll` waits for all three pipes at once, and says which of them are ready. So
//! we never wait for one pipe while the child waits for another. This needs two things more. First,
//! the child's stdin must be non-blocking: "ready" only means that there is room for a part of the
//! text, and a blocking write waits until the pipe has taken the whole text. Second, we have to
//! remember how much of the text is sent already. With three threads neither is needed, because
//! each thread may wait for its own pipe.

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

/// Sends `input` to the child and collects what the child answers, until the child has ended.
pub fn communicate(mut child: Child, input: &[u8]) -> anyhow::Result<Exchange> {
    let exchanged = exchange(&mut child, input);
    // We reap the child also if `exchange` failed: the pipes are closed now, so the child ends.
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

/// How many bytes were sent, the error that stopped the sending, and what came back on stdout and
/// on stderr.
type Exchanged = (usize, Option<io::Error>, Vec<u8>, Vec<u8>);

/// Writes and reads until all three pipes are closed.
fn exchange(child: &mut Child, input: &[u8]) -> anyhow::Result<Exchanged> {
    // Our ends of the three pipes. An end that is closed becomes `None`.
    let (mut stdin, mut stdout, mut stderr) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (mut sent, mut send_error) = (0, None);
    let (mut out, mut err) = (Vec::new(), Vec::new());

    let end = stdin.as_ref().context("stdin is no pipe")?;
    // If this end could block, the first write would wait until the whole text is in the pipe.
    // Until then we would not read, and the child could wait for us.
    fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).context("cannot make stdin non-blocking")?;

    while stdin.is_some() || stdout.is_some() || stderr.is_some() {
        let ends = [
            stdin.as_ref().map(AsFd::as_fd),
            stdout.as_ref().map(AsFd::as_fd),
            stderr.as_ref().map(AsFd::as_fd),
        ];
        let [can_write, can_read_out, can_read_err] =
            wait_for(ends).context("cannot wait for the pipes")?;
        if can_write && let Some(pipe) = &mut stdin {
            match pipe.write(&input[sent..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => send_error = Some(error),
            }
            if sent == input.len() || send_error.is_some() {
                stdin = None; // This closes our end, so the child reads its end of file.
            }
        }
        if can_read_out
            && let Some(pipe) = &mut stdout
            && read_some(pipe, &mut out).context("cannot read stdout")? == 0
        {
            stdout = None;
        }
        if can_read_err
            && let Some(pipe) = &mut stderr
            && read_some(pipe, &mut err).context("cannot read stderr")? == 0
        {
            stderr = None;
        }
    }
    Ok((sent, send_error, out, err))
}

/// Waits until one of our ends is ready, or until its other end is closed. Returns for each of the
/// three whether that is so.
fn wait_for(ends: [Option<BorrowedFd>; 3]) -> nix::Result<[bool; 3]> {
    let events = [PollFlags::POLLOUT, PollFlags::POLLIN, PollFlags::POLLIN];
    // `poll` gets the open ends only. `open` says which of the three these are.
    let (mut asked, mut open) = (Vec::new(), Vec::new());
    for n in 0..3 {
        if let Some(end) = ends[n] {
            asked.push(PollFd::new(end, events[n]));
            open.push(n);
        }
    }
    // EINTR: a signal has interrupted `poll`. Then we call it again.
    loop {
        match poll(&mut asked, PollTimeout::NONE) {
            Ok(_) => break,
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
    let mut ready = [false; 3];
    for (n, asked) in open.into_iter().zip(&asked) {
        // `any` is `None` for an event that nix does not know. Then we try to read or write.
        ready[n] = asked.any().unwrap_or(true);
    }
    Ok(ready)
}

/// Appends to `bytes` what is in the pipe, at most 64 KiB. Returns how much: 0 is the end of file.
fn read_some(pipe: &mut impl Read, bytes: &mut Vec<u8>) -> io::Result<usize> {
    let mut piece = [0; 65_536];
    let count = pipe.read(&mut piece)?;
    bytes.try_reserve(count)?;
    bytes.extend_from_slice(&piece[..count]);
    Ok(count)
}
