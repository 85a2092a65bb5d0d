//! The work of several experiments: counting primes, by trial division. It only computes: it needs
//! hardly any memory, and makes no system calls.

use std::ops::Range;

/// How many of the numbers are primes. <https://oeis.org/A000720> lists the results.
pub fn count_primes(numbers: Range<u32>) -> u32 {
    numbers.filter(|&n| is_prime(n)).count() as u32
}

fn is_prime(n: u32) -> bool {
    if n < 4 {
        return n >= 2;
    }
    if n.is_multiple_of(2) {
        return false;
    }
    let mut d = 3;
    while d * d <= n {
        if n.is_multiple_of(d) {
            return false;
        }
        d += 2;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_primes_are_right() {
        let primes: Vec<u32> = (0..30).filter(|&n| is_prime(n)).collect();
        assert_eq!(primes, [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]);
        assert_eq!(count_primes(0..100_000), 9_592);
    }
}
