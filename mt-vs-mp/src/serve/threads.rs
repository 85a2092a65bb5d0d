//! One process, and a thread for each connection that is served at the same time.
//!
//! Threads cost least: they share one memory and one table of descriptors. But a crash in one
//! thread ends the process with all of its threads. Nobody is left to answer, or to replace the
//! process: it has no supervisor. (`hybrid` has one, and several processes.) The process survives
//! only a panic, because Rust then unwinds the thread that panicked, and no other.

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

pub fn serve(site: &'static Site, announce: impl Fn() -> anyhow::Result<()>) -> anyhow::Result<u8> {
    let signals = Signals::new()?;
    site.board.note_start(0);
    let mut threads = WorkerThreads::start(site, 0)?;
    announce()?;
    threads.end_after(iter::repeat_with(move || signals.wait()))?;
    threads.wait_for_end();
    site.close();
    // When `main` returns, the process ends, with all threads that still work.
    threads.finish(Some(GRACE))
}

/// The worker threads of one process. The process's first thread starts them, and waits for their
/// end.
pub struct WorkerThreads {
    /// How many of them are running.
    threads: usize,
    /// The error with which the first of them ended, if one did.
    error: Option<anyhow::Error>,
    ender: Option<Ender>,
    sender: Sender<Event>,
    events: Receiver<Event>,
}

enum Event {
    /// The process is to end.
    EndWanted,
    /// A worker thread has ended, perhaps with an error.
    ThreadEnded(anyhow::Result<()>),
}

impl WorkerThreads {
    pub fn start(site: &'static Site, process: usize) -> anyhow::Result<Self> {
        let (ender, end) = waiting::end().context("cannot make a pipe")?;
        let (sender, events) = mpsc::channel();
        let (end, threads) = (Arc::new(end), site.board.threads());
        for thread in 0..threads {
            start(site, process, thread, Arc::clone(&end), sender.clone())
                .with_context(|| format!("cannot start thread {} of {threads}", thread + 1))?;
        }
        Ok(Self {
            threads,
            error: None,
            ender: Some(ender),
            sender,
            events,
        })
    }

    /// Starts a thread that waits. Each step of the iterator `waits` is a wait, and after each step
    /// the process is to end.
    pub fn end_after(
        &self,
        waits: impl Iterator<Item = anyhow::Result<()>> + Send + 'static,
    ) -> anyhow::Result<()> {
        let sender = self.sender.clone();
        thread::Builder::new()
            .spawn(move || {
                for wait in waits {
                    if wait.is_err() || sender.send(Event::EndWanted).is_err() {
                        break;
                    }
                }
            })
            .context("cannot start a thread")?;
        Ok(())
    }

    /// Waits until the process is to end, or one of its worker threads has ended.
    pub fn wait_for_end(&mut self) {
        if let Ok(Event::ThreadEnded(result)) = self.events.recv() {
            self.note_end(result);
        }
    }

    fn note_end(&mut self, result: anyhow::Result<()>) {
        self.threads -= 1;
        self.error = self.error.take().or(result.err());
    }

    /// Waits until each thread has finished its request, but not longer than `grace`. Returns the
    /// exit code.
    ///
    /// # Errors
    /// When a thread has ended with an error.
    pub fn finish(mut self, grace: Option<Duration>) -> anyhow::Result<u8> {
        self.ender = None;
        let deadline = grace.map(|grace| Instant::now() + grace);
        while self.threads > 0 {
            let left = deadline.map(|end| end.saturating_duration_since(Instant::now()));
            match self.events.recv_timeout(left.unwrap_or(Duration::MAX)) {
                Ok(Event::ThreadEnded(result)) => self.note_end(result),
                Ok(Event::EndWanted) if grace.is_none() => {}
                // The second signal: without waiting any longer.
                Ok(Event::EndWanted) => return Ok(super::INTERRUPTED),
                Err(_) => break,
            }
        }
        self.error.map_or(Ok(0), Err)
    }
}

/// Starts one worker thread. If it panics, it starts another one with the same number.
fn start(
    site: &'static Site,
    process: usize,
    thread: usize,
    end: Arc<End>,
    events: Sender<Event>,
) -> anyhow::Result<()> {
    thread::Builder::new().spawn(move || {
        let work = || Worker::new(site, process, thread, &end).map(Worker::work);
        let result = match panic::catch_unwind(AssertUnwindSafe(work)) {
            Ok(result) => result,
            Err(_) => {
                site.board
                    .note_death(process::id(), process, Some(thread), How::Panic);
                match start(site, process, thread, end, events.clone()) {
                    Ok(()) => return,
                    Err(error) => Err(error.context("cannot replace a thread")),
                }
            }
        };
        let _ = events.send(Event::ThreadEnded(result));
    })?;
    Ok(())
}
