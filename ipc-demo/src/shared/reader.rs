//! The child: it gets the same block in three ways, checks it, and changes it.

use std::io::Read;

use anyhow::Context;
use ipc_channel::ipc::{self, IpcSender};

use super::{
    Answer, Ends, PIECE,
    block::{SIZE, checksum, room_for},
};
use crate::{
    channel::{receive, send},
    peer,
};

pub fn read(server: String) -> anyhow::Result<u8> {
    // Memory that was written to already: else the first way, but not the second, would be charged
    // for what the system does when a page is touched for the first time.
    let mut block = room_for(SIZE)?;
    block.resize(SIZE, 0);
    let (messages, pieces) = ipc::bytes_channel().context("cannot make a channel")?;
    let (memories, shared) = ipc::channel().context("cannot make a channel")?;
    let (answer, answers) = ipc::channel().context("cannot make a channel")?;
    peer::introduce::<Ends>(server, (messages, memories, answers))?;

    let mut stdin = os_pipe::dup_stdin().context("cannot copy stdin")?;
    stdin
        .read_exact(&mut block)
        .context("cannot read the pipe")?;
    check_and_change(&mut block, &answer)?;
    // The pipe has brought its block. From now on all it can bring is the parent's end.
    peer::end_with_parent()?;

    for place in block.chunks_mut(PIECE) {
        place.copy_from_slice(&pieces.recv().context("cannot receive")?);
    }
    check_and_change(&mut block, &answer)?;

    drop(block);
    let mut memory = receive(&shared).context("cannot receive the shared memory")?;
    // SAFETY: while we write, the parent does not touch the block: it waits for our answer.
    check_and_change(unsafe { memory.deref_mut() }, &answer)?;
    Ok(0)
}

fn check_and_change(block: &mut [u8], answer: &IpcSender<Answer>) -> anyhow::Result<()> {
    send(answer, Answer::Arrived).context("cannot answer")?;
    let sum = checksum(block);
    block[0] = !block[0];
    send(answer, Answer::Checked(sum)).context("cannot answer")
}
