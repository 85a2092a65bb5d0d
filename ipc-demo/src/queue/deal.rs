//! Several readers: the parent deals the items out.
//!
//! Python's `Queue` is a pipe that all readers share, and a lock that lets one of them read at a
//! time. A channel of ipc-channel has one receiver, in one process. So here the parent receives,
//! and gives each item to a reader that has said it is free. A slow reader receives fewer items.
//!
//! How each reader learns of the end: the parent drops the senders, and each reader's own channel
//! is disconnected. (In Python one puts as many `None` into the queue as there are readers.)

use anyhow::{Context, bail};
use ipc_channel::{
    IpcError,
    ipc::{IpcReceiver, IpcSender},
};

use super::{Item, Plan, tally::Tally};

pub struct Deal {
    queue: IpcReceiver<Item>,
    /// The number of a reader that waits for an item.
    free: IpcReceiver<u32>,
    readers: Vec<IpcSender<Item>>,
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
            readers,
        }
    }

    /// Gives each item to one reader, until the queue ends.
    ///
    /// # Errors
    /// When items of a writer are missing, or no reader is left.
    pub fn run(self, plan: Plan) -> anyhow::Result<()> {
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
                // It fails if that reader has died since. Then another one gets the item.
                if self.readers[reader as usize].send(item).is_ok() {
                    break;
                }
            }
        }
    }
}
