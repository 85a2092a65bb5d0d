//! More about processes that write to one pipe: the second and third part of `merge`, for Unix.
//!
//! POSIX promises that a write of up to `PIPE_BUF` bytes (4096 on Linux, at least 512 anywhere) is
//! atomic: the bytes of other writes come before or after it. A larger write may be torn: when the
//! pipe is full, a part of the bytes is written, and the rest has to wait. Meanwhile another
//! process may write. See pipe(7).

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

/// More than a pipe holds on Linux: such a write has to wait when a part of it is written.
const LARGE: usize = 32 * libc::PIPE_BUF;

pub fn run() -> anyhow::Result<()> {
    say!("{WRITERS} writers on one pipe:")?;
    for (role, size) in [("small-records", libc::PIPE_BUF), ("large-records", LARGE)] {
        let (pipe, children) = start(role, WRITERS)?;
        let counted = count_records(pipe, size);
        wait_for(children)?;
        let (all, torn) = counted?;
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

/// Starts children whose stdout and stderr are one pipe, and returns the reading end of the pipe.
fn start(role: &str, count: usize) -> anyhow::Result<(impl Read, Vec<Child>)> {
    let (reader, writer) = os_pipe::pipe().context("cannot make a pipe")?;
    let start_one = || -> anyhow::Result<Child> {
        let mut command: Command = role::command(role)?;
        let clone = || writer.try_clone().context("cannot clone a pipe's end");
        command.stdout(clone()?).stderr(clone()?);
        command.spawn().context("cannot start a child")
    };
    let mut children = Vec::new();
    for _ in 0..count {
        match start_one() {
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
    // `writer` is dropped here. If we kept it, the reader would find no end of file.
    Ok((reader, children))
}

/// Waits for all children. If one has failed, that is an error, but only after all have ended.
fn wait_for(children: Vec<Child>) -> anyhow::Result<()> {
    let statuses: Vec<_> = children.into_iter().map(|mut child| child.wait()).collect();
    for status in statuses {
        let status = status.context("cannot wait for a child")?;
        ensure!(status.success(), "a child: {}", ending::words(status));
    }
    Ok(())
}

/// Reads all records. Returns how many there are, and how many of them are torn: these are not the
/// bytes of one single write.
fn count_records(pipe: impl Read, size: usize) -> anyhow::Result<(usize, usize)> {
    let (mut all, mut torn) = (0, 0);
    for record in BufReader::new(pipe).split(b'\n') {
        let record = record.context("cannot read the records")?;
        all += 1;
        // Is each letter equal to the next? The newline is not in `record`.
        let one_letter = record.is_empty() || record[1..] == record[..record.len() - 1];
        if record.len() != size - 1 || !one_letter {
            torn += 1;
        }
    }
    Ok((all, torn))
}

/// A writer. Each record is one letter, repeated, with a newline at its end, and is written by one
/// call.
fn write_records(size: usize) -> anyhow::Result<u8> {
    let mut record = vec![letter(std::process::id()); size];
    record[size - 1] = b'\n';
    let mut pipe = os_pipe::dup_stdout().context("cannot clone stdout")?;
    for _ in 0..RECORDS {
        pipe.write_all(&record).context("cannot write a record")?;
    }
    Ok(0)
}

/// The letter of a writer. It depends on the process id, so the writers usually have different
/// letters.
fn letter(id: u32) -> u8 {
    b'a' + (id % 26) as u8
}

/// Writes to stdout by C's stdio, as a program in C does, and then to stderr.
fn by_stdio() -> anyhow::Result<u8> {
    const FIRST: &CStr = c"called first: puts to stdout";
    // SAFETY: `puts` takes a pointer to a string that ends with a zero byte. `FIRST` is such a
    // string.
    let result = unsafe { libc::puts(FIRST.as_ptr()) };
    ensure!(result >= 0, "puts failed");
    writeln!(io::stderr(), "called second: a write to stderr").context("cannot write to stderr")?;
    // The line to stderr is in the pipe now. C's buffer is written only when the program ends, so
    // the line of `puts` comes last.
    Ok(0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_record_is_whole_if_it_has_its_length_and_one_letter() {
        let records = b"aaa\nbbb\nabb\naa\nbbbb\n";
        let (all, torn) = count_records(&records[..], 4).expect("bytes can be read");
        assert_eq!((all, torn), (5, 3));
    }

    #[test]
    fn writers_that_start_one_after_another_have_different_letters() {
        let letters: BTreeSet<u8> = (4_000_000..4_000_026).map(letter).collect();
        assert_eq!(letters, (b'a'..=b'z').collect());
    }
}
