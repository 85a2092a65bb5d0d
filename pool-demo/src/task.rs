//! What the workers are given to do.

use std::{
    fmt::Display,
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::output::say;

/// A stand-in for real work: it takes its time, and does nothing with it. It travels to a worker
/// process as bytes.
#[derive(Serialize, Deserialize)]
pub struct Task {
    pub number: u32,
    pub duration: Duration,
}

impl Task {
    /// Does the work, in the worker of the given id, and returns the time that it really took.
    pub fn run(&self, worker: impl Display) -> anyhow::Result<Duration> {
        say!("Run task {} ({worker})...", self.number)?;
        let start = Instant::now();
        thread::sleep(self.duration);
        let took = start.elapsed();
        say!(
            "Task {} runs {:.2} seconds.",
            self.number,
            took.as_secs_f64()
        )?;
        Ok(took)
    }
}
