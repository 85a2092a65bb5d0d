//! Maps a function that returns its argument, by 4 threads: tasks per second, the median of 3 rounds.

use std::{env, hint::black_box, time::Instant};

use rayon::prelude::*;

fn main() {
    let tasks: u32 = env::args()
        .nth(1)
        .and_then(|it| it.parse().ok())
        .expect("a number");
    let threads = rayon::ThreadPoolBuilder::new().num_threads(4);
    threads.build_global().expect("four threads");
    // As it likes, and no more than one task at a time.
    for (row, at_once) in [("in chunks", usize::MAX), ("one by one", 1)] {
        let mut times: Vec<f64> = (0..3)
            .map(|_| {
                let given: Vec<u32> = (0..tasks).collect();
                let start = Instant::now();
                let results: Vec<u32> = given
                    .into_par_iter()
                    .with_max_len(at_once)
                    .map(black_box)
                    .collect();
                let seconds = start.elapsed().as_secs_f64();
                assert!(results.into_iter().eq(0..tasks));
                seconds
            })
            .collect();
        times.sort_by(f64::total_cmp);
        println!("threads, {row}: {}", f64::from(tasks) / times[1]);
    }
}
