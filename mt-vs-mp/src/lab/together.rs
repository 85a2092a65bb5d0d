//! Threads that begin together: otherwise the first might be done before the last has started.
//! Unlike the threads of a [`Team`](super::team::Team), they may borrow what they use.

use std::{
    sync::{OnceLock, mpsc},
    thread,
    time::Instant,
};

use anyhow::Context;

/// What became of threads that began together.
pub struct Together<R> {
    /// When all of them began.
    pub begin: Instant,
    /// From then until the last of them was done, in seconds.
    pub seconds: f64,
    /// What each of them returned.
    pub results: Vec<R>,
}

/// Starts a thread for each of `parts`. When all threads are there, all begin at the same time: each
/// calls its part, with that time. Returns when all are done.
///
/// # Errors
/// When a thread cannot be started, or the error of a part.
pub fn all_at_once<R: Send, Part>(parts: impl Iterator<Item = Part>) -> anyhow::Result<Together<R>>
where
    Part: FnOnce(Instant) -> anyhow::Result<R> + Send,
{
    // Threads wait at the gate until it holds the time at which it was opened. They do not sleep:
    // the system could wake two of them on the same processor, and would move one of them to
    // another only some milliseconds later.
    let gate = &OnceLock::new();
    let (is_there, there) = mpsc::channel();
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for part in parts {
            let is_there = is_there.clone();
            let wait_and_work = move || {
                is_there.send(())?;
                let begin = loop {
                    match gate.get() {
                        Some(begin) => break *begin,
                        None => thread::yield_now(),
                    }
                };
                let result = part(begin)?;
                anyhow::Ok((result, Instant::now()))
            };
            let thread = thread::Builder::new().spawn_scoped(scope, wait_and_work);
            threads.push(thread.context("cannot start a thread"));
        }
        for _ in threads.iter().flatten() {
            there.recv()?;
        }
        // Also if a thread could not be started: the others wait for it.
        let begin = *gate.get_or_init(Instant::now);
        let (mut seconds, mut results) = (0.0, Vec::new());
        for thread in threads {
            let (result, end) = thread?.join().expect("no part panics")?;
            seconds = (end - begin).as_secs_f64().max(seconds);
            results.push(result);
        }
        Ok(Together {
            begin,
            seconds,
            results,
        })
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;

    #[test]
    fn nobody_begins_before_all_are_there() {
        let made = AtomicUsize::new(0);
        let parts = (0..8).map(|_| {
            made.fetch_add(1, Relaxed);
            |_| Ok(made.load(Relaxed))
        });
        let together = all_at_once(parts).expect("threads can be started");
        assert_eq!(together.results, [8; 8]);
    }

    #[test]
    fn the_last_one_decides_how_long_it_took() {
        let parts = [0, 30, 1].map(|millis| {
            move |begin: Instant| {
                thread::sleep(std::time::Duration::from_millis(millis));
                Ok(begin.elapsed().as_secs_f64())
            }
        });
        let together = all_at_once(parts.into_iter()).expect("threads can be started");
        assert!(together.results.iter().all(|&it| it <= together.seconds));
        assert!(together.seconds <= together.begin.elapsed().as_secs_f64());
    }

    #[test]
    fn the_error_of_a_part_is_the_error_of_all() {
        let part = |number| {
            move |_| match number {
                1 => Err(anyhow::anyhow!("part {number} failed")),
                _ => Ok(()),
            }
        };
        let error = all_at_once((0..3).map(part))
            .map(drop)
            .expect_err("one fails");
        assert_eq!(error.to_string(), "part 1 failed");
    }
}
