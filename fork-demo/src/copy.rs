//! What a forked child has a copy of, and what it shares with its parent.
//!
//! The child has a copy of the parent's memory, with the buffers in it. The system copies a page of
//! it when one of the two processes first writes to this page. Open files are shared, with the
//! position in them. Of the parent's threads only the one that called `fork` exists in the child.
//!
//! Mirrors what happens to variables, open files and threads around Python's `os.fork()`. Run it
//! with `cargo run -p fork-demo -- copy`.
//!
//! What to notice: each line says what the parent and the child find after the fork.

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

/// The parent fills a block of memory, and the child reads it and then writes to it. How many page
/// faults does each take, and how much memory does the child then share with no other process?
fn copy_on_write() -> anyhow::Result<String> {
    let mut block = vec![1_u8; 1 << 20];
    let (mut reader, mut writer) = io::pipe().context("cannot make a pipe")?;
    let child = child::start(|| {
        // (`black_box` keeps the compiler from leaving out a result that is not used.)
        let read = |bytes: &[u8]| black_box(bytes.iter().max().copied());
        // The count of this first call is not used. The calls write to the stack, and the first
        // write to a page of it is a page fault. These are taken here, and not counted below.
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
    // While the parent's own copy of the writing end is open, it would read no end of file.
    drop(writer);
    let mut seen = String::new();
    let received = reader.read_to_string(&mut seen);
    wait_for_success(child)?;
    received.context("cannot read from a pipe")?;
    Ok(seen)
}

/// The parent puts a byte into a buffer and forks. Then each of the two processes flushes its
/// buffer, as programs do when they end. How often was the byte written?
fn buffered(flush_first: bool) -> anyhow::Result<usize> {
    let (mut reader, writer) = io::pipe().context("cannot make a pipe")?;
    let mut buffer = BufWriter::new(writer);
    buffer.write_all(b"x").context("cannot write to a buffer")?;
    if flush_first {
        buffer.flush().context("cannot write to a pipe")?;
    }
    let child = child::start(|| {
        buffer.flush().context("cannot write to a pipe")?;
        Ok(0)
    })
    .context("cannot fork")?;
    wait_for_success(child)?;
    buffer.flush().context("cannot write to a pipe")?;
    // This closes the writing end. While it is open, the reader finds no end of file.
    drop(buffer);
    let mut written = Vec::new();
    reader
        .read_to_end(&mut written)
        .context("cannot read from a pipe")
}

/// The child reads ten bytes of a file. At which byte is the parent's position in the file then?
/// One answer is for a file that was opened before the fork, one for a file that each process
/// opened for itself.
fn offset() -> anyhow::Result<(u64, u64)> {
    // Any file of ten bytes or more will do. The file of this program exists for sure.
    let program = env::current_exe().context("cannot find this program")?;
    let open = || File::open(&program).with_context(|| format!("cannot open {program:?}"));
    let read = |file: &mut File| {
        file.read_exact(&mut [0; 10])
            .with_context(|| format!("cannot read {program:?}"))
    };
    let position = |file: &mut File| {
        file.stream_position()
            .with_context(|| format!("cannot find the position in {program:?}"))
    };

    let (mut shared, mut own) = (open()?, open()?);
    let child = child::start(|| {
        read(&mut shared)?;
        read(&mut open()?)?;
        Ok(0)
    })
    .context("cannot fork")?;
    wait_for_success(child)?;
    Ok((position(&mut shared)?, position(&mut own)?))
}

/// A process of two threads forks. How many threads have the parent and the child?
fn threads() -> anyhow::Result<(usize, usize)> {
    let (mut reader, writer) = io::pipe().context("cannot make a pipe")?;
    let (busy, work) = mpsc::channel::<()>();
    let thread = thread::Builder::new()
        .spawn(move || work.recv())
        .context("cannot start a thread")?;

    let mut writer = Some(writer);
    // SAFETY: the other thread may hold any lock now, such as that of the heap or of stdout. In the
    // child this lock is locked, and the thread that would release it does not exist. So the child
    // takes no lock. It makes system calls and nothing else: it closes, reads and ends.
    let child = match unsafe { fork() }.map_err(io::Error::from) {
        Ok(ForkResult::Child) => {
            // The child waits for the end of file, which comes when every copy of the writing end
            // is closed: this one here, and the parent's below.
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
        // Now the child reads the end of file, and ends.
        drop(writer);
        wait_for_exit_code(child)?;
        Ok((parents?, childs?))
    });
    // Now the other thread's `recv` fails, and the thread ends.
    drop(busy);
    let _ = thread.join();
    counted
}

fn wait_for_success(child: Pid) -> anyhow::Result<()> {
    let status = child::wait(child)?;
    ensure!(status.success(), "child {child} failed: {status}");
    Ok(())
}

fn wait_for_exit_code(child: Pid) -> anyhow::Result<u8> {
    let status = child::wait(child)?;
    let code = status.code().and_then(|code| code.try_into().ok());
    code.with_context(|| format!("child {child} did not end by itself: {status}"))
}
