//! Several readers: the parent gives each item to one of them.
//!
//! Python's `Queue` is a pipe that all readers share, and a lock that lets one of them read at a
//! time. A channel of ipc-channel has one receiver, in one process. So here the parent receives,
//! and gives each item to a reader that has said it is free. A slow reader receives fewer items.
//!
//! How each reader learns of the end: the parent drops its senders, and each reader's own channel
//! is then disconnected. (In Python the program puts as many `None` into the queue as there are
//! readers.)

use anyhow::{Context, bail};
use ipc_channel::{
    IpcError,
    ipc::{IpcReceiver, IpcSender},
};

use super::{Item, Plan, tally::Tally};

pub struct Deal {
    queue: IpcReceiver<Item>,
    /// A reader that is free sends its number here.
    free: IpcReceiver<u32>,
    /// A channel to each reader; `None` if it could not be used any more.
    readers: Vec<Option<IpcSender<Item>>>,
}

impl Deal {
    pub fn new(
        queue: IpcReceiver<Item>,
        free: IpcReceiver<u32>,
        readers: Vec<IpcSender<Item>>,
    ) -> Self {
        Self {
            queue,
            free,
            readers: readers.into_iter().map(Some).collect(),
        }
    }

    /// Gives each item to one reader, until the queue ends.
    ///
    /// # Errors
    /// Items of a writer are missing, or no reader is left.
    pub fn run(mut self, plan: Plan) -> anyhow::Result<()> {
        let mut tally = Tally::new(plan);
        loop {
            let item = match self.queue.recv() {
                Ok(item) => item,
                Err(IpcError::Disconnected) => return tally.check_complete(),
                Err(error) => return Err(error).context("cannot read the queue"),
            };
            tally.count(item)?;
            loop {
                let Ok(reader) = self.free.recv() else {
                    bail!("no reader is left: what is still in the queue is lost");
                };
                let reader = &mut self.readers[reader as usize];
                let sent = reader.as_ref().is_some_and(|it| it.send(item).is_ok());
                if sent {
                    break;
                }
                // That reader has died since, or the system has no room for a message. The reader
                // is let go: if it lives, it reads the end. The loop gives the item to another.
                *reader = None;
            }
        }
    }
}
