//! One of a crowd: a worker, or the one that waits. Threads and processes run the same functions.

use std::{
    io::{PipeReader, Read, Write},
    os::fd::AsFd,
    thread,
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{crowd::Crowd, signs::Ends};
use crate::{lab::statistics::median, work::count_primes};

/// One of a crowd; the last is the one that waits. It says that it is there by a zero.
pub fn member(crowd: Crowd, k: usize, ends: &Ends, mut results: impl Write) -> anyhow::Result<()> {
    results.write_all(&0_u32.to_ne_bytes())?;
    await_end(&ends.begin)?;
    if k == crowd.workers {
        drop(results);
        return wait_and_see(ends);
    }
    results.write_all(&crowd.work(k).to_ne_bytes())?;
    drop(results);
    await_end(&ends.leave)
}

/// Nobody ever writes to these pipes.
fn await_end(mut sign: &PipeReader) -> anyhow::Result<()> {
    sign.read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Sleeps for a millisecond, again and again, and notes how late it is woken.
fn wait_and_see(ends: &Ends) -> anyhow::Result<()> {
    const NAP: Duration = Duration::from_millis(1);
    let mut late = Vec::new();
    let mut fds = [PollFd::new(ends.leave.as_fd(), PollFlags::POLLIN)];
    while late.is_empty() || poll(&mut fds, PollTimeout::ZERO)? == 0 {
        let start = Instant::now();
        thread::sleep(NAP);
        late.push(start.elapsed().saturating_sub(NAP).as_secs_f64());
    }
    let worst = late.iter().copied().fold(0.0, f64::max);
    let figures = [median(late), worst].map(f64::to_ne_bytes);
    Ok((&ends.lateness).write_all(figures.as_flattened())?)
}

impl Crowd {
    /// Worker `k` counts in every so-manieth piece: the first numbers are quicker to look at than
    /// the last.
    fn work(self, k: usize) -> u32 {
        const PIECE: u32 = 10;
        let (k, workers) = (k as u32, self.workers as u32);
        (k * PIECE..self.numbers)
            .step_by((workers * PIECE) as usize)
            .map(|start| count_primes(start..self.numbers.min(start + PIECE)))
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::crowd::Model, *};

    #[test]
    fn each_worker_has_its_part_and_together_they_have_all() {
        let crowd = Crowd {
            model: Model::Threads,
            workers: 10,
            numbers: 200_000,
        };
        let parts: Vec<u32> = (0..10).map(|k| crowd.work(k)).collect();
        // <https://oeis.org/A000720>
        assert_eq!(parts.iter().sum::<u32>(), 17_984);
        let fair = 1_600..2_000;
        assert!(parts.iter().all(|part| fair.contains(part)), "{parts:?}");
    }
}
