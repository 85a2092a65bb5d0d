//! Processes that were forked beforehand, each with one connection at a time.
//!
//! All of them wait for connections at the same listener, which they inherited, and the system
//! gives each connection to one of them. No client waits for a fork, as it does at `fork-demo
//! serve`. Apache has worked like this since version 0.7 (1995).
//!
//! A worker that crashes takes one request with it, its own. The price is memory: a process for
//! each connection, even for one that is kept open and idle.

use super::{Site, supervisor, worker::Worker};

pub fn serve(site: &'static Site, announce: impl Fn() -> anyhow::Result<()>) -> anyhow::Result<u8> {
    supervisor::run(site, announce, |site, process, end| {
        Worker::new(site, process, 0, &end)?.work();
        Ok(())
    })
}
