//! `communicate` by one thread: the way of Python's `Popen.communicate` on Unix.
//!
//! What to notice: `poll` waits for all three pipes at once, and says which of them are ready. So
//! we never wait for one pipe while the child waits for another. This needs two things more. First,
//! the child's stdin must be non-blocking: "ready" only means that there is room for a part of the
//! text, and a blocking write waits until the pipe has taken the whole text. Second, we have to
//! remember which part of the text is not sent yet. With three threads neither is needed, because
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
    let (mut rest, mut send_error) = (input, None);
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
        if can_write {
            send_error = write_some(&mut stdin, &mut rest).err();
        }
        if can_read_out {
            read_some(&mut stdout, &mut out).context("cannot read stdout")?;
        }
        if can_read_err {
            read_some(&mut stderr, &mut err).context("cannot read stderr")?;
        }
    }
    Ok((input.len() - rest.len(), send_error, out, err))
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

/// Writes as much of `rest` as the pipe takes now; `rest` becomes what is not sent yet. If that is
/// nothing, or if the write fails, this closes our end, so the child reads its end of file.
fn write_some(end: &mut Option<impl Write>, rest: &mut &[u8]) -> io::Result<()> {
    let Some(pipe) = end else { return Ok(()) };
    match pipe.write(rest) {
        Ok(count) => *rest = &rest[count..],
        // The pipe has no room after all: another process that has this pipe was quicker.
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
        Err(error) => {
            *end = None;
            return Err(error);
        }
    }
    if rest.is_empty() {
        *end = None;
    }
    Ok(())
}

/// Appends to `bytes` what is in the pipe, at most 64 KiB. At the end of file, this closes our end.
fn read_some(end: &mut Option<impl Read>, bytes: &mut Vec<u8>) -> io::Result<()> {
    let Some(pipe) = end else { return Ok(()) };
    let mut piece = [0; 65_536];
    let count = pipe.read(&mut piece)?;
    bytes.try_reserve(count)?;
    bytes.extend_from_slice(&piece[..count]);
    if count == 0 {
        *end = None;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_ready_if_it_has_room_or_bytes() {
        let [stdin, stdout, stderr] = [(); 3].map(|()| os_pipe::pipe().expect("it can be made"));
        let (write, read_out, read_err) = (stdin.1.as_fd(), stdout.0.as_fd(), stderr.0.as_fd());
        let all = [Some(write), Some(read_out), Some(read_err)];
        assert_eq!(wait_for(all), Ok([true, false, false]));
        (&stdout.1).write_all(b"bytes").expect("it has room");
        assert_eq!(wait_for(all), Ok([true, true, false]));
        let open = [None, Some(read_out), Some(read_err)];
        assert_eq!(wait_for(open), Ok([false, true, false]));
    }

    #[test]
    fn a_full_pipe_is_no_error() {
        let (_reader, writer) = os_pipe::pipe().expect("it can be made");
        fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("it can be set");
        let text = vec![b'.'; 1 << 20];
        let (mut end, mut rest) = (Some(writer), &text[..]);
        // The second write finds the pipe full.
        for _ in 0..2 {
            assert!(write_some(&mut end, &mut rest).is_ok());
            assert!(end.is_some());
            assert!(!rest.is_empty() && rest.len() < text.len());
        }
    }

    #[test]
    fn our_end_is_closed_when_a_write_fails() {
        // It is open for reading only.
        let file = std::fs::File::open("/dev/null").expect("it is there");
        let (mut end, mut rest) = (Some(file), &b"text"[..]);
        assert!(write_some(&mut end, &mut rest).is_err());
        assert!(end.is_none());
        assert_eq!(rest, b"text");
    }

    #[test]
    fn our_end_is_closed_when_all_is_sent() {
        let (mut end, mut rest) = (Some(Vec::new()), &b"text"[..]);
        assert!(write_some(&mut end, &mut rest).is_ok());
        assert!(end.is_none() && rest.is_empty());
    }

    #[test]
    fn our_end_is_closed_at_the_end_of_file() {
        let (mut end, mut bytes) = (Some(&b"text"[..]), b"more ".to_vec());
        assert!(read_some(&mut end, &mut bytes).is_ok());
        assert!(end.is_some());
        assert!(read_some(&mut end, &mut bytes).is_ok());
        assert!(end.is_none());
        assert_eq!(bytes, b"more text");
    }
}
