//! The block of bytes, and a checksum by which both sides see that their blocks are the same.

use anyhow::Context;

/// The hash FNV-1a, but over words of eight bytes instead of single bytes. It differs if a byte is
/// changed, lost, or in another place (except by a very rare chance).
pub fn checksum(block: &[u8]) -> u64 {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x100_0000_01b3;
    let (words, rest) = block.as_chunks();
    debug_assert!(rest.is_empty());
    let mix = |hash: u64, word: &[u8; 8]| (hash ^ u64::from_le_bytes(*word)).wrapping_mul(PRIME);
    words.iter().fold(OFFSET_BASIS, mix)
}

/// A new block of `size` bytes, filled with a pattern.
pub fn new_block(size: usize) -> anyhow::Result<Vec<u8>> {
    // The pattern has a prime number of bytes, so pages that are side by side differ.
    let pattern: Vec<u8> = (0..251).collect();
    let mut block = room_for(size)?;
    for filled in (0..size).step_by(pattern.len()) {
        let rest = size - filled;
        block.extend_from_slice(&pattern[..rest.min(pattern.len())]);
    }
    Ok(block)
}

/// An empty `Vec` with memory for `size` bytes.
///
/// # Errors
/// The system does not have so much memory.
pub fn room_for(size: usize) -> anyhow::Result<Vec<u8>> {
    let mut room = Vec::new();
    room.try_reserve_exact(size)
        .with_context(|| format!("cannot get {} MiB of memory", size >> 20))?;
    Ok(room)
}

/// How many page faults this process has had: how often it used memory for which it had no page
/// yet.
#[cfg(unix)]
pub fn page_faults() -> u64 {
    use nix::sys::resource::{UsageWho, getrusage};
    // This fails only for a wrong argument.
    getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| usage.minor_page_faults() as u64)
}

/// Windows has another call for this, which is not used here: the count is 0.
#[cfg(not(unix))]
pub fn page_faults() -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use super::checksum;

    #[test]
    fn the_checksum_differs_if_a_bit_is_changed_or_a_word_is_lost_or_elsewhere() {
        let block: Vec<u8> = (0..32).collect();
        let sum = checksum(&block);
        for bit in 0..8 * block.len() {
            let mut changed = block.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(checksum(&changed), sum, "bit {bit}");
        }
        assert_ne!(checksum(&block[..24]), sum);
        assert_ne!(checksum(&[&block[8..], &block[..8]].concat()), sum);
    }
}
