//! From process to process in memory that both have: one copy, by the sender.

use std::{
    io::{self, Read, Write},
    num::NonZeroUsize,
    slice,
};

use anyhow::Context;

use super::{Batch, check, prepare, receive_all, send_all};
use crate::lab::{fork, mapping::Mapping};

pub fn transfer(batches: &[Batch]) -> anyhow::Result<Vec<f64>> {
    let sizes = batches.iter().map(|batch| batch.size * batch.under_way());
    let size = sizes.max().and_then(NonZeroUsize::new);
    let memory = Places(Mapping::shared(size.context("there are no messages")?)?);
    let (mut arrivals, mut announce) = io::pipe().context("cannot make a pipe")?;
    let (mut freed, mut free) = io::pipe().context("cannot make a pipe")?;
    let (mut answers, mut answer) = io::pipe().context("cannot make a pipe")?;
    let mut senders = Some((announce, freed, answers));
    let receive = || {
        // Closes the child's copies of the sender's ends. Kept, they would hold the child when
        // the sender is gone.
        senders = None;
        receive_all(batches, &mut answer, |number, batch| {
            arrivals
                .read_exact(&mut [0])
                .context("the sender is gone")?;
            // SAFETY: the sender has announced this message, and leaves its place alone until
            // it is free.
            check(unsafe { memory.place(number, batch) }, number, batch)?;
            free.write_all(b".").context("the sender is gone")
        })
    };
    // SAFETY: this trial has started no thread.
    let receiver = unsafe { fork::child(receive) }?;
    drop((arrivals, free, answer));
    (announce, freed, answers) = senders.context("only the child closes them")?;

    let (mut own, mut under_way) = (Vec::new(), 0);
    let seconds = send_all(batches, &mut answers, |number, batch| {
        // Places become free in the order in which they are filled.
        while under_way >= batch.under_way() {
            freed.read_exact(&mut [0])?;
            under_way -= 1;
        }
        prepare(&mut own, number, batch.size);
        // SAFETY: this place is free, and the receiver does not look until the message is
        // announced.
        unsafe { memory.place(number, batch) }.copy_from_slice(&own);
        under_way += 1;
        Ok(announce.write_all(b"!")?)
    });
    // The end of the pipes ends a receiver that still waits.
    drop((announce, freed, answers));
    receiver.join().context("the receiver")?;
    seconds
}

/// The memory, cut into places for the messages under way.
struct Places(Mapping);

impl Places {
    /// The place of a message.
    ///
    /// # Safety
    /// As long as the result is used, nobody else, in this process or another, uses this place.
    #[expect(
        clippy::mut_from_ref,
        reason = "that no two overlap is the caller's duty"
    )]
    unsafe fn place(&self, number: u64, batch: Batch) -> &mut [u8] {
        let start = number as usize % batch.under_way() * batch.size;
        assert!(start + batch.size <= self.0.size.get(), "it is too large");
        // SAFETY: it lies within the memory, which began as zeros and stays mapped as long as
        // `self` does; and the caller sees to it that nobody else uses it.
        unsafe { slice::from_raw_parts_mut(self.0.start::<u8>().add(start).as_ptr(), batch.size) }
    }
}
