//! Memory that comes straight from the system, as its own pages and for this alone.

use std::{ffi::c_void, num::NonZeroUsize, ptr::NonNull};

use anyhow::Context;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use crate::finding::figure::{Unit, amount};

/// Some pages, zeroed in the beginning, which the system takes back when this is dropped.
pub struct Mapping {
    start: NonNull<c_void>,
    /// In bytes.
    pub size: NonZeroUsize,
}

impl Mapping {
    /// A process that is forked gets a copy of it, of each page when one of them writes to it.
    pub fn private(size: NonZeroUsize) -> anyhow::Result<Self> {
        Self::new(size, MapFlags::MAP_PRIVATE)
    }

    /// A process that is forked has the very same memory.
    pub fn shared(size: NonZeroUsize) -> anyhow::Result<Self> {
        Self::new(size, MapFlags::MAP_SHARED)
    }

    fn new(size: NonZeroUsize, flags: MapFlags) -> anyhow::Result<Self> {
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: the system chooses a place where nothing is.
        let start = unsafe { mmap_anonymous(None, size, protection, flags) }
            .with_context(|| format!("cannot get {}", amount(size.get() as f64, Unit::Bytes)))?;
        Ok(Self { start, size })
    }

    /// Where it begins: at the beginning of a page.
    pub fn start<T>(&self) -> NonNull<T> {
        self.start.cast()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it was mapped at this size. Whoever made a reference of `start` has seen to it
        // that it does not outlive this.
        let _ = unsafe { munmap(self.start, self.size.get()) };
    }
}
