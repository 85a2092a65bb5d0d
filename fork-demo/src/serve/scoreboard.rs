//! What each child is doing, in memory that a fork does not copy: parent and children share it.
//!
//! When a child crashes, its own memory is gone, and the parent could not tell which request it
//! had. So each child notes its request in shared memory, as soon as it has read it. The parent can
//! read this after the crash. (Apache does this too, and calls this memory the scoreboard.)

use std::{
    fmt::{self, Write},
    num::NonZeroUsize,
    slice,
    sync::atomic::{AtomicU8, AtomicU16, Ordering::Relaxed},
};

use anyhow::Context;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};

use super::request::Request;

/// What one child is doing. While the child runs, only the child uses its slot. Before and after
/// that, only the parent does. The compiler cannot know this, so the fields are atomics: numbers
/// that several threads or processes may use at the same time.
pub struct Slot {
    /// The status of the answer; 0 if there is none yet.
    status: AtomicU16,
    /// Method and path. They are cut off if they are longer than this, and padded with zeros if
    /// they are shorter.
    request: [AtomicU8; 254],
}

/// Makes slots for this many children.
///
/// # Errors
/// There is not enough memory.
pub fn new(slots: usize) -> anyhow::Result<&'static [Slot]> {
    let bytes = slots * size_of::<Slot>();
    let size = NonZeroUsize::new(bytes).context("there must be room for one child")?;
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: the system picks an address where nothing is yet.
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

    /// Notes as much of the request as fits.
    pub fn set_request(&self, request: &Request) {
        let _ = write!(Room(self.request.iter()), "{request}");
    }
}

/// The request, or dashes if there is none yet.
impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let bytes = self.request.each_ref().map(|byte| byte.load(Relaxed));
        match bytes.split(|&byte| byte == 0).next() {
            // (`[]` stands for no bytes at all.)
            None | Some([]) => f.write_str("- -"),
            Some(request) => f.write_str(&String::from_utf8_lossy(request)),
        }
    }
}

/// The bytes of a slot that are still free. `write!` writes a text into them.
struct Room<'a>(slice::Iter<'a, AtomicU8>);

impl Write for Room<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0.next().ok_or(fmt::Error)?.store(byte, Relaxed);
        }
        Ok(())
    }
}
