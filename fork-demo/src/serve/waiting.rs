//! Where the parent waits: for whatever comes first.

use std::{
    io,
    net::TcpListener,
    os::fd::AsFd,
    time::{Duration, Instant},
};

use anyhow::Context;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use super::{log::Log, signals::Signals};

/// What happened while the server waited.
#[derive(Default)]
pub struct Events {
    pub log_is_writable: bool,
    pub signal: bool,
    pub connection: bool,
}

/// Waits for a signal, for a connection if there is a listener, for room in the log if there is
/// one; but no longer than until the first of the deadlines.
pub fn wait(
    signals: &Signals,
    listener: Option<&TcpListener>,
    log: Option<&Log>,
    deadlines: [Option<Instant>; 2],
) -> anyhow::Result<Events> {
    // What is not waited for now gives its place to a descriptor that is asked nothing.
    let nothing = || PollFd::new(signals.as_fd(), PollFlags::empty());
    let mut fds = [
        log.map_or_else(nothing, |log| PollFd::new(log.as_fd(), PollFlags::POLLOUT)),
        PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        listener.map_or_else(nothing, |listener| {
            PollFd::new(listener.as_fd(), PollFlags::POLLIN)
        }),
    ];
    match poll(&mut fds, timeout(deadlines)) {
        // A signal arrived: the next poll finds what its handler wrote.
        Err(Errno::EINTR) => return Ok(Events::default()),
        result => result.map_err(io::Error::from).context("cannot wait")?,
    };
    let [log_is_writable, signal, connection] = fds.map(|fd| fd.any().unwrap_or(true));
    Ok(Events {
        log_is_writable,
        signal,
        connection,
    })
}

/// The time until the first of these deadlines.
fn timeout(deadlines: [Option<Instant>; 2]) -> PollTimeout {
    let Some(first) = deadlines.into_iter().flatten().min() else {
        return PollTimeout::NONE;
    };
    let left = first.saturating_duration_since(Instant::now());
    // Rounded up: a wait that is too short by less than a millisecond would become a busy loop.
    PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
}
