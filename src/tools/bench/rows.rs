//! The keys of the rows that are put and read.
//!
//! Row `n` has a key of 24 random bytes, made from `n` by SplitMix64, and a value that begins with `n`
//! ([`super::values`]). Rows in numeric order hence go to random places of the key order. Sorted rows
//! have keys that begin with `n` itself, so that each one is appended.

use crate::engine::base::random::{GAMMA, mix};

pub(super) const KEY_BYTES: usize = 24;

/// The key of a row.
pub(super) type Key = [u8; KEY_BYTES];

/// The order in which rows arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Random,
    Sorted,
}

impl Order {
    pub(super) const BOTH: [Order; 2] = [Order::Random, Order::Sorted];

    /// As in the tables.
    pub(super) fn name(self) -> &'static str {
        match self {
            Order::Random => "random order",
            Order::Sorted => "sorted",
        }
    }

    /// The key of row `number`.
    pub(super) fn key(self, number: u64) -> Key {
        match self {
            Order::Random => key(number),
            Order::Sorted => sorted_key(number),
        }
    }
}

/// The key of row `number`, at a random place. No two rows share one.
pub(super) fn key(number: u64) -> Key {
    let mut key = [0; KEY_BYTES];
    fill(&mut key, number.wrapping_mul(3));
    key
}

/// A key that no row has: its first eight bytes are those of a row, its last ones are not.
pub(super) fn missing_key(number: u64) -> Key {
    let mut key = key(number);
    key[KEY_BYTES - 1] ^= 1;
    key
}

/// The key of row `number`, behind those of all rows before it.
fn sorted_key(number: u64) -> Key {
    let mut key = [0; KEY_BYTES];
    key[..8].copy_from_slice(&number.to_be_bytes());
    fill(&mut key[8..], number.wrapping_mul(3));
    key
}

/// The bytes of a row's key and value.
pub(super) fn row_bytes(value_bytes: usize) -> usize {
    KEY_BYTES + value_bytes
}

/// Fills `bytes` with the random words `first`, `first + 1`, ...
pub(super) fn fill(bytes: &mut [u8], first: u64) {
    let mut number = first;
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&split_mix_64(number).to_le_bytes()[..chunk.len()]);
        number = number.wrapping_add(1);
    }
}

/// Word `number` of the generator SplitMix64 (Steele, Lea and Flood, 2014). A bijection.
pub(super) fn split_mix_64(number: u64) -> u64 {
    mix(number.wrapping_add(1).wrapping_mul(GAMMA))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn split_mix_64_is_the_published_generator() {
        // The first outputs for seed 0.
        assert_eq!(split_mix_64(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(split_mix_64(1), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn keys_differ_and_sorted_ones_ascend() {
        let keys: BTreeSet<_> = (0..1000).flat_map(|row| [key(row), missing_key(row)]).collect();
        assert_eq!(keys.len(), 2000);
        assert!((0..1000).map(sorted_key).is_sorted());
    }
}
