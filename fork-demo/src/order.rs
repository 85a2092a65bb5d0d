//! Which of the two runs first after a fork: the parent or the child?
//!
//! Nothing decides it. So this lesson forks many times and counts. Then it makes the child the
//! first one, in two ways. A sleep in the parent makes this order likely, but does not enforce it.
//! A wait at a pipe enforces it.
//!
//! Mirrors the two lines that are printed after Python's `os.fork()`, in either order. Run it with
//! `cargo run -p fork-demo -- order`. With `--forks 10` it counts less often.
//!
//! What to notice: the figures of the first two tries change from run to run. Those of the third
//! one cannot.

use std::{
    io::{self, PipeReader, PipeWriter, Read, Write},
    thread,
    time::Duration,
};

use anyhow::{Context, ensure};

use crate::{child, output::say};

pub fn run(forks: u32) -> anyhow::Result<u8> {
    say!("{forks} forks. Who is the first to write into the same pipe?")?;

    let childs = child_is_first(forks, |_| Ok(()))?;
    say!("Nobody decides: {}", shares(childs, forks))?;

    let childs = child_is_first(forks, |_| {
        thread::sleep(Duration::from_micros(200));
        Ok(())
    })?;
    say!("The parent sleeps first: {}", shares(childs, forks))?;

    let childs = child_is_first(forks, |mut done| {
        // Returns at the end of file: when the child has ended, in whatever way.
        done.read_to_end(&mut Vec::new())?;
        Ok(())
    })?;
    say!("The parent waits at a pipe: {}", shares(childs, forks))?;
    Ok(0)
}

/// Forks `forks` times, and counts how often the child writes first. The parent calls `before`
/// before it writes. `before` gets the reading end of a pipe to which nothing is written. The child
/// has the writing end, and closes it when it ends.
fn child_is_first(
    forks: u32,
    before: impl Fn(PipeReader) -> io::Result<()>,
) -> anyhow::Result<u32> {
    let mut first = 0;
    for _ in 0..forks {
        // A pipe keeps the bytes in the order in which they were written: the first byte that comes
        // out is that of the first writer.
        let (mut order, writer) = io::pipe().context("cannot make a pipe")?;
        let (done, not_done) = io::pipe().context("cannot make a pipe")?;
        let child = child::start(|| {
            write(&writer, b"c")?;
            // Here the child ends. That closes its copy of `not_done`.
            Ok(0)
        })
        .context("cannot fork")?;
        // While the parent's copy is open, a reader of `done` finds no end of file.
        drop(not_done);
        let written = before(done)
            .context("cannot wait for the child")
            .and_then(|()| write(&writer, b"p"));
        let status = child::wait(child)?;
        written?;
        ensure!(status.success(), "child {child} failed: {status}");

        let mut both = [0; 2];
        order.read_exact(&mut both).context("cannot read a pipe")?;
        if both[0] == b'c' {
            first += 1;
        }
    }
    Ok(first)
}

fn write(mut writer: &PipeWriter, byte: &[u8]) -> anyhow::Result<()> {
    writer.write_all(byte).context("cannot write to a pipe")
}

fn shares(childs: u32, forks: u32) -> String {
    let percent = |part: u32| 100.0 * f64::from(part) / f64::from(forks);
    format!(
        "the parent in {:.1}%, the child in {:.1}%.",
        percent(forks - childs),
        percent(childs)
    )
}
