//! A server that forks a child for every request.
//!
//! The parent listens. Each connection gets a child of its own, which reads one request, answers
//! it, and ends; whatever happens in there, a crash included, happens to that request alone. It is
//! how inetd has run its servers since 1986. (Apache has not forked per request since version 0.7,
//! of 1995: its processes are forked beforehand, and each serves many.)
//!
//! Mirrors Python's `socketserver.ForkingMixIn`. Run it with `cargo run -p fork-demo -- serve`, and
//! open the address that it prints; try `/slow?ms=3000` and `/crash` too. Ctrl-C ends it,
//! a second one without waiting for the requests under way.
//!
//! What to notice: the parent is one thread and waits in one place, for whatever comes first: a
//! connection, a child's end, a signal, room in its log. It never waits for a client; that is what
//! children are for. And every child is reaped, every descriptor closed, whatever clients do.
//!
//! In reading order: this file is the parent's loop, [`children`] its table of children,
//! [`connection`] the child's side, [`request`] what little HTTP there is. Then [`waiting`] is the
//! place where the parent waits, [`signals`] how a signal ends that, [`scoreboard`] how the parent
//! knows what a crashed child was doing, [`refused`] what happens when there can be no child, and
//! [`log`] how a log is written that cannot stop the server.

use std::{
    io::{self, ErrorKind, PipeReader, PipeWriter},
    net::{Ipv4Addr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use anyhow::Context;

use crate::output::{report_error, say};

mod children;
mod connection;
mod log;
mod refused;
mod request;
mod scoreboard;
mod signals;
mod waiting;

use children::Children;
use log::Log;
use refused::Refused;
use request::{HEAD_LIMIT, Status};
use signals::Signals;
use waiting::Events;

/// How long children may go on after the server was told to end.
const GRACE: Duration = Duration::from_secs(5);
/// How long the server leaves the system alone that has just refused it a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until SIGINT or SIGTERM comes.
///
/// A client has `head_timeout` to send the whole head of its request.
pub fn run(port: u16, max_children: usize, head_timeout: Duration) -> anyhow::Result<u8> {
    let signals = Signals::new().context("cannot listen for signals")?;
    let address = (Ipv4Addr::LOCALHOST, port);
    let listener = TcpListener::bind(address)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .with_context(|| format!("cannot listen on {}:{}", address.0, port))?;
    let log = Log::new().context("cannot open the log")?;
    let (server_ends, running) = io::pipe().context("cannot make a pipe")?;
    // The one line that is not just log: without it nobody would know where to go.
    say!("Listening on http://{}/", listener.local_addr()?)?;

    let mut server = Server {
        listener: Some(listener),
        running: Some(running),
        server_ends,
        pause: None,
        children: Children::new(max_children)?,
        refused: Refused::new(),
        signals,
        log,
        buffer: request::buffer(),
        head_timeout,
    };
    let served = server.serve().and_then(|()| server.end());
    // None is left unless we failed: and then nobody would answer for those that still run.
    server.children.kill_and_wait();
    served?;
    Ok(0)
}

struct Server {
    /// `None` when no connection is wanted any more.
    listener: Option<TcpListener>,
    /// Open in the parent alone, until the server is told to end: then its children, which have
    /// the other end of the pipe, read the end of it.
    running: Option<PipeWriter>,
    server_ends: PipeReader,
    /// Until when no connection is accepted.
    pause: Option<Instant>,
    children: Children,
    refused: Refused,
    signals: Signals,
    log: Log,
    /// Where each child, in its own copy, reads its request to.
    buffer: Box<[u8; HEAD_LIMIT]>,
    head_timeout: Duration,
}

impl Server {
    fn serve(&mut self) -> anyhow::Result<()> {
        while !self.turn(None)? {}
        Ok(())
    }

    /// Lets the running children finish, for a while.
    fn end(&mut self) -> anyhow::Result<()> {
        // Closed: from now on clients are refused, and the port is free.
        self.listener = None;
        // Closed: children whose client has not asked for anything end too.
        self.running = None;
        if !self.children.is_empty() {
            self.log.line(format_args!(
                "The server ends: requests under way have {} s. (A second Ctrl-C ends them now.)",
                GRACE.as_secs()
            ));
        }
        let start = Instant::now();
        let deadline = start + GRACE;
        while !(self.children.is_empty() && self.log.is_empty()) && Instant::now() < deadline {
            let again = self.turn(Some(deadline))?;
            // A second Ctrl-C ends it at once. (`timeout` sends its signal twice in a row, to the
            // process and to its group: that is one request.)
            if again && start.elapsed() > PAUSE {
                break;
            }
        }
        self.children.kill();
        while !self.children.is_empty() {
            self.turn(None)?;
        }
        // Those that were killed have a line in the log too, as far as its reader takes it at once.
        while !self.log.is_empty() && self.wait(Some(Instant::now()))?.log_is_writable {
            self.log.write();
        }
        Ok(())
    }

    /// Waits until something happens, or for the deadline, and deals with what happened. True if
    /// the server is to end.
    fn turn(&mut self, deadline: Option<Instant>) -> anyhow::Result<bool> {
        let events = self.wait(deadline)?;
        if events.log_is_writable {
            self.log.write();
        }
        self.refused.read(&mut self.buffer);
        let end = events.signal && self.handle_signals()?;
        if events.connection && !end {
            self.accept();
        }
        Ok(end)
    }

    /// The only place where the server waits.
    fn wait(&self, deadline: Option<Instant>) -> anyhow::Result<Events> {
        let pause = self.pause.filter(|&end| Instant::now() < end);
        // While there is no child to spare, newcomers wait in the listener's queue.
        let accepts = pause.is_none() && !self.children.is_full();
        let listener = self.listener.as_ref().filter(|_| accepts);
        let log = Some(&self.log).filter(|log| !log.is_empty());
        let deadlines = [deadline, pause];
        waiting::wait(&self.signals, listener, log, &self.refused, deadlines)
    }

    /// Does what the signals ask for. True if one of them asks for the end.
    fn handle_signals(&mut self) -> anyhow::Result<bool> {
        self.signals.take().context("cannot read the signals")?;
        self.children.reap(&mut self.log)?;
        // What the children held that have ended may be what the system lacked.
        self.pause = None;
        Ok(self.signals.take_end())
    }

    fn accept(&mut self) {
        let Some(listener) = &self.listener else {
            return;
        };
        match listener.accept() {
            Ok((connection, _)) => self.hand_over(connection),
            // The client left before its turn came.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::ConnectionAborted
                ) => {}
            // Most likely there is no descriptor left, and the client still stands in the queue:
            // without a pause, we would try again and again.
            Err(error) => {
                report_error(format_args!("cannot accept a connection: {error}"));
                self.pause = Some(Instant::now() + PAUSE);
            }
        }
    }

    /// Starts a child for a connection.
    fn hand_over(&mut self, connection: TcpStream) {
        let Self {
            listener,
            running,
            server_ends,
            buffer,
            ..
        } = self;
        let head_deadline = Instant::now() + self.head_timeout;
        let child = self.children.start(|slot| {
            // A child that outlived the server would keep its port taken.
            drop(listener.take());
            // While a child has a copy of this end of the pipe, its siblings read no end of it.
            drop(running.take());
            signals::ignore_in_child()?;
            connection::serve(&connection, buffer, slot, head_deadline, server_ends)
        });
        if let Err(error) = child {
            report_error(format_args!("cannot fork a child for a request: {error}"));
            self.refused.add(connection, &mut self.buffer);
            self.log
                .line(format_args!("- - {} -", Status::Unavailable.code()));
        }
        // Here the parent's copy of the connection is closed, if a child has one. If it were kept,
        // the client would wait for the end of its answer for ever.
    }
}
