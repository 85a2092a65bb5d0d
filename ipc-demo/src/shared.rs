//! One block of bytes goes from parent to child in several ways: through a pipe, through
//! ipc-channel, and in shared memory.
//!
//! Mirrors Python's `Pipe`, `Queue` and `multiprocessing.shared_memory`. Run it with `cargo run -r
//! -p ipc-demo -- shared`. With `--mib 1` the block is smaller.
//!
//! What to notice: what is sent is copied into the kernel by one process, and out of it by the
//! other. Of shared memory only a descriptor is sent, whatever the size of the memory. But the
//! bytes must be copied into it once, and new memory costs time: the system provides each page at
//! its first use (a page fault), and fills it with zeros before. So the same copy into the same
//! memory is faster the second time. After each way the child changes the first byte of its block.
//! The parent sees that change in the shared block, and nowhere else.
//!
//! In reading order: this file is the parent, [`reader`] is the child, [`block`] is the block
//! itself.

use std::{io::Write, process, time::Instant};

use anyhow::{Context, ensure};
use clap::Args;
use ipc_channel::ipc::{self, IpcReceiver, IpcSharedMemory};
use os_pipe::PipeWriter;

use crate::{
    child::Child,
    output::{report_error, say},
};

mod block;
mod reader;

use block::{checksum, new_block, page_faults, room_for};
pub use reader::read;
use reader::{Answer, Arguments};

/// How many bytes are sent over a channel in one message. This much fits into a socket's buffer.
/// ipc-channel splits a larger message, and sends most of it through a second channel. Meanwhile
/// the sender holds that channel's receiver, too. If the other process died then, the sender would
/// get no error, since a receiver is still open: it would wait for ever.
const PIECE: usize = 64 << 10;

#[derive(Args)]
pub struct Options {
    /// The size of the block in MiB (2 to the power of 20 bytes).
    #[arg(long, default_value_t = 64, allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1024))]
    mib: u16,
}

pub fn run(options: &Options) -> anyhow::Result<u8> {
    let size = usize::from(options.mib) << 20;
    let (stdin, pipe) = os_pipe::pipe().context("cannot make a pipe")?;
    let (pieces_sender, pieces) = ipc::bytes_channel().context("cannot make a channel")?;
    let (memory_sender, memories) = ipc::channel().context("cannot make a channel")?;
    let (filled_sender, filled) = ipc::channel().context("cannot make a channel")?;
    let (answer_sender, answers) = ipc::channel().context("cannot make a channel")?;
    let arguments = (size, pieces, memories, filled, answer_sender);
    let child = Child::start::<Arguments>("shared-reader", stdin, arguments)?;
    let id = child.id();
    let mut transfer = Transfer {
        pipe,
        answers,
        faults_of_child: 0,
        lines: Vec::new(),
    };

    let compared = compare(
        size,
        &mut transfer,
        &pieces_sender,
        &memory_sender,
        &filled_sender,
    );
    let sum = match compared {
        Ok(sum) => sum,
        Err(error) => {
            // The pipe, which is in `transfer`, is also the child's lifeline: the child ends now.
            drop((transfer, filled_sender));
            if let Err(error) = child.join() {
                report_error(format_args!("{error:#}"));
            }
            return Err(error);
        }
    };
    // Disconnects this channel, which ends the child.
    drop(filled_sender);
    child.join()?;

    // The child has ended. So an error of stdout does not disturb it.
    say!(
        "{} MiB from parent {} to child {id}, until it has read all of it:",
        options.mib,
        process::id()
    )?;
    say!("  {:21} {:>11}  {:>8}", "", "time", "faults")?;
    for line in transfer.lines {
        say!("{line}")?;
    }
    say!("Both found the checksum {sum:016x}, each time.")?;
    say!(
        "Then the child changed its block's first byte: the parent sees that in the shared memory only."
    )?;
    Ok(0)
}

/// What all ways of passing the block have in common.
struct Transfer {
    pipe: PipeWriter,
    answers: IpcReceiver<Answer>,
    /// The page faults of the child until its last answer.
    faults_of_child: u64,
    /// The lines to be printed, one for each way.
    lines: Vec<String>,
}

impl Transfer {
    /// Passes the block to the child by `send`. Notes how long it took until the child had read all
    /// of it, and how many page faults both processes had.
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

    /// Waits for the child's answer.
    fn answer(&mut self) -> anyhow::Result<Answer> {
        let answer = self.answers.recv();
        let answer = answer.context("the child ended before it had read the block")?;
        self.faults_of_child = answer.page_faults;
        Ok(answer)
    }
}

/// Passes a block of `size` bytes to the child in each of the ways. Returns the block's checksum.
fn compare(
    size: usize,
    transfer: &mut Transfer,
    pieces: &ipc::IpcBytesSender,
    memories: &ipc::IpcSender<IpcSharedMemory>,
    filled: &ipc::IpcSender<()>,
) -> anyhow::Result<u64> {
    let block = new_block(size)?;
    // Below, the shared memory is mapped three times at the same time: a clone of it is sent, and
    // `send` makes one more. If the system had no room for it, ipc-channel would panic. So the room
    // is asked for here, which returns an error, and is given back.
    drop(room_for(3 * size)?);
    let (sum, first) = (checksum(&block), block[0]);
    // The first answer says that the child is ready.
    transfer.answer()?;

    transfer.measure(
        "pipe",
        "copied twice: into the kernel, out of it",
        sum,
        |pipe| pipe.write_all(&block).context("cannot write to the pipe"),
    )?;
    transfer.measure(
        "ipc-channel",
        "copied three times: as above, then into one block",
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
            // `clone` copies the descriptor, and maps the memory again. It does not copy the bytes.
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
            // SAFETY: the child has answered. It does not touch the memory before the next message.
            unsafe { memory.deref_mut() }.copy_from_slice(&block);
            filled.send(()).context("cannot tell the child")
        },
    )?;
    // Puts back the byte that the child has changed, so that the checksum is the same again.
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
