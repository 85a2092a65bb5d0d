//! The child: it gets the same block in several ways, reads all of it, and changes it.

use std::io::Read;

use anyhow::Context;
use ipc_channel::ipc::{IpcBytesReceiver, IpcReceiver, IpcSender, IpcSharedMemory};

use super::{
    PIECE,
    block::{SIZE, checksum, page_faults, room_for},
};
use crate::child;

/// The child's ends of the channels.
pub type Arguments = (
    IpcBytesReceiver,
    IpcReceiver<IpcSharedMemory>,
    IpcReceiver<()>,
    IpcSender<Answer>,
);

/// What the child reports of each block, after it has changed the first byte.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub struct Answer {
    pub checksum: u64,
    /// How often this process has touched a page that the system had to provide first, since it
    /// was started.
    pub page_faults: u64,
}

pub fn read(server: String) -> anyhow::Result<u8> {
    let (pieces, memories, filled, answers) = child::arguments::<Arguments>(server)?;
    // We write to each page now, so that no page fault falls into a measurement. (Not zeros: an
    // optimised program gets memory full of zeros from the system, page by page, on first use.)
    let mut block = room_for(SIZE)?;
    block.resize(SIZE, 1);
    // Now the parent may start its clock.
    answer(&mut block, &answers)?;

    let mut stdin = os_pipe::dup_stdin().context("cannot copy stdin")?;
    stdin
        .read_exact(&mut block)
        .context("cannot read the pipe")?;
    answer(&mut block, &answers)?;
    // The pipe has brought its block. All that it can bring from now on is the end of file.
    child::end_with_parent()?;

    for place in block.chunks_mut(PIECE) {
        place.copy_from_slice(&pieces.recv().context("cannot receive")?);
    }
    answer(&mut block, &answers)?;

    drop(block);
    let mut memory = memories
        .recv()
        .context("cannot receive the shared memory")?;
    // Each time that the parent has filled it. The channel's end is the end of this process too.
    loop {
        // SAFETY: nobody else may touch this memory while we have it as a slice. The parent has it
        // too, but the two take turns: it fills the block, sends a message, and does not touch the
        // block before our answer has come; we do not touch it before its next message. (The
        // library asks for no clones and one transfer for the same reason; for that it would
        // suffice to take turns.)
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
