//! From process to process by shared memory. The sender copies each message into it, and the
//! receiver reads the message there.

use std::{
    io::{self, Read, Write},
    num::NonZeroUsize,
    slice,
};

use anyhow::Context;

use super::messages::{Batch, check, prepare, receive_all, send_all};
use crate::lab::{fork, mapping::Mapping};

pub fn transfer(batches: &[Batch]) -> anyhow::Result<Vec<f64>> {
    let sizes = batches.iter().map(|batch| batch.size * batch.under_way());
    let size = sizes.max().and_then(NonZeroUsize::new);
    let memory = Places(Mapping::shared(size.context("there are no messages")?)?);
    // A byte for each message that was sent, for each place that has become free, and for each
    // answer.
    let (mut sent_reader, sent_writer) = io::pipe().context("cannot make a pipe")?;
    let (free_reader, mut free_writer) = io::pipe().context("cannot make a pipe")?;
    let (answer_reader, mut answer_writer) = io::pipe().context("cannot make a pipe")?;
    // In an `Option`, because the child closes its own copies of these ends.
    let mut sender_ends = Some((sent_writer, free_reader, answer_reader));
    let receive = || {
        // If the child kept them, it would wait for ever after the sender's death.
        sender_ends = None;
        receive_all(batches, &mut answer_writer, |number, batch| {
            sent_reader
                .read_exact(&mut [0])
                .context("the sender is gone")?;
            // SAFETY: this message was sent, and the sender does not use its place until the place
            // is free.
            check(unsafe { memory.place(number, batch) }, number, batch)?;
            free_writer.write_all(b".").context("the sender is gone")
        })
    };
    // SAFETY: this trial has started no thread.
    let receiver = unsafe { fork::child(receive) }?;
    drop((sent_reader, free_writer, answer_writer));
    let (mut sent_writer, mut free_reader, mut answer_reader) =
        sender_ends.context("only the child closes them")?;

    let mut own = Vec::new();
    let mut under_way = 0;
    let seconds = send_all(batches, &mut answer_reader, |number, batch| {
        // Places become free in the order in which they were used.
        while under_way >= batch.under_way() {
            free_reader.read_exact(&mut [0])?;
            under_way -= 1;
        }
        prepare(&mut own, number, batch.size);
        // SAFETY: this place is free, and the receiver does not use it before the message is sent.
        unsafe { memory.place(number, batch) }.copy_from_slice(&own);
        under_way += 1;
        Ok(sent_writer.write_all(b".")?)
    });
    // A receiver that still waits ends when the pipes do.
    drop((sent_writer, free_reader, answer_reader));
    receiver.join().context("the receiver")?;
    seconds
}

/// The shared memory, divided into a place for each message that is under way.
struct Places(Mapping);

impl Places {
    /// The place of a message.
    ///
    /// # Safety
    /// While the result is used, nothing else uses this place, in this process or in another.
    #[expect(
        clippy::mut_from_ref,
        reason = "that no two overlap is the caller's duty"
    )]
    unsafe fn place(&self, number: u64, batch: Batch) -> &mut [u8] {
        let start = number as usize % batch.under_way() * batch.size;
        assert!(start + batch.size <= self.0.size.get(), "it is too large");
        // SAFETY: the place lies within the memory, which began as zeros and stays mapped as long
        // as `self` exists; the caller makes sure that nothing else uses the place.
        unsafe { slice::from_raw_parts_mut(self.0.start::<u8>().add(start).as_ptr(), batch.size) }
    }
}
