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

use super::{log::Log, refused::Refused, signals::Signals};

/// What happened while the server waited.
#[derive(Default)]
pub struct Events {
    pub log_is_writable: bool,
    pub signal: bool,
    pub connection: bool,
}

/// Waits for a signal, for a connection if there is a listener, for room in the log if there is
/// one, for what comes from clients that are refused; but no longer than until the first of the
/// deadlines.
pub fn wait(
    signals: &Signals,
    listener: Option<&TcpListener>,
    log: Option<&Log>,
    refused: &Refused,
    deadlines: [Option<Instant>; 2],
) -> anyhow::Result<Events> {
    // What is not waited for now gives its place to a descriptor that is asked nothing.
    let nothing = || PollFd::new(signals.as_fd(), PollFlags::empty());
    let mut fds = vec![
        log.map_or_else(nothing, |log| PollFd::new(log.as_fd(), PollFlags::POLLOUT)),
        readable(signals),
        listener.map_or_else(nothing, readable),
    ];
    fds.extend(refused.clients().map(readable));
    let deadline = deadlines.into_iter().chain([refused.deadline()]).flatten();
    match poll(&mut fds, until(deadline.min())) {
        // A signal arrived: the next poll finds what its handler wrote.
        Err(Errno::EINTR) => return Ok(Events::default()),
        result => result.map_err(io::Error::from).context("cannot wait")?,
    };
    let happened = |place: usize| fds[place].any().unwrap_or(true);
    Ok(Events {
        log_is_writable: happened(0),
        signal: happened(1),
        connection: happened(2),
    })
}

/// Asks whether there is something to be read.
pub fn readable(descriptor: &impl AsFd) -> PollFd<'_> {
    PollFd::new(descriptor.as_fd(), PollFlags::POLLIN)
}

/// The time until the deadline; without one, for ever.
pub fn until(deadline: Option<Instant>) -> PollTimeout {
    let Some(deadline) = deadline else {
        return PollTimeout::NONE;
    };
    let left = deadline.saturating_duration_since(Instant::now());
    // Rounded up: a wait that is too short by less than a millisecond would become a busy loop.
    PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
}
