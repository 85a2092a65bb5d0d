//! The game itself: one serves the byte, the other returns it.

use std::{
    io::{self, Read, Write},
    process::Stdio,
    sync::mpsc,
    thread,
    time::Instant,
};

use anyhow::{Context, ensure};

use super::Pair;
use crate::lab::{
    pin::Place,
    role::{self, Peer},
    statistics::median,
    trial::Trial,
};

/// The time of a round trip, in seconds. The first of the two is the trial itself.
pub static RALLY: Trial<(Place, Pair, u32), f64> = Trial {
    name: "switch",
    body: |(place, pair, round_trips)| match pair {
        Pair::Threads => by_threads(place, round_trips),
        Pair::Processes => by_processes(place, round_trips),
        Pair::ByChannel => by_channel(place, round_trips),
    },
};

/// The second of two processes: the byte comes and goes by its stdin and stdout.
pub static PARTNER: Peer<Place> = Peer {
    name: "switch-partner",
    play: |place| {
        place.pin_second()?;
        // Without the buffers of `io::stdin` and `io::stdout`: the thread's pipes have none either.
        return_all(
            os_pipe::dup_stdin().context("cannot use stdin")?,
            os_pipe::dup_stdout().context("cannot use stdout")?,
        )
    },
};

fn by_threads(place: Place, round_trips: u32) -> anyhow::Result<f64> {
    let (theirs, mut to) = io::pipe().context("cannot make a pipe")?;
    let (mut from, back) = io::pipe().context("cannot make a pipe")?;
    let partner = thread::spawn(move || {
        place.pin_second()?;
        return_all(theirs, back)
    });
    place.pin_first()?;
    let seconds = serve(round_trips, || serve_by_pipe(&mut to, &mut from));
    // The end of the pipe is what ends the partner.
    drop(to);
    partner.join().expect("it does not panic")?;
    seconds
}

fn by_processes(place: Place, round_trips: u32) -> anyhow::Result<f64> {
    let mut partner = role::command(&PARTNER, &place)?
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the partner")?;
    let mut to = partner.stdin.take().context("its input is a pipe")?;
    let mut from = partner.stdout.take().context("its output is a pipe")?;
    place.pin_first()?;
    let seconds = serve(round_trips, || serve_by_pipe(&mut to, &mut from));
    drop(to);
    let status = partner.wait().context("cannot wait for the partner")?;
    ensure!(status.success(), "the partner failed: {status}");
    seconds
}

fn by_channel(place: Place, round_trips: u32) -> anyhow::Result<f64> {
    let (to, theirs) = mpsc::channel();
    let (back, from) = mpsc::channel();
    let partner = thread::spawn(move || {
        place.pin_second()?;
        for byte in theirs {
            back.send(byte)?;
        }
        anyhow::Ok(())
    });
    place.pin_first()?;
    let seconds = serve(round_trips, || {
        to.send(BYTE)?;
        ensure!(from.recv()? == BYTE, "another byte came back");
        Ok(())
    });
    drop(to);
    partner.join().expect("it does not panic")?;
    seconds
}

const BYTE: u8 = b'o';

/// The mean of each of ten stretches, and of these the median: a stretch in which another program
/// had the core does not decide. Before them comes one that is not timed: the partner has to begin.
fn serve(round_trips: u32, mut one: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let each = round_trips / 10;
    let mut stretch = || {
        let start = Instant::now();
        for _ in 0..each {
            one()?;
        }
        Ok(start.elapsed().as_secs_f64() / f64::from(each))
    };
    stretch()?;
    let times: anyhow::Result<Vec<f64>> = (0..10).map(|_| stretch()).collect();
    Ok(median(times?))
}

fn serve_by_pipe(to: &mut impl Write, from: &mut impl Read) -> anyhow::Result<()> {
    let mut byte = [0];
    to.write_all(&[BYTE])
        .and_then(|()| from.read_exact(&mut byte))
        .context("the partner is gone")?;
    ensure!(byte == [BYTE], "another byte came back");
    Ok(())
}

/// Until no more can come.
fn return_all(mut from: impl Read, mut to: impl Write) -> anyhow::Result<()> {
    let mut byte = [0];
    while from.read(&mut byte)? == 1 {
        to.write_all(&byte)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_trip_is_over_when_the_same_byte_has_come_back() {
        let mut sent = Vec::new();
        assert!(serve_by_pipe(&mut sent, &mut &[BYTE][..]).is_ok());
        assert_eq!(sent, [BYTE]);
        assert!(serve_by_pipe(&mut sent, &mut &b"x"[..]).is_err());
        assert!(serve_by_pipe(&mut sent, &mut io::empty()).is_err());
    }
}
