//! A worker: it serves one connection after another. In each model it is the same.

use anyhow::Context;

use super::{
    Site, http,
    scoreboard::{Slot, State},
    waiting::{Door, End},
};

pub struct Worker<'a> {
    pub site: &'static Site,
    /// Which of the processes it is in.
    pub process: usize,
    /// Where it notes what it does.
    pub slot: &'static Slot,
    pub end: &'a End,
    door: Door<'a>,
}

impl<'a> Worker<'a> {
    /// A worker in this thread.
    pub fn new(
        site: &'static Site,
        process: usize,
        thread: usize,
        end: &'a End,
    ) -> anyhow::Result<Self> {
        let door = Door::new(&site.listener, end).context("cannot wait for connections")?;
        let slot = site.board.slot(process, thread);
        slot.take();
        Ok(Self {
            site,
            process,
            slot,
            end,
            door,
        })
    }

    /// Works until the server ends, or the process has answered its number of requests.
    pub fn work(self) {
        let mut buffers = http::Buffers::new();
        while !self.is_retired() {
            self.slot.enter(State::Idle);
            let Some(connection) = self.door.accept() else {
                break;
            };
            http::serve(&connection, &self, &mut buffers);
        }
        self.slot.leave();
    }

    /// Whether its process has answered as many requests as it may.
    pub fn is_retired(&self) -> bool {
        // Who has no limit need not count for it.
        self.site.max_requests < u64::MAX
            && self.site.board.answered_by(self.process) >= self.site.max_requests
    }
}
