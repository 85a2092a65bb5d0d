//! What each child is at, in memory that is not copied by a fork but shared.
//!
//! A child that crashes takes its memory with it, and what it knew of its request. So it writes
//! that down, as soon as it knows it, where the parent can still read it afterwards. (Apache does
//! this too, for the same reason, and calls it the scoreboard.)

use std::{
    fmt::{self, Write},
    num::NonZeroUsize,
    slice,
    sync::atomic::{AtomicU8, AtomicU16, Ordering::Relaxed},
};

use anyhow::Context;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};

use super::request::Request;

/// What one child is at. Only the child writes to it, and the parent reads it when the child is
/// gone, so each is alone with it; atomics say that to the compiler.
pub struct Slot {
    status: AtomicU16,
    /// Method and path, cut off if they are longer, padded with zeros if they are shorter.
    request: [AtomicU8; 254],
}

/// Makes room for `slots` children.
///
/// # Errors
/// When there is not that much memory.
pub fn new(slots: usize) -> anyhow::Result<&'static [Slot]> {
    let bytes = slots * size_of::<Slot>();
    let size = NonZeroUsize::new(bytes).context("there must be room for one child")?;
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new mapping, at an address that the system picks, touches nothing that exists.
    let memory = unsafe { mmap_anonymous(None, size, protection, MapFlags::MAP_SHARED) }
        .context("cannot share memory with children")?;
    // SAFETY: the mapping is page-aligned, as large as all slots together, filled with zeros
    // (which every atomic may hold), and never unmapped. Other processes change it only
    // through atomics.
    Ok(unsafe { slice::from_raw_parts(memory.cast().as_ptr(), slots) })
}

impl Slot {
    pub fn clear(&self) {
        self.set_status(0);
        for byte in &self.request {
            byte.store(0, Relaxed);
        }
    }

    /// The status of the answer; 0 if there is none yet.
    pub fn status(&self) -> u16 {
        self.status.load(Relaxed)
    }

    pub fn set_status(&self, status: u16) {
        self.status.store(status, Relaxed);
    }

    /// Notes the request, as much of it as there is room for.
    pub fn set_request(&self, request: &Request) {
        let _ = write!(Room(self.request.iter()), "{request}");
    }
}

/// The request, or dashes if there is none yet.
impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let bytes = self.request.each_ref().map(|byte| byte.load(Relaxed));
        match bytes.split(|&byte| byte == 0).next() {
            None | Some([]) => f.write_str("- -"),
            Some(request) => f.write_str(&String::from_utf8_lossy(request)),
        }
    }
}

/// The bytes that are still free.
struct Room<'a>(slice::Iter<'a, AtomicU8>);

impl Write for Room<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0.next().ok_or(fmt::Error)?.store(byte, Relaxed);
        }
        Ok(())
    }
}
