//! Processes of threads: Apache's worker model.
//!
//! The connections of one process share its memory, so they need less than a process for each
//! connection. A crash ends the requests of one process only, and the parent replaces that process.

use std::iter;

use super::{Site, supervisor, threads::WorkerThreads};

pub fn serve(site: &'static Site, announce: impl Fn() -> anyhow::Result<()>) -> anyhow::Result<u8> {
    supervisor::run(site, announce, |site, process, end| {
        // The threads have to start after the fork, which copies only the thread that calls it.
        let mut threads = WorkerThreads::start(site, process)?;
        threads.end_after(iter::once_with(move || end.wait()))?;
        threads.wait_for_end();
        threads.finish(None).map(drop)
    })
}
