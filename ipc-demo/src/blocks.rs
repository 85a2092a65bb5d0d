//! How much goes through a pipe: one process writes blocks, another reads them.
//!
//! Mirrors Python's `send_bytes` in a loop, on `Pipe(duplex=False)`. The shell command
//! `dd if=/dev/zero bs=64k count=40000 | dd of=/dev/null bs=64k` does the same. Python's default
//! `Pipe()` is a pair of sockets, which go both ways. So the blocks also go through such a pair,
//! where the system has one. Run it with `cargo run -r -p ipc-demo -- pipe --items 40000`.
//!
//! What to notice: how much the pipe holds. If it holds one block only, writer and reader take
//! turns, and the system switches processes for each turn. If it holds several blocks, both work at
//! the same time. Linux makes a pipe larger on request, up to /proc/sys/fs/pipe-max-size. With
//! `pipe --items 40000 --size 1048576` the pipe holds one block again.
//!
//! Copying takes most of the time: into the pipe, and out of it. On Linux the writer can lend its
//! memory to the pipe instead. Then the first copy is not made. The second copy is faster, too: the
//! block is always the same one here, so its bytes are still in the processor's cache.

use std::{
    io::{Read, Write},
    process::Stdio,
    time::Instant,
};

use anyhow::{Context, bail, ensure};
use clap::Args;
use os_pipe::PipeReader;

use crate::{child::command, output::say};

#[derive(Args)]
pub struct Options {
    /// Instead of a dialogue, the child sends so many blocks as fast as it can.
    #[arg(long, allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..))]
    items: Option<u32>,

    /// How many bytes are in a block.
    #[arg(
        long,
        default_value_t = 65_536,
        requires = "items",
        allow_negative_numbers = true
    )]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1 << 30))]
    size: u32,
}

impl Options {
    /// How many blocks, and of how many bytes. Without `--items`, the `?` returns `None`.
    pub fn blocks(&self) -> Option<(u32, usize)> {
        Some((self.items?, self.size as usize))
    }
}

pub fn run(items: u32, size: usize) -> anyhow::Result<u8> {
    let (reader, writer) = os_pipe::pipe().context("cannot make a pipe")?;
    let way = format!("a pipe of {}", widen(&reader, 16 * size));
    transfer(items, size, reader, writer.into(), "write", &way)?;
    #[cfg(unix)]
    {
        use std::os::{fd::OwnedFd, unix::net::UnixStream};
        let (reader, writer) = UnixStream::pair().context("cannot make a pair of sockets")?;
        let writer = OwnedFd::from(writer).into();
        transfer(items, size, reader, writer, "write", "a pair of sockets")?;
    }
    #[cfg(target_os = "linux")]
    {
        let (reader, writer) = os_pipe::pipe().context("cannot make a pipe")?;
        let way = format!("a pipe of {}, lent to it", widen(&reader, 16 * size));
        transfer(items, size, reader, writer.into(), "lend", &way)?;
    }
    Ok(0)
}

/// Starts a child that passes the blocks (`how` is `write` or `lend`), and reads them. Prints how
/// fast it was.
fn transfer(
    items: u32,
    size: usize,
    mut reader: impl Read,
    writer: Stdio,
    how: &str,
    way: &str,
) -> anyhow::Result<()> {
    let mut block = block(size)?;
    let mut command = command("block-writer", &format!("{items} {size} {how}"))?;
    command.stdout(writer);
    let start = Instant::now();
    let mut child = command.spawn().context("cannot start the child")?;
    // `command` keeps the writing end that it was given. While that is open, the end of file does
    // not come.
    drop(command);

    let mut bytes = 0;
    let read = loop {
        match reader.read(&mut block) {
            // 0 bytes are the end of file.
            Ok(0) => break Ok(()),
            Ok(n) => bytes += n as u64,
            Err(error) => break Err(error),
        }
    };
    let seconds = start.elapsed().as_secs_f64();
    // After an error the child may still be writing. Without a reader, its next write fails.
    drop(reader);
    let status = child.wait().context("cannot wait for the child")?;
    read.context("cannot read from the child")?;
    let due = u64::from(items) * size as u64;
    ensure!(
        status.success(),
        "{bytes} of {due} bytes came, then the child failed: {status}"
    );
    ensure!(bytes == due, "{bytes} bytes came instead of {due}");
    let rate = megabytes_per_second(bytes, seconds);
    say!("Got {items} blocks of {size} bytes in {seconds:.2} s: {rate:.0} MB/s, through {way}.")
}

fn megabytes_per_second(bytes: u64, seconds: f64) -> f64 {
    bytes as f64 / seconds / 1e6
}

/// The child: writes the blocks to its stdout. `argument` is how many, of what size, and how.
pub fn write(argument: String) -> anyhow::Result<u8> {
    let words: Vec<&str> = argument.split(' ').collect();
    // Three words, or an error.
    let [items, size, how] = words[..] else {
        bail!("how many of what size, and how?");
    };
    let (items, size): (u32, usize) = (items.parse()?, size.parse()?);
    // `leak`: the block is never freed. Memory that is lent must stay as it is until it has been
    // read, and the system does not tell when that is.
    let block = block(size)?.leak();
    // This writes to the pipe directly. Rust's own stdout would first search each block for line
    // ends.
    let mut stdout = os_pipe::dup_stdout().context("cannot copy stdout")?;
    for item in 1..=items {
        match how {
            #[cfg(target_os = "linux")]
            "lend" => lend(&stdout, block),
            _ => stdout.write_all(block),
        }
        .with_context(|| format!("cannot {how} block {item} of {items}"))?;
    }
    Ok(0)
}

/// Puts a block into a pipe without a copy: the pipe gets the pages of memory in which the block
/// is.
#[cfg(target_os = "linux")]
fn lend(pipe: &os_pipe::PipeWriter, mut block: &[u8]) -> std::io::Result<()> {
    use std::io::IoSlice;

    use nix::fcntl::{SpliceFFlags, vmsplice};

    while !block.is_empty() {
        // Like a write, this may take only the first part of the block.
        let lent = vmsplice(pipe, &[IoSlice::new(block)], SpliceFFlags::empty())?;
        block = &block[lent..];
    }
    Ok(())
}

fn block(size: usize) -> anyhow::Result<Vec<u8>> {
    let mut block = Vec::new();
    block
        .try_reserve_exact(size)
        .context("cannot get memory for a block")?;
    block.resize(size, 0);
    Ok(block)
}

/// Asks the system for a pipe that holds more (from 64 KiB to 1 MiB). Returns how much it holds.
#[cfg(target_os = "linux")]
fn widen(pipe: &PipeReader, bytes: usize) -> String {
    use nix::fcntl::{FcntlArg, fcntl};
    // The system may refuse this if the user's pipes hold much already. Then the pipe stays as it
    // was.
    let wish = bytes.clamp(1 << 16, 1 << 20) as i32;
    let _ = fcntl(pipe, FcntlArg::F_SETPIPE_SZ(wish));
    match fcntl(pipe, FcntlArg::F_GETPIPE_SZ) {
        Ok(bytes) => format!("{bytes} bytes"),
        Err(_) => "unknown size".to_owned(),
    }
}

/// Only Linux has these calls.
#[cfg(not(target_os = "linux"))]
fn widen(_: &PipeReader, _: usize) -> String {
    "unknown size".to_owned()
}

#[cfg(test)]
mod tests {
    use super::megabytes_per_second;

    #[test]
    fn a_rate_is_megabytes_per_second() {
        assert_eq!(megabytes_per_second(6_000_000, 2.0), 3.0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_pipe_that_is_widened_holds_more_and_never_less() {
        let (reader, _writer) = os_pipe::pipe().expect("a pipe can be made");
        assert_eq!(super::widen(&reader, 16), "65536 bytes");
        assert_eq!(super::widen(&reader, 1 << 18), "262144 bytes");
    }
}
