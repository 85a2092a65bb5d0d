//! The child: it gets the same block in several ways. Each time it reads all of it, and changes it.

use std::io::Read;

use anyhow::Context;
use ipc_channel::ipc::{IpcBytesReceiver, IpcReceiver, IpcSender, IpcSharedMemory};

use super::{
    PIECE,
    block::{checksum, page_faults, room_for},
};
use crate::child;

/// The block's size in bytes, and the child's ends of the channels.
pub type Arguments = (
    usize,
    IpcBytesReceiver,
    IpcReceiver<IpcSharedMemory>,
    IpcReceiver<()>,
    IpcSender<Answer>,
);

/// What the child reports each time. (It has then changed the first byte already.)
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub struct Answer {
    /// That of the block as it came.
    pub checksum: u64,
    /// The page faults of the child since it was started.
    pub page_faults: u64,
}

pub fn read(server: String) -> anyhow::Result<u8> {
    let (size, pieces, memories, filled, answers) = child::arguments::<Arguments>(server)?;
    // All pages are written to now, so that their page faults do not fall into a measurement. The
    // value is not 0, because an optimised program may leave out the writing of zeros: memory that
    // is new from the system is full of zeros already. Then the page faults would come later.
    let mut block = room_for(size)?;
    block.resize(size, 1);
    // This answer tells the parent that the child is ready.
    answer(&mut block, &answers)?;

    let mut stdin = os_pipe::dup_stdin().context("cannot copy stdin")?;
    stdin
        .read_exact(&mut block)
        .context("cannot read the pipe")?;
    answer(&mut block, &answers)?;
    // The block has come through the pipe, and nothing more will. From now on the pipe is the
    // lifeline.
    child::end_with_parent()?;

    // `recv` returns each piece in memory of its own. To have one block, the child copies it once
    // more.
    for place in block.chunks_mut(PIECE) {
        place.copy_from_slice(&pieces.recv().context("cannot receive")?);
    }
    answer(&mut block, &answers)?;

    drop(block);
    let mut memory = memories
        .recv()
        .context("cannot receive the shared memory")?;
    // One turn each time that the parent has filled the memory. When the parent drops the sender of
    // `filled`, this process ends.
    loop {
        // SAFETY: no other process may use this memory while this one has it as a slice. The parent
        // has mapped it too, but the two take turns. The parent fills the memory, sends a message,
        // and does not use the memory before the answer. The child does not use it before the next
        // message. (The library's documentation proposes another way to have one user at a time:
        // never clone the memory, and send it only once. The parent does clone it.)
        answer(unsafe { memory.deref_mut() }, &answers)?;
        if filled.recv().is_err() {
            return Ok(0);
        }
    }
}

/// Reads all of the block, changes it, and answers.
fn answer(block: &mut [u8], answers: &IpcSender<Answer>) -> anyhow::Result<()> {
    let checksum = checksum(block);
    block[0] = !block[0];
    let page_faults = page_faults();
    answers
        .send(Answer {
            checksum,
            page_faults,
        })
        .context("cannot answer")
}
