//! One block of 64 MiB, seen by parent and child: sent through a pipe, sent through ipc-channel,
//! and shared.
//!
//! Mirrors Python's `Pipe`, `Queue` and `multiprocessing.shared_memory`. Run it with `cargo run -r
//! -p ipc-demo -- shared`.
//!
//! What to notice: what is sent is copied, into the system by one process and out of it by the
//! other. Of shared memory only a descriptor is sent, whatever its size; but the bytes had to get
//! into it once. And after each turn the child changes its first byte: the parent sees that in the
//! shared block, and nowhere else.
//!
//! In reading order: this file is the parent, [`reader`] the child, [`block`] what they pass on.

use std::{
    io::Write,
    process,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use ipc_channel::ipc::{IpcBytesSender, IpcReceiver, IpcSender, IpcSharedMemory};
use os_pipe::PipeWriter;
use serde::{Deserialize, Serialize};

use crate::{
    channel::{receive, send},
    output::{complain, say},
    peer::Peer,
};

mod block;
mod reader;

use block::{SIZE, checksum, new_block, room_for};
pub use reader::read;

/// How much is sent over a channel at once, in bytes. A message that does not fit into a socket's
/// buffer is cut up by ipc-channel, which then holds both ends of the way that the pieces take: if
/// the receiver died meanwhile, the sender would wait for ever.
const PIECE: usize = 64 << 10;

/// What the child says of each block, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Answer {
    /// All of it is there to be read.
    Arrived,
    /// The checksum that the child found. After that it changed the first byte.
    Checked(u64),
}

/// The parent's ends of the channels.
type Ends = (
    IpcBytesSender,
    IpcSender<IpcSharedMemory>,
    IpcReceiver<Answer>,
);

pub fn run() -> anyhow::Result<u8> {
    let (stdin, mut pipe) = os_pipe::pipe().context("cannot make a pipe")?;
    let (child, ends) = Peer::start("shared-reader", stdin)?;
    let times = compare(&mut pipe, ends);
    // The pipe is the child's lifeline too. If all went well, it stays until the child has ended by
    // itself; if not, the child must not wait for more.
    let lifeline = times.is_ok().then_some(pipe);
    let id = child.id();
    let ended = child.join();
    drop(lifeline);
    if let Err(error) = &ended {
        complain(format_args!("{error:#}"));
    }
    tell(id, &times?)?;
    Ok(u8::from(ended.is_err()))
}

/// How long each way took.
struct Times {
    pipe: Duration,
    channel: Duration,
    filling: Duration,
    handing_over: Duration,
    checksum: u64,
}

fn compare(write_end: &mut PipeWriter, ends: Ends) -> anyhow::Result<Times> {
    let (messages, memories, answers) = ends;
    let block = new_block()?;
    // Twice as much will be mapped below; ipc-channel would panic if there were no room for it.
    drop(room_for(2 * SIZE)?);
    let checksum = checksum(&block);
    let first = block[0];

    let start = Instant::now();
    write_end
        .write_all(&block)
        .context("cannot write to the pipe")?;
    let pipe = arrival(start, checksum, &answers)?;
    ensure!(block[0] == first, "the child has changed our block");

    let start = Instant::now();
    for piece in block.chunks(PIECE) {
        messages.send(piece).context("cannot send")?;
    }
    let channel = arrival(start, checksum, &answers)?;
    ensure!(block[0] == first, "the child has changed our block");

    let start = Instant::now();
    let memory = IpcSharedMemory::from_bytes(&block);
    let filling = start.elapsed();
    let start = Instant::now();
    // Not a copy of the bytes: of the descriptor.
    send(&memories, memory.clone()).context("cannot send the shared memory")?;
    let handing_over = arrival(start, checksum, &answers)?;
    ensure!(
        memory[0] == !first,
        "the child has not changed the shared block"
    );

    Ok(Times {
        pipe,
        channel,
        filling,
        handing_over,
        checksum,
    })
}

fn tell(child: u32, times: &Times) -> anyhow::Result<()> {
    say!("64 MiB from parent {} to child {child}:", process::id())?;
    for (way, time, copied) in [
        (
            "pipe",
            times.pipe,
            "copied twice: into the system, and out of it",
        ),
        (
            "ipc-channel",
            times.channel,
            "copied three times: the same, and then into one block",
        ),
        (
            "shared memory",
            times.filling,
            "copied once: into that memory",
        ),
        (
            "  handed over",
            times.handing_over,
            "copied not at all: only a descriptor was sent",
        ),
    ] {
        say!("  {way:13}  {:8.2} ms  {copied}", time.as_secs_f64() * 1e3)?;
    }
    say!(
        "Both found the checksum {:016x}, each time.",
        times.checksum
    )?;
    say!("Then the child changed its first byte: the parent's changed in the shared memory only.")
}

/// Waits until the child has a block, and returns how long that took. Then waits until it has
/// checked it.
fn arrival(start: Instant, sum: u64, answers: &IpcReceiver<Answer>) -> anyhow::Result<Duration> {
    let lost = "the child ended before it had the block";
    ensure!(receive(answers).context(lost)? == Answer::Arrived);
    let time = start.elapsed();
    let checked = receive(answers).context(lost)?;
    ensure!(checked == Answer::Checked(sum), "the block arrived damaged");
    Ok(time)
}
