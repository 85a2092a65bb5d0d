//! Where the parent waits: one call of `poll` waits for several things, and returns when the first
//! of them happens.

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

/// Waits until a signal or a connection comes, or there is room in the log, or a client that was
/// refused sends something or closes its side, or the first of the deadlines comes. With `None` for
/// the listener or the log, it does not wait for a connection or for room in the log.
pub fn wait(
    signals: &Signals,
    listener: Option<&TcpListener>,
    log: Option<&Log>,
    refused: &Refused,
    deadlines: [Option<Instant>; 2],
) -> anyhow::Result<Events> {
    // The first three places of the list are always those of the log, the signals and the listener.
    // If the log or the listener is `None`, an entry that asks for nothing stands in for it: it has
    // no flags. (It has to name some descriptor, and names that of the signals.)
    let nothing = || PollFd::new(signals.as_fd(), PollFlags::empty());
    let mut fds = vec![
        log.map_or_else(nothing, |log| PollFd::new(log.as_fd(), PollFlags::POLLOUT)),
        readable(signals),
        listener.map_or_else(nothing, readable),
    ];
    fds.extend(refused.clients().map(readable));
    let deadline = deadlines.into_iter().chain([refused.deadline()]).flatten();
    match poll(&mut fds, until(deadline.min())) {
        // A signal interrupted this call. The next call finds the byte that its handler has
        // written.
        Err(Errno::EINTR) => return Ok(Events::default()),
        result => result.map_err(io::Error::from).context("cannot wait")?,
    };
    // (`any` gives `None` if the system reports something that nix does not know. That counts too.)
    let happened = |place: usize| fds[place].any().unwrap_or(true);
    Ok(Events {
        log_is_writable: happened(0),
        signal: happened(1),
        connection: happened(2),
    })
}

/// An entry for `poll` that asks whether there is something to be read.
pub fn readable(descriptor: &impl AsFd) -> PollFd<'_> {
    PollFd::new(descriptor.as_fd(), PollFlags::POLLIN)
}

/// The time until the deadline. Without a deadline, the wait has no limit.
pub fn until(deadline: Option<Instant>) -> PollTimeout {
    let Some(deadline) = deadline else {
        return PollTimeout::NONE;
    };
    let left = deadline.saturating_duration_since(Instant::now());
    // `poll` counts whole milliseconds, so this rounds up. A wait that ends just before the
    // deadline would be repeated, with a time of 0, until the deadline comes.
    PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
}
