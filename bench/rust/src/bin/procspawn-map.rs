//! Maps a function that returns its argument, by a pool of 4 processes: tasks per second, the median
//! of 3 rounds.

use std::{env, time::Instant};

/// A task that waits takes descriptors, of which there are 1024 as a rule.
const AT_ONCE: usize = 100;

fn main() {
    procspawn::init();
    let tasks: u32 = env::args()
        .nth(1)
        .and_then(|it| it.parse().ok())
        .expect("a number");
    let pool = procspawn::Pool::new(4).expect("a pool");
    let mut times: Vec<f64> = (0..3)
        .map(|_| {
            let start = Instant::now();
            for first in (0..tasks).step_by(AT_ONCE) {
                let given = first..tasks.min(first + AT_ONCE as u32);
                let handles: Vec<_> = given
                    .clone()
                    .map(|number| procspawn::spawn!(in pool, (number) || number))
                    .collect();
                let results = handles.into_iter().map(|it| it.join().expect("it returns"));
                assert!(results.eq(given));
            }
            start.elapsed().as_secs_f64()
        })
        .collect();
    pool.shutdown();
    times.sort_by(f64::total_cmp);
    println!("processes, one by one: {}", f64::from(tasks) / times[1]);
}
