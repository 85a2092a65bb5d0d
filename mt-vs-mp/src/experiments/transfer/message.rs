//! What is sent: messages that prove that they arrived.

use std::time::Instant;

use anyhow::ensure;
use serde::{Deserialize, Serialize};

/// Messages of one size, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// In bytes.
    pub size: usize,
    pub messages: usize,
}

impl Batch {
    /// Those that are not timed, for memory is new to both sides the first time; and those that
    /// are.
    fn parts(self) -> [usize; 2] {
        [under_way(self.size), self.messages]
    }
}

/// How many messages of a size may be under way, where that is ours to decide: about as many as a
/// pipe of 64 KiB holds, and a few of the larger. Less than 256, for the marks repeat after so
/// many.
pub fn under_way(size: usize) -> usize {
    ((64 << 10) / size.max(1)).clamp(4, 250)
}

pub fn largest(batches: &[Batch]) -> usize {
    batches.iter().map(|batch| batch.size).max().unwrap_or(0)
}

/// The sender's side of a way.
pub trait Sender {
    /// Sends the message of this number.
    fn send(&mut self, number: usize, size: usize) -> anyhow::Result<()>;

    /// Waits until the receiver has all that was sent.
    fn all_received(&mut self) -> anyhow::Result<()>;
}

/// Sends all batches, and returns the time per message of each, in seconds.
pub fn send_all(batches: &[Batch], sender: &mut impl Sender) -> anyhow::Result<Vec<f64>> {
    let mut numbers = 0..;
    let mut seconds = Vec::new();
    for batch in batches {
        let mut per_message = 0.0;
        for messages in batch.parts() {
            let start = Instant::now();
            for number in numbers.by_ref().take(messages) {
                sender.send(number, batch.size)?;
            }
            sender.all_received()?;
            per_message = start.elapsed().as_secs_f64() / messages as f64;
        }
        seconds.push(per_message);
    }
    Ok(seconds)
}

/// The receiver's side: `receive` is given the number and the size of the message to come; `say_so`
/// tells the sender that all are here.
pub fn receive_all(
    batches: &[Batch],
    mut receive: impl FnMut(usize, usize) -> anyhow::Result<()>,
    mut say_so: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut numbers = 0..;
    for batch in batches {
        for messages in batch.parts() {
            for number in numbers.by_ref().take(messages) {
                receive(number, batch.size)?;
            }
            say_so()?;
        }
    }
    Ok(())
}

/// So often is a byte looked at: once in each of the smallest pages.
const STEP: usize = 4096;

/// Marks each page of the message, and its end, with the message's number, so that no older message
/// passes for it.
pub fn mark(message: &mut [u8], number: usize) {
    for (page, bytes) in message.chunks_mut(STEP).enumerate() {
        bytes[0] = mark_of(number, page);
    }
    if let Some(last) = message.last_mut() {
        *last = mark_of(number, STEP);
    }
}

/// # Errors
/// When a page of this message, or its end, is not there.
pub fn check(message: &[u8], number: usize, size: usize) -> anyhow::Result<()> {
    let pages = message.chunks(STEP).enumerate();
    let marked = message.len() == size
        && message.last() == Some(&mark_of(number, STEP))
        && pages
            // Of a last page that is a single byte, that has been looked at.
            .filter(|(_, bytes)| bytes.len() > 1)
            .all(|(page, bytes)| bytes[0] == mark_of(number, page));
    ensure!(
        marked,
        "message {number} of {size} bytes did not arrive whole"
    );
    Ok(())
}

/// The low byte: it tells a message from the one before it in the same memory.
fn mark_of(number: usize, page: usize) -> u8 {
    (number + 7 * page) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_lacks_a_page_or_is_an_older_one_is_noticed() {
        for size in [1, 64, STEP, STEP + 1, 3 * STEP] {
            let mut message = vec![0; size];
            mark(&mut message, 300);
            assert!(check(&message, 300, size).is_ok(), "{size}");
            assert!(check(&message, 296, size).is_err(), "{size}");
            assert!(check(&message[1..], 300, size).is_err(), "{size}");
        }
        let mut message = vec![0; 3 * STEP];
        mark(&mut message, 300);
        message[STEP] = 0;
        assert!(check(&message, 300, 3 * STEP).is_err());
    }

    #[test]
    fn both_sides_agree_on_numbers_and_sizes() {
        #[derive(Default)]
        struct Sent(Vec<(usize, usize)>, usize);
        impl Sender for Sent {
            fn send(&mut self, number: usize, size: usize) -> anyhow::Result<()> {
                self.0.push((number, size));
                Ok(())
            }

            fn all_received(&mut self) -> anyhow::Result<()> {
                self.1 += 1;
                Ok(())
            }
        }
        let batches = [64, 512].map(|size| Batch { size, messages: 3 });
        let (mut sent, mut received) = (Sent::default(), Vec::new());
        let times = send_all(&batches, &mut sent).expect("nothing fails");
        let receive = |number, size| {
            received.push((number, size));
            Ok(())
        };
        receive_all(&batches, receive, || Ok(())).expect("nothing fails");
        assert_eq!(times.len(), 2);
        assert_eq!(sent.0, received);
        assert_eq!(received.len(), under_way(64) + under_way(512) + 6);
        assert_eq!(received[under_way(64) + 3], (under_way(64) + 3, 512));
        assert_eq!(sent.1, 4);
    }
}
