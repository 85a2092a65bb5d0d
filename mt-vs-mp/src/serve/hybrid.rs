//! Processes of threads: Apache's worker model.
//!
//! Many connections share a process, so it costs less memory than a process for each. There are
//! several processes, so a crash ends only the requests of one of them, and its parent replaces it.

use std::iter;

use super::{Site, supervisor, threads::Crew};

pub fn serve(site: &'static Site, announce: impl Fn() -> anyhow::Result<()>) -> anyhow::Result<u8> {
    supervisor::run(site, announce, |site, process, end| {
        // The threads start after the fork: it would have copied only the one that called it.
        let mut crew = Crew::start(site, process)?;
        crew.end_after(iter::once_with(move || end.wait()))?;
        crew.wait_for_end();
        crew.finish(None);
        Ok(())
    })
}
