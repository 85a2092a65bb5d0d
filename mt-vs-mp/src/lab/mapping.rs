//! Memory that comes straight from the system, in pages of its own. It stays until the process
//! ends: a trial is a process for one measurement.

#[cfg(unix)]
use std::slice;
use std::{ffi::c_void, num::NonZeroUsize, ptr::NonNull};

#[cfg(unix)]
use anyhow::Context;

/// Some pages, all zeros at first.
pub struct Mapping {
    start: NonNull<c_void>,
    /// In bytes.
    pub size: NonZeroUsize,
}

impl Mapping {
    /// A forked child gets a copy (copy-on-write: each page is copied at the first write to it).
    pub fn private(size: NonZeroUsize) -> anyhow::Result<Self> {
        let start = system::private(size)?;
        Ok(Self { start, size })
    }

    /// A forked child shares this memory.
    #[cfg(unix)]
    pub fn shared(size: NonZeroUsize) -> anyhow::Result<Self> {
        let start = system::shared(size)?;
        Ok(Self { start, size })
    }

    /// An array of `number` values that this process and all its forked children share until they
    /// end.
    ///
    /// # Safety
    /// `T` must consist of atomics: they may be zero, and several processes may change them.
    #[cfg(unix)]
    pub unsafe fn shared_atomics<T>(number: usize) -> anyhow::Result<&'static [T]> {
        let size = NonZeroUsize::new(number * size_of::<T>()).context("there must be one")?;
        let memory = Self::shared(size)?;
        // SAFETY: the memory has this size, is aligned to a page, zeroed, and never unmapped; for
        // `T` see above.
        Ok(unsafe { slice::from_raw_parts(memory.start().as_ptr(), number) })
    }

    /// Its first address, which is the beginning of a page.
    pub fn start<T>(&self) -> NonNull<T> {
        self.start.cast()
    }
}

#[cfg(unix)]
mod system {
    use std::{ffi::c_void, num::NonZeroUsize, ptr::NonNull};

    use anyhow::Context;
    use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};

    use crate::finding::figure::{Unit, amount};

    pub fn private(size: NonZeroUsize) -> anyhow::Result<NonNull<c_void>> {
        map(size, MapFlags::MAP_PRIVATE)
    }

    pub fn shared(size: NonZeroUsize) -> anyhow::Result<NonNull<c_void>> {
        map(size, MapFlags::MAP_SHARED)
    }

    fn map(size: NonZeroUsize, flags: MapFlags) -> anyhow::Result<NonNull<c_void>> {
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: the system chooses an address range that is not in use.
        unsafe { mmap_anonymous(None, size, protection, flags) }
            .with_context(|| format!("cannot get {}", amount(size.get() as f64, Unit::Bytes)))
    }
}

/// On other systems, by the allocator.
#[cfg(not(unix))]
mod system {
    use std::{
        alloc::{Layout, alloc_zeroed},
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
}
