//! From process to process, through memory that both have.
//!
//! The memory has room for a few messages. A byte in a pipe says that one of them is there, and a
//! byte in another that its room is free again.

use std::{
    io::{self, PipeReader, PipeWriter, Read, Write},
    num::NonZeroUsize,
    slice,
};

use anyhow::Context;

use super::message::{Batch, Sender, check, largest, mark, receive_all, send_all, under_way};
use crate::lab::{fork, mapping::Mapping};

pub fn transfer(batches: &[Batch]) -> anyhow::Result<Vec<f64>> {
    let sizes = batches.iter().map(|batch| batch.size);
    let most = sizes.map(|size| size * under_way(size)).max();
    let most = most.and_then(NonZeroUsize::new);
    let memory = Rooms(Mapping::shared(most.context("there are no messages")?)?);
    let (arrivals, announce) = io::pipe().context("cannot make a pipe")?;
    let (freed, free) = io::pipe().context("cannot make a pipe")?;
    let mut senders = Some((announce, freed));
    let receiver = {
        let (memory, senders) = (&memory, &mut senders);
        let body = move || {
            // Closes the child's copies of the sender's ends. Kept, they would hold the child when
            // the sender is gone.
            *senders = None;
            receive(batches, memory, arrivals, free)
        };
        // SAFETY: this trial has started no thread.
        unsafe { fork::child(body) }?
    };
    let (announce, freed) = senders.context("only the child lets go of them")?;
    let mut sender = InShared {
        memory: &memory,
        own: vec![0; largest(batches)],
        under_way: 0,
        announce,
        freed,
    };
    let seconds = send_all(batches, &mut sender);
    // The end of the pipes ends a receiver that still waits.
    drop(sender);
    fork::join(receiver).context("the receiver")?;
    seconds
}

fn receive(
    batches: &[Batch],
    memory: &Rooms,
    mut arrivals: impl Read,
    mut free: impl Write,
) -> anyhow::Result<()> {
    let receive = |number, size| {
        let arrival = arrivals.read_exact(&mut [0]);
        arrival.context("the sender is gone")?;
        // SAFETY: the sender has announced this message, and leaves its room alone until it is
        // free.
        check(unsafe { memory.room(number, size) }, number, size)?;
        free.write_all(b".").context("the sender is gone")
    };
    // That all rooms are free says it.
    receive_all(batches, receive, || Ok(()))
}

struct InShared<'a> {
    memory: &'a Rooms,
    /// The message that is copied.
    own: Vec<u8>,
    under_way: usize,
    announce: PipeWriter,
    freed: PipeReader,
}

impl InShared<'_> {
    fn wait_for_a_free_room(&mut self) -> anyhow::Result<()> {
        let freed = self.freed.read_exact(&mut [0]);
        freed.context("the receiver is gone")?;
        self.under_way -= 1;
        Ok(())
    }
}

impl Sender for InShared<'_> {
    fn send(&mut self, number: usize, size: usize) -> anyhow::Result<()> {
        // Rooms are freed in the order in which they are filled.
        if self.under_way == under_way(size) {
            self.wait_for_a_free_room()?;
        }
        let own = &mut self.own[..size];
        mark(own, number);
        // SAFETY: this room is free, and the receiver does not look until it hears of the message.
        unsafe { self.memory.room(number, size) }.copy_from_slice(own);
        self.under_way += 1;
        let announced = self.announce.write_all(b"!");
        announced.context("the receiver is gone")
    }

    fn all_received(&mut self) -> anyhow::Result<()> {
        while self.under_way > 0 {
            self.wait_for_a_free_room()?;
        }
        Ok(())
    }
}

/// The memory, cut into rooms for messages of the size under way.
struct Rooms(Mapping);

impl Rooms {
    /// The room of a message.
    ///
    /// # Safety
    /// As long as the result is used, nobody else, in this process or another, uses this room.
    #[expect(
        clippy::mut_from_ref,
        reason = "that no two overlap is the caller's duty"
    )]
    unsafe fn room(&self, number: usize, size: usize) -> &mut [u8] {
        let start = number % under_way(size) * size;
        assert!(start + size <= self.0.size.get(), "it is too large");
        // SAFETY: it lies within the memory, which began as zeros and stays mapped as long as
        // `self` does; and the caller sees to it that nobody else uses it.
        unsafe { slice::from_raw_parts_mut(self.0.start::<u8>().add(start).as_ptr(), size) }
    }
}
