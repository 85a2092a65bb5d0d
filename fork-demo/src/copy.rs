//! What a forked child has a copy of, and what it shares with its parent.
//!
//! All of the parent's memory is copied, with the buffers in it: each page at the first write to it.
//! Open files are shared, with the place in them. And of the parent's threads only the one that
//! called `fork` goes on in the child.
//!
//! Mirrors what happens to variables, open files and threads around Python's `os.fork()`. Run it
//! with `cargo run -p fork-demo -- copy`.
//!
//! What to notice: each line says what was read back after the fork, and by whom.

use std::{
    env,
    fs::File,
    hint::black_box,
    io::{self, BufWriter, Read, Seek, Write},
    sync::mpsc,
    thread,
};

use anyhow::{Context, ensure};
use nix::{
    libc,
    unistd::{ForkResult, Pid, fork, getpid},
};

use crate::{child, output::say, process_table};

pub fn run() -> anyhow::Result<u8> {
    let (parents, childs) = variable()?;
    say!("A variable, set to 2 by the child: {parents} in the parent, {childs} in the child.")?;

    say!("Copy-on-write: {}", copy_on_write()?)?;

    let times = [buffered(false)?, buffered(true)?];
    say!(
        "Bytes in a buffer: written {} times; flushed before the fork: {} time.",
        times[0],
        times[1]
    )?;

    let (shared, own) = offset()?;
    say!("An open file, of which the child read 10 bytes: the parent stands at byte {shared}.")?;
    say!("The same file, opened by the child for itself: the parent stands at byte {own}.")?;

    let (parents, childs) = threads()?;
    say!("Threads: {parents} in the parent, {childs} in the child.")?;
    Ok(0)
}

/// The child sets a variable. What do the parent and the child read from it then?
fn variable() -> anyhow::Result<(u8, u8)> {
    let mut number = 1;
    let child = child::start(|| {
        number = 2;
        // A small number can be returned as the exit code.
        Ok(number)
    })
    .context("cannot fork")?;
    let childs = wait_for_exit_code(child)?;
    Ok((number, childs))
}

/// The parent fills some memory. How much of its own does the child have after it has read that,
/// and after it has written to it?
fn copy_on_write() -> anyhow::Result<String> {
    let mut block = vec![1_u8; 1 << 20];
    let (mut reader, mut writer) = io::pipe().context("cannot make a pipe")?;
    let child = child::start(|| {
        let read = |bytes: &[u8]| black_box(bytes.iter().max().copied());
        // What the calls themselves need (pages of the stack), they have from here on.
        process_table::page_faults_of(|| read(&block[..1]))?;

        let faults_of_reading = process_table::page_faults_of(|| read(&block))?;
        let before = process_table::own_memory();

        let faults_of_writing = process_table::page_faults_of(|| {
            block.fill(2);
            black_box(&block);
        })?;
        match (before, process_table::own_memory()) {
            (Ok(before), Ok(after)) => write!(
                writer,
                "the child has read 1024 KiB: {faults_of_reading} page faults, {before} KiB are its \
                 own. It has written to them: {faults_of_writing} page faults, {after} KiB."
            ),
            (Err(error), _) | (_, Err(error)) => write!(writer, "cannot be seen here: {error:#}."),
        }
        .context("cannot write to a pipe")?;
        Ok(0)
    })
    .context("cannot fork")?;
    // While the parent has the writing end open, it reads no end of file.
    drop(writer);
    let mut seen = String::new();
    let received = reader.read_to_string(&mut seen);
    ensure!(wait_for_exit_code(child)? == 0, "the child failed");
    received.context("cannot read from a pipe")?;
    Ok(seen)
}

/// The parent puts a byte into a buffer, forks, and both end as programs do. How often was the byte
/// written?
fn buffered(flush_first: bool) -> anyhow::Result<usize> {
    let (mut reader, writer) = io::pipe().context("cannot make a pipe")?;
    let mut buffer = BufWriter::new(writer);
    buffer.write_all(b"x")?;
    if flush_first {
        buffer.flush().context("cannot write to a pipe")?;
    }
    let child = child::start(|| {
        buffer.flush().context("cannot write to a pipe")?;
        Ok(0)
    })
    .context("cannot fork")?;
    ensure!(wait_for_exit_code(child)? == 0, "the child failed");
    buffer.flush().context("cannot write to a pipe")?;
    // While a writer is open, the reader finds no end of file.
    drop(buffer);
    let mut written = Vec::new();
    Ok(reader.read_to_end(&mut written)?)
}

/// The child reads ten bytes of a file. At which byte does the parent stand then: if it opened the
/// file before the fork, and if each opened it for itself?
fn offset() -> anyhow::Result<(u64, u64)> {
    // Any file of more than ten bytes will do; this one is there.
    let program = env::current_exe().context("cannot find this program")?;
    let open = || File::open(&program).with_context(|| format!("cannot open {program:?}"));

    let (mut shared, mut own) = (open()?, open()?);
    let child = child::start(|| {
        shared.read_exact(&mut [0; 10])?;
        open()?.read_exact(&mut [0; 10])?;
        Ok(0)
    })
    .context("cannot fork")?;
    ensure!(wait_for_exit_code(child)? == 0, "the child failed");
    Ok((shared.stream_position()?, own.stream_position()?))
}

/// A process of two threads forks. How many threads have the parent and the child?
fn threads() -> anyhow::Result<(usize, usize)> {
    let (mut reader, writer) = io::pipe().context("cannot make a pipe")?;
    let (busy, work) = mpsc::channel::<()>();
    let thread = thread::spawn(move || work.recv());

    let mut writer = Some(writer);
    // SAFETY: the other thread may be in the middle of anything, and the child has a copy of that:
    // the heap or stdout may be locked, by a thread that does not exist there. So the child makes
    // system calls and nothing else: it closes, reads and ends.
    let child = match unsafe { fork() }.map_err(io::Error::from) {
        Ok(ForkResult::Child) => {
            // While any copy of the write end is open, even its own, the child reads no end of file.
            drop(writer.take());
            let _ = reader.read(&mut [0]);
            // SAFETY: `_exit` has no precondition.
            unsafe { libc::_exit(0) }
        }
        Ok(ForkResult::Parent { child }) => Ok(child),
        Err(error) => Err(error).context("cannot fork"),
    };
    let counted = child.and_then(|child| {
        let parents = process_table::threads(getpid());
        let childs = process_table::threads(child);
        // Now the child may end.
        drop(writer);
        wait_for_exit_code(child)?;
        Ok((parents?, childs?))
    });
    // Now the thread may end.
    drop(busy);
    let _ = thread.join();
    counted
}

fn wait_for_exit_code(child: Pid) -> anyhow::Result<u8> {
    let status = child::wait(child)?;
    let code = status.code().and_then(|code| code.try_into().ok());
    code.with_context(|| format!("child {child} did not end by itself: {status}"))
}
