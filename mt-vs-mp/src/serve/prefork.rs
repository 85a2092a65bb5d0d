//! Processes that were forked beforehand, each with one connection at a time.
//!
//! All of them inherited the same listener and wait for connections at it. The system gives each
//! connection to one of them. So no client has to wait for a fork, as it has to in `fork-demo
//! serve`. Apache has worked like this since version 0.7 (1995).
//!
//! A worker that crashes loses one request: its own. The price is memory: each connection needs a
//! process, even if it is kept open and idle.

use super::{Site, supervisor, worker::Worker};

pub fn serve(site: &'static Site, announce: impl Fn() -> anyhow::Result<()>) -> anyhow::Result<u8> {
    supervisor::run(site, announce, |site, process, end| {
        Worker::new(site, process, 0, &end)?.work();
        Ok(())
    })
}
