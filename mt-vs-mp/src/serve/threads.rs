//! One process, and a thread for each connection that is served at the same time.
//!
//! Threads cost least: one memory, one table of descriptors. But a crash of one is a crash of the
//! process, and so of all: nobody is left to replace them, or to answer. No supervisor hides this
//! here. What helps against it is a second process, see `hybrid`. Only a panic is survived, because
//! Rust unwinds the thread that panicked, and no other.

use std::{
    iter,
    panic::{self, AssertUnwindSafe},
    process,
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;

use super::{
    GRACE, Site,
    scoreboard::How,
    signals::Signals,
    waiting::{self, End, Ender},
    worker::Worker,
};
use crate::output::report_error;

pub fn serve(site: &'static Site, announce: impl Fn() -> anyhow::Result<()>) -> anyhow::Result<u8> {
    let signals = Signals::new()?;
    site.board.note_start(0);
    let mut crew = Crew::start(site, 0)?;
    announce()?;
    crew.end_after(iter::repeat_with(move || signals.wait()))?;
    crew.wait_for_end();
    site.close();
    // Returning from `main` ends the process, and with it the threads that are still at work.
    Ok(crew.finish(Some(GRACE)))
}

/// The threads of one process, for its first thread.
pub struct Crew {
    /// How many are running.
    threads: usize,
    ender: Option<Ender>,
    sender: Sender<Event>,
    events: Receiver<Event>,
}

enum Event {
    /// Somebody wants the process to end.
    End,
    /// A thread has ended.
    Ended,
}

impl Crew {
    pub fn start(site: &'static Site, process: usize) -> anyhow::Result<Self> {
        let (ender, end) = waiting::end().context("cannot make a pipe")?;
        let (sender, events) = mpsc::channel();
        let (end, threads) = (Arc::new(end), site.board.threads());
        for thread in 0..threads {
            start(site, (process, thread), Arc::clone(&end), sender.clone())
                .with_context(|| format!("cannot start thread {} of {threads}", thread + 1))?;
        }
        Ok(Self {
            threads,
            ender: Some(ender),
            sender,
            events,
        })
    }

    /// Has the process end when the first of these waits is over.
    pub fn end_after(
        &self,
        waits: impl Iterator<Item = anyhow::Result<()>> + Send + 'static,
    ) -> anyhow::Result<()> {
        let sender = self.sender.clone();
        thread::Builder::new()
            .spawn(move || {
                for wait in waits {
                    if wait.is_err() || sender.send(Event::End).is_err() {
                        break;
                    }
                }
            })
            .context("cannot start a thread")?;
        Ok(())
    }

    /// Waits until the process is to end: somebody wants it, or a thread did so first.
    pub fn wait_for_end(&mut self) {
        if let Ok(Event::Ended) = self.events.recv() {
            self.threads -= 1;
        }
    }

    /// Lets each thread finish its request, but within `grace`. Returns the exit code.
    pub fn finish(mut self, grace: Option<Duration>) -> u8 {
        self.ender = None;
        let deadline = grace.map(|grace| Instant::now() + grace);
        while self.threads > 0 {
            let left = deadline.map(|end| end.saturating_duration_since(Instant::now()));
            match self.events.recv_timeout(left.unwrap_or(Duration::MAX)) {
                Ok(Event::Ended) => self.threads -= 1,
                Ok(Event::End) if grace.is_none() => {}
                // Asked twice: at once, then.
                Ok(Event::End) => return super::INTERRUPTED,
                Err(_) => break,
            }
        }
        0
    }
}

/// Starts one thread. If it panics, another takes its place.
fn start(
    site: &'static Site,
    (place, thread): (usize, usize),
    end: Arc<End>,
    crew: Sender<Event>,
) -> anyhow::Result<()> {
    thread::Builder::new().spawn(move || {
        let work = || Worker::new(site, place, thread, &end).map(Worker::work);
        match panic::catch_unwind(AssertUnwindSafe(work)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => report_error(format_args!("{error:#}")),
            Err(_) => {
                site.board
                    .note_death((process::id(), place), Some(thread), How::Panic);
                match start(site, (place, thread), end, crew.clone()) {
                    Ok(()) => return,
                    Err(error) => report_error(format_args!("cannot replace a thread: {error:#}")),
                }
            }
        }
        let _ = crew.send(Event::Ended);
    })?;
    Ok(())
}
