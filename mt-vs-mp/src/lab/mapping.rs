//! Memory that comes straight from the system, as its own pages and for this alone.

use std::{ffi::c_void, num::NonZeroUsize, ptr::NonNull};
#[cfg(unix)]
use std::{mem, slice};

#[cfg(unix)]
use anyhow::Context;

/// Some pages, zeroed in the beginning, which the system takes back when this is dropped.
pub struct Mapping {
    start: NonNull<c_void>,
    /// In bytes.
    pub size: NonZeroUsize,
}

impl Mapping {
    /// A process that is forked gets a copy of it, of each page when one of them writes to it.
    pub fn private(size: NonZeroUsize) -> anyhow::Result<Self> {
        let start = system::private(size)?;
        Ok(Self { start, size })
    }

    /// A process that is forked has the very same memory.
    #[cfg(unix)]
    pub fn shared(size: NonZeroUsize) -> anyhow::Result<Self> {
        let start = system::shared(size)?;
        Ok(Self { start, size })
    }

    /// So many numbers that this process and all that it forks share, as long as they last.
    ///
    /// # Safety
    /// `T` consists of atomics alone: they may hold zeros, and may be changed by several processes.
    #[cfg(unix)]
    pub unsafe fn shared_atomics<T>(number: usize) -> anyhow::Result<&'static [T]> {
        let size = NonZeroUsize::new(number * size_of::<T>()).context("there must be one")?;
        let memory = Self::shared(size)?;
        // SAFETY: there is room for so many, aligned to a page and zeroed; see above for `T`. It is
        // never given back.
        let numbers = unsafe { slice::from_raw_parts(memory.start().as_ptr(), number) };
        mem::forget(memory);
        Ok(numbers)
    }

    /// Where it begins: at the beginning of a page.
    pub fn start<T>(&self) -> NonNull<T> {
        self.start.cast()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it was got at this size. Whoever made a reference of `start` has seen to it that
        // it does not outlive this.
        unsafe { system::give_back(self.start, self.size) };
    }
}

#[cfg(unix)]
mod system {
    use std::{ffi::c_void, num::NonZeroUsize, ptr::NonNull};

    use anyhow::Context;
    use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

    use crate::finding::figure::{Unit, amount};

    pub fn private(size: NonZeroUsize) -> anyhow::Result<NonNull<c_void>> {
        map(size, MapFlags::MAP_PRIVATE)
    }

    pub fn shared(size: NonZeroUsize) -> anyhow::Result<NonNull<c_void>> {
        map(size, MapFlags::MAP_SHARED)
    }

    fn map(size: NonZeroUsize, flags: MapFlags) -> anyhow::Result<NonNull<c_void>> {
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: the system chooses a place where nothing is.
        unsafe { mmap_anonymous(None, size, protection, flags) }
            .with_context(|| format!("cannot get {}", amount(size.get() as f64, Unit::Bytes)))
    }

    pub unsafe fn give_back(start: NonNull<c_void>, size: NonZeroUsize) {
        // SAFETY: as for this function: the memory was mapped, and nobody uses it any more.
        let _ = unsafe { munmap(start, size.get()) };
    }
}

/// By the library: so large a piece it gets from the system for this alone.
#[cfg(not(unix))]
mod system {
    use std::{
        alloc::{Layout, alloc_zeroed, dealloc},
        ffi::c_void,
        num::NonZeroUsize,
        ptr::NonNull,
    };

    use anyhow::Context;

    const PAGE: usize = 4096;

    pub fn private(size: NonZeroUsize) -> anyhow::Result<NonNull<c_void>> {
        let layout = Layout::from_size_align(size.get(), PAGE)?;
        // SAFETY: the size is not zero.
        NonNull::new(unsafe { alloc_zeroed(layout) }.cast()).context("there is too little memory")
    }

    pub unsafe fn give_back(start: NonNull<c_void>, size: NonZeroUsize) {
        if let Ok(layout) = Layout::from_size_align(size.get(), PAGE) {
            // SAFETY: as for this function: it was got so, and nobody uses it any more.
            unsafe { dealloc(start.as_ptr().cast(), layout) };
        }
    }
}
