//! Which of the two runs first after a fork: the parent or the child?
//!
//! Nobody has promised anything. So it is counted, and then an order is enforced: by a sleep, which
//! is a bet and no order, and by a pipe.
//!
//! Mirrors the two lines after Python's `os.fork()`, whose order a transcript shows but does not
//! explain. Run it with `cargo run -p fork-demo -- order`.
//!
//! What to notice: the figures of the first two lines change from run to run. The last one cannot.

use std::{
    io::{self, PipeReader, PipeWriter, Read, Write},
    thread,
    time::Duration,
};

use anyhow::{Context, ensure};

use crate::{child, output::say};

const FORKS: u32 = 1000;

pub fn run() -> anyhow::Result<u8> {
    say!("{FORKS} forks. Who is the first to write into the same pipe?")?;

    let childs = child_is_first(|_| Ok(()))?;
    say!("Nobody decides: {}", shares(childs))?;

    let childs = child_is_first(|_| {
        thread::sleep(Duration::from_micros(200));
        Ok(())
    })?;
    say!("The parent sleeps first: {}", shares(childs))?;

    let childs = child_is_first(|mut done| {
        // Returns when the child has closed its end, be it by its death.
        done.read_to_end(&mut Vec::new())?;
        Ok(())
    })?;
    say!("The parent waits at a pipe: {}", shares(childs))?;
    Ok(0)
}

/// Forks a thousand times, and counts how often the child writes first, if the parent does
/// `before` before it writes. `before` gets the reading end of a pipe that the child closes once it
/// has written.
fn child_is_first(before: impl Fn(PipeReader) -> io::Result<()>) -> anyhow::Result<u32> {
    let mut first = 0;
    for _ in 0..FORKS {
        // A pipe keeps the bytes in the order in which they were written.
        let (mut order, writer) = io::pipe().context("cannot make a pipe")?;
        let (done, not_done) = io::pipe().context("cannot make a pipe")?;
        let child = child::start(|| {
            write(&writer, b"c")?;
            // The child's end closes `not_done`.
            Ok(0)
        })
        .context("cannot fork")?;
        // The parent's copy would keep the pipe from ending.
        drop::<PipeWriter>(not_done);
        let written = before(done)
            .context("cannot wait for the child")
            .and_then(|()| write(&writer, b"p"));
        let status = child::wait(child)?;
        written?;
        ensure!(status.success(), "child {child} failed: {status}");

        let mut both = [0; 2];
        order.read_exact(&mut both).context("cannot read a pipe")?;
        first += u32::from(both[0] == b'c');
    }
    Ok(first)
}

fn write(mut writer: &PipeWriter, byte: &[u8]) -> anyhow::Result<()> {
    writer.write_all(byte).context("cannot write to a pipe")
}

fn shares(childs: u32) -> String {
    let percent = |part: u32| 100.0 * f64::from(part) / f64::from(FORKS);
    format!(
        "the parent in {:.1}%, the child in {:.1}%.",
        percent(FORKS - childs),
        percent(childs)
    )
}
