//! From thread to thread, over a channel of the standard library.
//!
//! Messages go to and fro in the same few pieces of memory, so that what is timed is the way and
//! not the allocator.

use std::{sync::mpsc, thread};

use anyhow::Context;

use super::message::{Batch, Sender, check, largest, mark, receive_all, send_all, under_way};

/// What goes through the channel.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Cargo {
    /// The message itself changes its owner: three words, whatever its size.
    Moved,
    /// A copy of it, because the sender needs its own for something else.
    Copied,
}

pub fn transfer(cargo: Cargo, batches: &[Batch]) -> anyhow::Result<Vec<f64>> {
    let (to, messages) = mpsc::channel::<Vec<u8>>();
    let (back, returned) = mpsc::channel();
    let mut sender = ByChannel {
        cargo,
        own: vec![0; largest(batches)],
        at_home: Vec::new(),
        under_way: 0,
        to,
        returned,
    };
    thread::scope(|scope| {
        let receiver = scope.spawn(move || {
            let receive = |number, size| {
                let message = messages.recv().context("the sender is gone")?;
                check(&message, number, size)?;
                back.send(message).context("the sender is gone")
            };
            // That they come back says it.
            receive_all(batches, receive, || Ok(()))
        });
        let seconds = send_all(batches, &mut sender);
        // The end of the channel ends a receiver that still waits.
        drop(sender);
        receiver.join().expect("it does not panic")?;
        seconds
    })
}

struct ByChannel {
    cargo: Cargo,
    /// The message that is copied.
    own: Vec<u8>,
    /// Those that are not under way.
    at_home: Vec<Vec<u8>>,
    under_way: usize,
    to: mpsc::Sender<Vec<u8>>,
    returned: mpsc::Receiver<Vec<u8>>,
}

impl ByChannel {
    fn wait_for_one_to_come_back(&mut self) -> anyhow::Result<()> {
        let message = self.returned.recv().context("the receiver is gone")?;
        self.at_home.push(message);
        self.under_way -= 1;
        Ok(())
    }
}

impl Sender for ByChannel {
    fn send(&mut self, number: usize, size: usize) -> anyhow::Result<()> {
        if self.under_way == under_way(size) {
            self.wait_for_one_to_come_back()?;
        }
        let mut message = self.at_home.pop().unwrap_or_default();
        match self.cargo {
            Cargo::Moved => {
                message.resize(size, 0);
                mark(&mut message, number);
            }
            Cargo::Copied => {
                let own = &mut self.own[..size];
                mark(own, number);
                message.clear();
                message.extend_from_slice(own);
            }
        }
        self.under_way += 1;
        self.to.send(message).context("the receiver is gone")
    }

    fn all_received(&mut self) -> anyhow::Result<()> {
        while self.under_way > 0 {
            self.wait_for_one_to_come_back()?;
        }
        Ok(())
    }
}
