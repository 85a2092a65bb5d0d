//! Starts and joins a process that does nothing: the median in microseconds.

use std::{env, time::Instant};

fn main() {
    procspawn::init();
    let starts: usize = env::args()
        .nth(1)
        .and_then(|it| it.parse().ok())
        .expect("a number");
    let mut times: Vec<f64> = (0..starts)
        .map(|_| {
            let start = Instant::now();
            procspawn::spawn((), |()| ())
                .join()
                .expect("the child does nothing");
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("spawn: {}", times[starts / 2]);
}
