//! The work that is shared out: three kinds of it, for threads and processes are not good at the
//! same.

use std::{ops::Range, thread, time::Duration};

use serde::{Deserialize, Serialize};

/// One task: the numbers to look at.
pub type Task = Range<u32>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// It computes and does nothing else: no memory to speak of, no system calls. Primes are
    /// counted.
    Computing,
    /// The same in tasks so small that handing them over takes longer than doing them.
    Chatty,
    /// It waits, as for a disk or for somebody else's answer: 2 ms for each task.
    Waiting,
}

/// How much of it is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Size {
    /// Enough that to start some workers is a trifle beside it.
    Whole,
    /// For those who are in a hurry.
    Small,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Computing, Self::Chatty, Self::Waiting];

    pub fn name(self) -> &'static str {
        match self {
            Self::Computing => "computing",
            Self::Chatty => "chatty",
            Self::Waiting => "waiting",
        }
    }

    /// The job, cut into tasks: so many that no worker is left without one while another still has
    /// much to do.
    pub fn tasks(self, size: Size) -> impl Iterator<Item = Task> + Send {
        let (whole, small, task) = match self {
            Self::Computing => (2_000_000, 300_000, 5_000),
            Self::Chatty => (100_000, 30_000, 50),
            Self::Waiting => (24, 8, 1),
        };
        let end = if size == Size::Whole { whole } else { small };
        (0..end)
            .step_by(task as usize)
            .map(move |start| start..start + task)
    }

    /// Does one task.
    pub fn work(self, task: Task) -> u32 {
        match self {
            Self::Computing | Self::Chatty => count_primes(task),
            Self::Waiting => {
                thread::sleep(Duration::from_millis(2));
                task.len() as u32
            }
        }
    }

    /// What the results of all tasks add up to. <https://oeis.org/A000720> counts the primes below
    /// any number.
    pub fn total(self, size: Size) -> u32 {
        match (self, size) {
            (Self::Computing, Size::Whole) => 148_933,
            (Self::Computing, Size::Small) => 25_997,
            (Self::Chatty, Size::Whole) => 9_592,
            (Self::Chatty, Size::Small) => 3_245,
            (Self::Waiting, Size::Whole) => 24,
            (Self::Waiting, Size::Small) => 8,
        }
    }
}

/// By trial division.
pub fn count_primes(numbers: Range<u32>) -> u32 {
    numbers.filter(|&n| is_prime(n)).count() as u32
}

fn is_prime(n: u32) -> bool {
    if n < 4 {
        return n >= 2;
    }
    !n.is_multiple_of(2)
        && (3..)
            .step_by(2)
            .take_while(|d| d * d <= n)
            .all(|d| !n.is_multiple_of(d))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tasks_together_give_the_right_result() {
        for kind in Kind::ALL {
            for size in [Size::Whole, Size::Small] {
                let total: u32 = kind.tasks(size).map(|task| kind.work(task)).sum();
                assert_eq!(total, kind.total(size), "{kind:?}, {size:?}");
            }
        }
    }

    #[test]
    fn the_first_primes_are_right() {
        let primes: Vec<u32> = (0..30).filter(|&n| is_prime(n)).collect();
        assert_eq!(primes, [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]);
    }
}
