//! A worker: it serves one connection after another. It is the same in all models.

use anyhow::Context;

use super::{
    Site, http,
    scoreboard::{Slot, State},
    waiting::{Acceptor, End},
};

pub struct Worker<'a> {
    pub site: &'static Site,
    /// The number of its process.
    pub process: usize,
    /// Where it notes what it is doing.
    pub slot: &'static Slot,
    pub end: &'a End,
    acceptor: Acceptor<'a>,
}

impl<'a> Worker<'a> {
    /// The calling thread becomes the worker with these numbers.
    pub fn new(
        site: &'static Site,
        process: usize,
        thread: usize,
        end: &'a End,
    ) -> anyhow::Result<Self> {
        let acceptor = Acceptor::new(&site.listener, end).context("cannot wait for connections")?;
        let slot = site.board.slot(process, thread);
        slot.take();
        Ok(Self {
            site,
            process,
            slot,
            end,
            acceptor,
        })
    }

    /// Works until the server ends, or the process has answered its number of requests.
    pub fn work(self) {
        let mut buffers = http::Buffers::new();
        while !self.is_retired() {
            self.slot.enter(State::Idle);
            match self.acceptor.accept() {
                Some(connection) => http::serve(&connection, &self, &mut buffers),
                None => break,
            }
        }
        self.slot.leave();
    }

    /// Whether its process has answered as many requests as it may.
    pub fn is_retired(&self) -> bool {
        // Without a limit, the sum over all slots is not needed.
        self.site.max_requests < u64::MAX
            && self.site.board.answered_by(self.process) >= self.site.max_requests
    }
}
