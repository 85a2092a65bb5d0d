//! The work: to count the primes below three million, by trial division.
//!
//! It computes and does nothing else: no memory to speak of, no system calls. So it shows what the
//! workers are worth, and its result is known: <https://oeis.org/A000720> counts the primes below any number.

use std::ops::Range;

/// One task: the numbers to look at.
pub type Task = Range<u32>;

const LIMIT: u32 = 3_000_000;

/// How many primes there are below [`LIMIT`].
pub const PRIMES: u32 = 216_816;

/// Cuts the job into tasks: enough of them that no worker is left without one while another still
/// has many.
pub fn tasks() -> impl Iterator<Item = Task> + Send {
    const TASK: u32 = 25_000;
    (0..LIMIT)
        .step_by(TASK as usize)
        .map(|start| start..start + TASK)
}

/// Does one task: counts its primes.
pub fn count_primes(task: Task) -> u32 {
    task.filter(|&n| is_prime(n)).count() as u32
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
    fn the_tasks_together_find_every_prime() {
        assert_eq!(tasks().map(count_primes).sum::<u32>(), PRIMES);
    }

    #[test]
    fn the_first_primes_are_right() {
        let primes: Vec<u32> = (0..30).filter(|&n| is_prime(n)).collect();
        assert_eq!(primes, [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]);
    }
}
