//! More about writers that share one pipe: the second part of `merge`, for Unix.
//!
//! POSIX promises that a write of up to `PIPE_BUF` bytes (4096 on Linux, at least 512 anywhere) is
//! atomic: other writers' bytes come before or after it. A larger write may be torn: it waits in the
//! middle when the pipe is full, and then another writer gets in. See pipe(7).

use std::{
    ffi::CStr,
    io::{self, BufRead, BufReader, Read, Write},
    process::{Child, Command},
};

use anyhow::{Context, ensure};
use nix::libc;

use crate::{
    ending,
    output::say,
    role::{self, Role},
};

/// The children of this lesson.
pub const ROLES: [(&str, Role); 3] = [
    ("small-records", || write_records(libc::PIPE_BUF)),
    ("large-records", || write_records(LARGE)),
    ("stdio", by_stdio),
];

const WRITERS: usize = 4;

/// How many records each writer writes.
const RECORDS: usize = 100;

/// More than a pipe holds: such a write has to wait in the middle.
const LARGE: usize = 32 * libc::PIPE_BUF;

pub fn run() -> anyhow::Result<()> {
    say!("{WRITERS} writers on one pipe:")?;
    for (role, size) in [("small-records", libc::PIPE_BUF), ("large-records", LARGE)] {
        let (pipe, children) = start(role, WRITERS)?;
        let torn = count_torn(pipe, size);
        wait_for(children)?;
        let (torn, all) = (torn?, WRITERS * RECORDS);
        match torn {
            0 => say!("  {size} bytes a write: all {all} are whole")?,
            _ => say!("  {size} bytes a write: {torn} of {all} are torn")?,
        }
        ensure!(torn == 0 || size > libc::PIPE_BUF, "a small write was torn");
    }
    say!("C's puts to stdout, and then a write to stderr:")?;
    let (pipe, children) = start("stdio", 1)?;
    let lines: Result<Vec<_>, _> = BufReader::new(pipe).lines().collect();
    wait_for(children)?;
    let lines = lines.context("cannot read the child's output")?;
    lines.iter().try_for_each(|line| say!("  {line}"))
}

/// Starts children whose stdout and stderr are one pipe.
fn start(role: &str, count: usize) -> anyhow::Result<(impl Read, Vec<Child>)> {
    let (reader, writer) = os_pipe::pipe().context("cannot make a pipe")?;
    let start = || -> anyhow::Result<Child> {
        let mut command: Command = role::command(role)?;
        let clone = || writer.try_clone().context("cannot clone a pipe's end");
        command.stdout(clone()?).stderr(clone()?);
        command.spawn().context("cannot start a child")
    };
    let mut children = Vec::new();
    for _ in 0..count {
        match start() {
            Ok(child) => children.push(child),
            Err(error) => {
                // Now the pipe has no reader: the children that were started fail at their next
                // write, and end.
                drop(reader);
                let _ = wait_for(children);
                return Err(error);
            }
        }
    }
    // `writer` is dropped here. While we held it, the reader would find no end of file.
    Ok((reader, children))
}

fn wait_for(children: Vec<Child>) -> anyhow::Result<()> {
    for mut child in children {
        let status = child.wait().context("cannot wait for a child")?;
        ensure!(status.success(), "a child: {}", ending::words(status));
    }
    Ok(())
}

/// Reads all records, and counts those that are not one writer's bytes from end to end.
fn count_torn(pipe: impl Read, size: usize) -> anyhow::Result<usize> {
    let mut torn = 0;
    for record in BufReader::new(pipe).split(b'\n') {
        let record = record.context("cannot read the records")?;
        let one_writer = record.windows(2).all(|pair| pair[0] == pair[1]);
        torn += usize::from(record.len() != size - 1 || !one_writer);
    }
    Ok(torn)
}

/// A writer: each record is one write of a letter again and again, with a newline at its end.
fn write_records(size: usize) -> anyhow::Result<u8> {
    // Writers that were started one after another have different letters.
    let letter = b'a' + (std::process::id() % 26) as u8;
    let mut record = vec![letter; size];
    record[size - 1] = b'\n';
    let mut pipe = os_pipe::dup_stdout().context("cannot clone stdout")?;
    for _ in 0..RECORDS {
        pipe.write_all(&record).context("cannot write a record")?;
    }
    Ok(0)
}

/// Writes to stdout as a program in C does.
fn by_stdio() -> anyhow::Result<u8> {
    const FIRST: &CStr = c"written first, to stdout";
    // SAFETY: a string that ends with a zero byte is what it takes.
    let result = unsafe { libc::puts(FIRST.as_ptr()) };
    ensure!(result >= 0, "puts failed");
    writeln!(io::stderr(), "written second, to stderr").context("cannot write to stderr")?;
    // The end of the program flushes C's buffer.
    Ok(0)
}
