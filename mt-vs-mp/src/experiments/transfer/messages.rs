//! Messages: what is in them, and how batches of them are sent and received.

use std::{
    io::{Read, Write},
    time::Instant,
};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

/// Messages of one size, which are sent one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// In bytes.
    pub size: usize,
    pub messages: usize,
    /// Whether the receiver reads all of each message.
    pub read: bool,
}

impl Batch {
    /// How many messages may have been sent and not yet been received: as many as fit into 64 KiB,
    /// but 2 at least and 250 at most. Pipes and ipc-channel have limits of their own.
    pub fn under_way(self) -> usize {
        ((64 << 10) / self.size).clamp(2, 250)
    }

    /// The number of messages in each of two parts. Only the second part is timed: in the first,
    /// both sides use their memory for the first time.
    fn parts(self) -> [usize; 2] {
        [self.under_way(), self.messages]
    }
}

/// The first and the last word of a message are its number. All other bytes are `FILL`.
const FILL: u8 = 1;
const WORD: usize = size_of::<u64>();

/// Gives a message this number and this size. If it has the size already, only its ends change.
pub fn prepare(message: &mut Vec<u8>, number: u64, size: usize) {
    if message.len() != size {
        *message = vec![FILL; size];
    }
    message[..WORD].copy_from_slice(&number.to_ne_bytes());
    message[size - WORD..].copy_from_slice(&number.to_ne_bytes());
}

/// Looks at the ends of a message or reads all of it, as the batch says.
///
/// # Errors
/// When it is not whole, or has another number.
pub fn check(message: &[u8], number: u64, batch: Batch) -> anyhow::Result<()> {
    let (words, _) = message.as_chunks::<WORD>();
    let word = |bytes: &[u8; WORD]| u64::from_ne_bytes(*bytes);
    let ends = [words.first(), words.last()].map(|end| end.map(word));
    let mut is_right = message.len() == batch.size && ends == [Some(number); 2];
    if is_right && batch.read {
        // Modulo 2⁶⁴, since the sum does not fit into 64 bits.
        let sum = words.iter().map(word).fold(0, u64::wrapping_add);
        let between = (words.len() as u64 - 2).wrapping_mul(u64::from_ne_bytes([FILL; WORD]));
        is_right = sum == between.wrapping_add(2 * number);
    }
    ensure!(
        is_right,
        "message {number} of {} bytes did not arrive whole",
        batch.size
    );
    Ok(())
}

/// The sender's side: `send` sends the message of a number. When all messages of a part have
/// arrived, the receiver answers with a byte. Returns the time per message of each batch, in
/// seconds.
pub fn send_all(
    batches: &[Batch],
    answers: &mut impl Read,
    mut send: impl FnMut(u64, Batch) -> anyhow::Result<()>,
) -> anyhow::Result<Vec<f64>> {
    let mut number = 0;
    let mut seconds = Vec::new();
    for &batch in batches {
        let mut per_message = f64::NAN;
        for messages in batch.parts() {
            let start = Instant::now();
            for _ in 0..messages {
                send(number, batch).context("the receiver is gone")?;
                number += 1;
            }
            answers
                .read_exact(&mut [0])
                .context("the receiver is gone")?;
            per_message = start.elapsed().as_secs_f64() / messages as f64;
        }
        // The time of the second part.
        seconds.push(per_message);
    }
    Ok(seconds)
}

/// The receiver's side: `receive` receives the message of a number and checks it.
pub fn receive_all(
    batches: &[Batch],
    answers: &mut impl Write,
    mut receive: impl FnMut(u64, Batch) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut number = 0;
    for &batch in batches {
        for messages in batch.parts() {
            for _ in 0..messages {
                receive(number, batch)?;
                number += 1;
            }
            answers.write_all(b".").context("the sender is gone")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_lacks_a_byte_or_is_an_older_one_is_noticed() {
        for size in [64, 72, 4096] {
            let batch = |read| Batch {
                size,
                messages: 1,
                read,
            };
            let mut message = Vec::new();
            prepare(&mut message, 300, size);
            for read in [false, true] {
                assert!(check(&message, 300, batch(read)).is_ok(), "{size}");
                assert!(check(&message, 299, batch(read)).is_err(), "{size}");
                assert!(check(&message[1..], 300, batch(read)).is_err(), "{size}");
            }
            message[size / 2] ^= 1;
            assert!(
                check(&message, 300, batch(false)).is_ok(),
                "its ends are there"
            );
            assert!(check(&message, 300, batch(true)).is_err(), "{size}");
            // The memory of an older message is no obstacle.
            prepare(&mut message, 301, size + 8);
            let longer = Batch {
                size: size + 8,
                messages: 1,
                read: true,
            };
            assert!(check(&message, 301, longer).is_ok());
        }
    }

    fn batch(size: usize, messages: usize) -> Batch {
        Batch {
            size,
            messages,
            read: false,
        }
    }

    #[test]
    fn as_many_are_under_way_as_fit_into_64_kib_but_two_at_least_and_250_at_most() {
        let under_way = [64, 512, 4096, 16 << 20].map(|size| batch(size, 1).under_way());
        assert_eq!(under_way, [250, 128, 16, 2]);
    }

    /// The timed messages take no longer than all.
    #[test]
    fn the_time_of_a_message_is_a_part_of_the_time_of_all() {
        let start = Instant::now();
        let times = send_all(&[batch(4096, 1024)], &mut &b".."[..], |_, _| Ok(()));
        let times = times.expect("nothing fails");
        assert!(times[0] * 1024.0 <= start.elapsed().as_secs_f64());
    }

    #[test]
    fn both_sides_agree_on_numbers_and_batches() {
        let batches = [64, 512].map(|size| batch(size, 3));
        let (mut sent, mut received) = (Vec::new(), Vec::new());
        let mut answers = Vec::new();
        let receive = |number, batch| {
            received.push((number, batch));
            Ok(())
        };
        receive_all(&batches, &mut answers, receive).expect("nothing fails");
        let send = |number, batch| {
            sent.push((number, batch));
            Ok(())
        };
        let times = send_all(&batches, &mut &answers[..], send).expect("nothing fails");
        assert_eq!((times.len(), answers.len()), (2, 4));
        assert_eq!(sent, received);
        assert_eq!(
            received.len(),
            batches[0].under_way() + batches[1].under_way() + 6
        );
    }
}
