//! One block of 64 MiB, seen by parent and child: sent through a pipe, sent through ipc-channel,
//! and shared.
//!
//! Mirrors Python's `Pipe`, `Queue` and `multiprocessing.shared_memory`. Run it with `cargo run -r
//! -p ipc-demo -- shared`.
//!
//! What to notice: what is sent is copied, into the kernel by one process and out of it by the
//! other. Of shared memory only a descriptor is sent, whatever its size. But the bytes must be
//! copied into it once, and new memory costs time: the system provides each page when it is first
//! used (a page fault), and fills it with zeros before. So the same copy into the same memory is
//! faster the second time. After each turn the child changes the first byte that it has: the parent
//! sees that in the shared block, and nowhere else.
//!
//! In reading order: this file is the parent, [`reader`] the child, [`block`] what they pass on.

use std::{io::Write, process, time::Instant};

use anyhow::{Context, ensure};
use ipc_channel::ipc::{self, IpcReceiver, IpcSharedMemory};
use os_pipe::PipeWriter;

use crate::{
    child::Child,
    output::{report_error, say},
};

mod block;
mod reader;

use block::{SIZE, checksum, new_block, page_faults, room_for};
pub use reader::read;
use reader::{Answer, Arguments};

/// How much is sent over a channel at once, in bytes. A message that does not fit into a socket's
/// buffer is cut up by ipc-channel, which then holds both ends of the channel that the pieces take:
/// if the receiver died meanwhile, the sender would wait for ever.
const PIECE: usize = 64 << 10;

pub fn run() -> anyhow::Result<u8> {
    let (stdin, pipe) = os_pipe::pipe().context("cannot make a pipe")?;
    let (pieces_sender, pieces) = ipc::bytes_channel().context("cannot make a channel")?;
    let (memory_sender, memories) = ipc::channel().context("cannot make a channel")?;
    let (filled_sender, filled) = ipc::channel().context("cannot make a channel")?;
    let (answer_sender, answers) = ipc::channel().context("cannot make a channel")?;
    let arguments = (pieces, memories, filled, answer_sender);
    let child = Child::start::<Arguments>("shared-reader", stdin, arguments)?;
    let id = child.id();
    let mut transfer = Transfer {
        pipe,
        answers,
        faults_of_child: 0,
        lines: Vec::new(),
    };

    let compared = compare(
        &mut transfer,
        &pieces_sender,
        &memory_sender,
        &filled_sender,
    );
    let Ok(sum) = compared else {
        // The pipe is the child's lifeline too. Now the child must not wait for more.
        drop((transfer, filled_sender));
        if let Err(error) = child.join() {
            report_error(format_args!("{error:#}"));
        }
        return compared.map(|_| 1);
    };
    // Tells the child that there is nothing more.
    drop(filled_sender);
    child.join()?;

    // Only now: whatever becomes of stdout, the child has done its part.
    say!(
        "64 MiB from parent {} to child {id}, until it has read all of it:",
        process::id()
    )?;
    say!("  {:21} {:>11}  {:>8}", "", "time", "faults")?;
    for line in transfer.lines {
        say!("{line}")?;
    }
    say!("Both found the checksum {sum:016x}, each time.")?;
    say!("Then the child changed its first byte: the parent's changed in the shared memory only.")?;
    Ok(0)
}

/// What is needed for each way.
struct Transfer {
    pipe: PipeWriter,
    answers: IpcReceiver<Answer>,
    faults_of_child: u64,
    /// What is to be printed.
    lines: Vec<String>,
}

impl Transfer {
    /// Sends a block in one way, and notes how long it took until the child had read all of it.
    fn measure(
        &mut self,
        way: &str,
        copied: &str,
        sum: u64,
        send: impl FnOnce(&mut PipeWriter) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let (start, faults) = (Instant::now(), page_faults());
        send(&mut self.pipe)?;
        let before = self.faults_of_child;
        ensure!(
            self.answer()?.checksum == sum,
            "the child found another checksum"
        );
        let milliseconds = start.elapsed().as_secs_f64() * 1e3;
        let faults = page_faults() - faults + self.faults_of_child - before;
        let line = format!("  {way:21} {milliseconds:8.2} ms  {faults:7}×  {copied}");
        self.lines.push(line);
        Ok(())
    }

    fn answer(&mut self) -> anyhow::Result<Answer> {
        let answer = self.answers.recv();
        let answer = answer.context("the child ended before it had read the block")?;
        self.faults_of_child = answer.page_faults;
        Ok(answer)
    }
}

fn compare(
    transfer: &mut Transfer,
    pieces: &ipc::IpcBytesSender,
    memories: &ipc::IpcSender<IpcSharedMemory>,
    filled: &ipc::IpcSender<()>,
) -> anyhow::Result<u64> {
    let block = new_block()?;
    // Twice as much will be mapped below; ipc-channel would panic if there were no room for it.
    drop(room_for(2 * SIZE)?);
    let (sum, first) = (checksum(&block), block[0]);
    // The child is ready.
    transfer.answer()?;

    transfer.measure(
        "pipe",
        "copied twice: into the kernel, out of it",
        sum,
        |pipe| pipe.write_all(&block).context("cannot write to the pipe"),
    )?;
    transfer.measure(
        "ipc-channel",
        "copied three times: the same, then into one block",
        sum,
        |_| {
            let mut pieces_of_block = block.chunks(PIECE);
            pieces_of_block
                .try_for_each(|piece| pieces.send(piece))
                .context("cannot send")
        },
    )?;
    ensure!(block[0] == first, "the child has changed our block");

    let mut memory = None;
    transfer.measure(
        "shared memory, new",
        "copied once: into new memory",
        sum,
        |_| {
            let new = memory.insert(IpcSharedMemory::from_bytes(&block));
            // Not a copy of the bytes: of the descriptor.
            let sent = memories.send(new.clone());
            sent.context("cannot send the shared memory")
        },
    )?;
    let mut memory = memory.context("there is no shared memory")?;
    transfer.measure(
        "shared memory, again",
        "copied once: into the same memory",
        sum,
        |_| {
            // SAFETY: the child has answered, and does not touch the memory until we tell it to.
            unsafe { memory.deref_mut() }.copy_from_slice(&block);
            filled.send(()).context("cannot tell the child")
        },
    )?;
    // This undoes what the child has changed.
    // SAFETY: as above.
    let bytes = unsafe { memory.deref_mut() };
    bytes[0] = first;
    transfer.measure(
        "shared memory, as is",
        "not copied: the child reads it again",
        sum,
        |_| filled.send(()).context("cannot tell the child"),
    )?;
    ensure!(
        memory[0] == !first,
        "the child has not changed the shared block"
    );

    Ok(sum)
}
