//! The rows that are put and read.
//!
//! Row `n` has a key of 24 random bytes, made from `n` by SplitMix64, and a value of 150 random
//! bytes that begins with `n`. Commits put the rows 0, 1, 2, ..., hence random places of the key
//! order, and start over after the last one; gets draw them at random.

pub(super) const KEY_BYTES: usize = 24;
pub(super) const VALUE_BYTES: usize = 150;
pub(super) const ROW_BYTES: f64 = (KEY_BYTES + VALUE_BYTES) as f64;

/// The key of row `number`. No two rows share one.
pub(super) fn key(number: u64) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    fill(&mut key, number.wrapping_mul(3));
    key
}

/// The value of row `number`.
pub(super) fn value(number: u64) -> [u8; VALUE_BYTES] {
    let mut value = value_template();
    value[..8].copy_from_slice(&number.to_le_bytes());
    value
}

/// What all values share.
pub(super) fn value_template() -> [u8; VALUE_BYTES] {
    let mut value = [0; VALUE_BYTES];
    fill(&mut value, u64::MAX);
    value
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
    let mut word = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Rows drawn at random.
pub(super) struct Draws {
    state: u64,
    keys: u64,
}

impl Draws {
    pub(super) fn new(thread: usize, keys: u64) -> Draws {
        Draws { state: (thread as u64) << 40, keys }
    }

    pub(super) fn next_key(&mut self) -> [u8; KEY_BYTES] {
        self.state += 1;
        // The high half of the product: a draw without a division.
        let draw = u128::from(split_mix_64(self.state)) * u128::from(self.keys);
        key((draw >> 64) as u64)
    }
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
    fn keys_differ_and_draws_stay_within_them() {
        let keys: BTreeSet<_> = (0..1000).map(key).collect();
        assert_eq!(keys.len(), 1000);
        let mut draws = Draws::new(1, 1000);
        let drawn: BTreeSet<_> = (0..10_000).map(|_| draws.next_key()).collect();
        assert!(drawn.is_subset(&keys));
        assert!(drawn.len() > 990);
    }
}
