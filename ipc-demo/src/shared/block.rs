//! The block of bytes: what is in it, and how both sides can tell that it is the same.

use anyhow::Context;

/// The size of the block in bytes: 64 MiB.
pub const SIZE: usize = 64 << 20;

/// The hash FNV-1a, but by words of eight bytes: a byte that is changed, lost or out of place
/// changes it.
pub fn checksum(block: &[u8]) -> u64 {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x100_0000_01b3;
    let (words, rest) = block.as_chunks();
    debug_assert!(rest.is_empty());
    let mix = |hash: u64, word: &[u8; 8]| (hash ^ u64::from_le_bytes(*word)).wrapping_mul(PRIME);
    words.iter().fold(OFFSET_BASIS, mix)
}

/// A block, filled.
pub fn new_block() -> anyhow::Result<Vec<u8>> {
    // A prime number of bytes: so no two pages of the block are alike.
    let pattern: Vec<u8> = (0..251).collect();
    let mut block = room_for(SIZE)?;
    while block.len() < SIZE {
        let rest = SIZE - block.len();
        block.extend_from_slice(&pattern[..rest.min(pattern.len())]);
    }
    Ok(block)
}

/// Room for so many bytes.
///
/// # Errors
/// When there is not that much memory.
pub fn room_for(size: usize) -> anyhow::Result<Vec<u8>> {
    let mut room = Vec::new();
    room.try_reserve_exact(size)
        .with_context(|| format!("cannot get {} MiB of memory", size >> 20))?;
    Ok(room)
}

/// How many page faults this process has had: touches of memory for which it had no page yet.
#[cfg(unix)]
pub fn page_faults() -> u64 {
    use nix::sys::resource::{UsageWho, getrusage};
    // It fails for a wrong argument only.
    getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| usage.minor_page_faults() as u64)
}

/// Windows counts them elsewhere.
#[cfg(not(unix))]
pub fn page_faults() -> u64 {
    0
}
