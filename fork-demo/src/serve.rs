//! A server that forks a child for every request.
//!
//! The parent listens. It forks a child for each connection. The child reads one request, answers
//! it, and ends. A crash of the child ends this request and no other one. inetd has started a
//! process for each connection in this way since 1986. (Apache has not done so since version 0.7,
//! of 1995: it forks its processes beforehand, and each of them serves many requests.)
//!
//! Mirrors Python's `socketserver.ForkingMixIn`. Run it with `cargo run -p fork-demo -- serve`, and
//! open the address that it prints. Try `/slow?ms=3000` and `/crash` too. After Ctrl-C it gives
//! the requests under way five seconds to finish, and ends. A second Ctrl-C ends it at once.
//!
//! What to notice: the parent is one thread and waits in one place, [`waiting::wait`]. One call of
//! `poll` waits there for several things: a signal (the end of a child is a signal too, SIGCHLD), a
//! new connection, room in the log, a refused client that sends something or closes its side, and
//! deadlines. Only a child waits for its client alone. The parent reaps every child, and closes
//! every descriptor, whatever clients do.
//!
//! In reading order: this file is the parent's loop, [`children`] its table of children,
//! [`connection`] what a child does, [`request`] the part of HTTP that is needed. After these,
//! [`waiting`] is where the parent waits, [`signals`] makes `poll` return when a signal arrives,
//! [`scoreboard`] tells the parent what a crashed child was doing, [`refused`] answers clients for
//! which no child can be forked, and [`log`] writes lines without ever waiting.

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

/// How long the children may go on after the server was told to quit.
const GRACE: Duration = Duration::from_secs(5);
/// If a second SIGINT or SIGTERM comes within this time after the first one, the two count as one.
const SAME_SIGNAL: Duration = Duration::from_millis(100);
/// How long the server accepts no connection after the system has refused it one.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until SIGINT or SIGTERM comes. Then it quits: it accepts no more connections, gives
/// the requests under way five seconds ([`GRACE`]) to finish, and ends.
///
/// A client has `head_timeout` to send the whole head of its request.
pub fn run(port: u16, max_children: usize, head_timeout: Duration) -> anyhow::Result<u8> {
    let signals = Signals::new().context("cannot listen for signals")?;
    let address = (Ipv4Addr::LOCALHOST, port);
    let listener = TcpListener::bind(address)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .with_context(|| format!("cannot listen on {}:{}", address.0, port))?;
    let log = Log::new().context("cannot open the log")?;
    let (quit, not_yet_quit) = io::pipe().context("cannot make a pipe")?;
    let children = Children::new(max_children)?;
    // This line comes last, since a client that reads it may connect at once. A failure to print it
    // ends the server, since no client would know the address. (A failure to print a line of the
    // log does not.)
    let address = listener.local_addr().context("cannot find the address")?;
    say!("Listening on http://{address}/")?;

    let mut server = Server {
        listener: Some(listener),
        quit,
        not_yet_quit: Some(not_yet_quit),
        pause: None,
        children,
        refused: Refused::new(),
        signals,
        log,
        buffer: request::buffer(),
        head_timeout,
    };
    let served = server.serve().and_then(|()| server.finish());
    // After an error, children may still run. They must not outlive the server.
    server.children.kill_and_wait();
    served?;
    Ok(0)
}

struct Server {
    /// `None` after the server was told to quit.
    listener: Option<TcpListener>,
    /// The reading end of a pipe to which nothing is written. Each child has a copy of it, and
    /// reads the end of file when the parent closes `not_yet_quit`.
    quit: PipeReader,
    /// The writing end of this pipe. Only the parent keeps it open, and closes it when it is told
    /// to quit.
    not_yet_quit: Option<PipeWriter>,
    /// No connection is accepted before this time.
    pause: Option<Instant>,
    children: Children,
    refused: Refused,
    signals: Signals,
    log: Log,
    /// Each child reads its request into its own copy of this buffer.
    buffer: Box<[u8; HEAD_LIMIT]>,
    head_timeout: Duration,
}

impl Server {
    /// Serves until a signal tells the server to quit.
    fn serve(&mut self) -> anyhow::Result<()> {
        while !self.turn(None)? {}
        Ok(())
    }

    /// Lets the running children finish, kills those that take longer than [`GRACE`], and reaps
    /// all.
    fn finish(&mut self) -> anyhow::Result<()> {
        // This closes the listener. The system refuses new clients, and breaks off the connections
        // that wait in the listener's queue. Another server may take the port.
        self.listener = None;
        // This closes the writing end. A child reads the end of file there, and if its client has
        // not sent anything yet, the child answers 503 and ends.
        self.not_yet_quit = None;
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
            // A second Ctrl-C ends the wait. (`timeout` sends its signal twice in a row, to the
            // process and to the process group. That counts as one.)
            if again && start.elapsed() > SAME_SIGNAL {
                break;
            }
        }
        self.children.kill();
        while !self.children.is_empty() {
            self.turn(None)?;
        }
        // The killed children have lines in the log too. These are written as long as there is room
        // for them. The server does not wait for room any more: the deadline of this call is now.
        while !self.log.is_empty() && self.wait(Some(Instant::now()))?.log_is_writable {
            self.log.write();
        }
        Ok(())
    }

    /// Waits until something happens or the deadline comes, and handles what happened. True if a
    /// signal tells the server to quit.
    fn turn(&mut self, deadline: Option<Instant>) -> anyhow::Result<bool> {
        let events = self.wait(deadline)?;
        if events.log_is_writable {
            self.log.write();
        }
        self.refused.read(&mut self.buffer);
        let quit = events.signal && self.handle_signals()?;
        if events.connection && !quit {
            self.accept();
        }
        Ok(quit)
    }

    /// The only place where the server waits.
    fn wait(&self, deadline: Option<Instant>) -> anyhow::Result<Events> {
        let pause = self.pause.filter(|&until| Instant::now() < until);
        // While the most children that are allowed run, new clients wait in the listener's queue.
        let accepts = pause.is_none() && !self.children.is_full();
        let listener = self.listener.as_ref().filter(|_| accepts);
        let log = Some(&self.log).filter(|log| !log.is_empty());
        let deadlines = [deadline, pause];
        waiting::wait(&self.signals, listener, log, &self.refused, deadlines)
    }

    /// Handles the signals that have arrived. True if one of them tells the server to quit.
    fn handle_signals(&mut self) -> anyhow::Result<bool> {
        self.signals.take().context("cannot read the signals")?;
        self.children.reap(&mut self.log)?;
        // A child that has ended has freed what it used. So the next `accept` may succeed, and the
        // server need not pause any longer.
        self.pause = None;
        Ok(self.signals.take_quit())
    }

    fn accept(&mut self) {
        let Some(listener) = &self.listener else {
            return;
        };
        match listener.accept() {
            Ok((connection, _)) => self.hand_over(connection),
            // The client has left before its connection was accepted.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::ConnectionAborted
                ) => {}
            // Most likely no descriptor is left, and the client stays in the queue. Without a
            // pause, `poll` would return at once, and the server would try again and again.
            Err(error) => {
                report_error(format_args!("cannot accept a connection: {error}"));
                self.pause = Some(Instant::now() + PAUSE);
            }
        }
    }

    /// Starts a child for a connection.
    fn hand_over(&mut self, connection: TcpStream) {
        let head_deadline = Instant::now() + self.head_timeout;
        let child = self.children.start(|slot| {
            // A child may outlive a server that was killed. With a copy of the listener it would
            // keep the port taken.
            drop(self.listener.take());
            // While any process has a copy of this writing end, no child reads the end of file.
            drop(self.not_yet_quit.take());
            // The parent ends the connections of refused clients when their time is up. Copies here
            // would keep them open.
            self.refused.close_all();
            signals::ignore_in_child().context("cannot ignore SIGINT and SIGTERM")?;
            connection::serve(
                &connection,
                &mut self.buffer,
                slot,
                head_deadline,
                &self.quit,
            )
        });
        match child {
            // This closes the parent's copy of the connection. (The end of this function, which
            // owns `connection`, would do so too.) The parent must not keep its copy, in a table
            // for example. The system ends a connection when all copies are closed, so the client
            // of a child that crashes would wait for ever. (A child that answers ends it for all
            // copies, by `shutdown`.) And the parent would have no descriptor left in the end.
            Ok(()) => drop(connection),
            Err(error) => {
                report_error(format_args!("cannot fork a child for a request: {error}"));
                self.refused.add(connection, &mut self.buffer);
                self.log
                    .line(format_args!("- - {} -", Status::Unavailable.code()));
            }
        }
    }
}
