//! The same job serially, by threads and by processes: how long each takes.
//!
//! The notes say that threads are usually a bit faster than processes, but not by much.

use std::time::{Duration, Instant};

use comfy_table::{Table, presets};

use crate::{
    job,
    master_worker::{by_processes, by_threads, serially},
    output::say,
};

/// How often each way is measured; the median counts.
const ROUNDS: usize = 3;

pub fn run(workers: usize) -> anyhow::Result<()> {
    let ways: [(&str, &dyn Fn() -> anyhow::Result<u32>); 3] = [
        ("serial", &|| Ok(serially())),
        ("threads", &|| by_threads(workers)),
        ("processes", &|| by_processes(workers)),
    ];
    let mut times = [const { Vec::new() }; 3];
    let mut results = [0; 3];
    // In turns, so that a machine that grows slower or faster meanwhile treats all alike.
    for _ in 0..ROUNDS {
        for (way, (_, work)) in ways.iter().enumerate() {
            let start = Instant::now();
            results[way] = work()?;
            times[way].push(start.elapsed());
        }
    }

    let times = times.map(median);
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["way", "workers", "time", "speed-up", "primes found"]);
    for (way, (name, _)) in ways.iter().enumerate() {
        table.add_row([
            (*name).to_owned(),
            if way == 0 { 1 } else { workers }.to_string(),
            format!("{:.0} ms", times[way].as_secs_f64() * 1e3),
            format!("{:.2}", times[0].as_secs_f64() / times[way].as_secs_f64()),
            results[way].to_string(),
        ]);
    }
    say!("One job by {workers} workers: threads are a bit faster than processes, say the notes.")?;
    say!("{table}")?;
    anyhow::ensure!(
        results.iter().all(|&found| found == job::PRIMES),
        "the results should all be {}: a worker miscounted",
        job::PRIMES
    );
    say!("The results are equal, and right. Times are medians of {ROUNDS} rounds.\n")
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
