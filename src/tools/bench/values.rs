//! The values that are put, and what a reader checks of them.
//!
//! ```text
//!   0        8         16                                  length
//!   | row    | version | random bytes, at a place of the pool |     of 16 bytes and more
//!   | row | version | ...                                           of 8 to 15: four bytes each
//! ```
//!
//! - VALUES-1 No two writes of a run put the same value: each has a version of its own, and with it other
//!   random bytes. A store that skips a write which changes nothing skips none of these.
//! - VALUES-2 Values do not compress: their bytes are random within half a mebibyte.
//! - VALUES-3 Every get that is timed checks the row, the length and reads both ends ([`is_of`]). Every
//!   pass over a store that is about to be measured compares every byte ([`is_whole`]).

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::rows::{fill, split_mix_64};

/// The random bytes that all values share.
const POOL_BYTES: usize = 2 * LONGEST_RUN;

/// Longer values repeat their bytes. A power of two.
const LONGEST_RUN: usize = 1 << 19;

/// Versions that one [`Value`] has for itself.
const VERSIONS: u32 = 40;

/// The next versions that no value has had yet.
static FRESH: AtomicU64 = AtomicU64::new(1);

fn pool() -> &'static [u8] {
    static POOL: OnceLock<Vec<u8>> = OnceLock::new();
    POOL.get_or_init(|| {
        let mut bytes = vec![0; POOL_BYTES];
        fill(&mut bytes, 1 << 60);
        bytes
    })
}

/// A value that becomes that of one row after the other, without a new allocation.
pub(super) struct Value {
    bytes: Vec<u8>,
    version: u64,
    pool: &'static [u8],
}

impl Value {
    pub(super) fn of(bytes: usize) -> Value {
        let version = FRESH.fetch_add(1, Ordering::Relaxed) << VERSIONS;
        Value { bytes: vec![0; bytes], version, pool: pool() }
    }

    /// A value of row `number` that no write has put before (VALUES-1).
    pub(super) fn row(&mut self, number: u64) -> &[u8] {
        self.version += 1;
        let head = Head { row: number, version: self.version };
        head.write(&mut self.bytes, self.pool);
        &self.bytes
    }
}

/// What a value says of itself.
#[derive(Clone, Copy)]
struct Head {
    row: u64,
    version: u64,
}

impl Head {
    const BYTES: usize = 16;

    fn write(self, value: &mut [u8], pool: &[u8]) {
        let Some((head, rest)) = value.split_at_mut_checked(Head::BYTES) else {
            let words = u64::from(self.row as u32) | (self.short_version() << 32);
            let bytes = value.len().min(8);
            value[..bytes].copy_from_slice(&words.to_le_bytes()[..bytes]);
            return;
        };
        head[..8].copy_from_slice(&self.row.to_le_bytes());
        head[8..].copy_from_slice(&self.version.to_le_bytes());
        let random = &pool[self.place()..][..LONGEST_RUN];
        for part in rest.chunks_mut(LONGEST_RUN) {
            part.copy_from_slice(&random[..part.len()]);
        }
    }

    /// The low bits differ from one write to the next, the others from one writer to the next.
    fn short_version(self) -> u64 {
        (self.version ^ (self.version >> VERSIONS << 20)) & 0xffff_ffff
    }

    /// Where its bytes begin in the pool.
    fn place(self) -> usize {
        split_mix_64(self.version) as usize % LONGEST_RUN
    }

    fn read(value: &[u8]) -> Option<Head> {
        let (head, _) = value.split_at_checked(Head::BYTES)?;
        let word = |at: usize| Some(u64::from_le_bytes(head[at..at + 8].try_into().ok()?));
        Some(Head { row: word(0)?, version: word(8)? })
    }
}

/// Whether `value` is one of row `number` and `bytes` long: a look at both ends.
#[inline]
pub(super) fn is_of(number: u64, value: &[u8], bytes: usize) -> bool {
    std::hint::black_box(value.last());
    value.len() == bytes
        && match Head::read(value) {
            Some(head) => head.row == number,
            None => {
                let words = 4.min(value.len());
                value[..words] == (number as u32).to_le_bytes()[..words]
            }
        }
}

/// The row of `value`, if every byte of it is as it was put; of short ones the low bits of the row.
pub(super) fn is_whole(value: &[u8]) -> Option<u64> {
    let Some(head) = Head::read(value) else {
        let row = value.first_chunk::<4>()?;
        return Some(u64::from(u32::from_le_bytes(*row)));
    };
    let random = &pool()[head.place()..][..LONGEST_RUN];
    let mut parts = value[Head::BYTES..].chunks(LONGEST_RUN);
    parts.all(|part| part == &random[..part.len()]).then_some(head.row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_writes_put_the_same_value() {
        for bytes in [8, 15, 16, 17, 150, 16 << 10] {
            let mut seen = std::collections::BTreeSet::new();
            for _ in 0..3 {
                let mut value = Value::of(bytes);
                for _ in 0..50 {
                    assert!(seen.insert(value.row(7).to_vec()), "{bytes} bytes");
                }
            }
        }
    }

    #[test]
    fn a_reader_notices_another_row_another_length_and_another_byte() {
        for bytes in [8, 16, 150, 5 << 20] {
            let mut value = Value::of(bytes);
            let mut put = value.row(5).to_vec();
            assert!(is_of(5, &put, bytes) && !is_of(6, &put, bytes));
            assert!(!is_of(5, &put[..bytes - 1], bytes) && !is_of(5, &[], bytes));
            assert_eq!(is_whole(&put), Some(5));
            if bytes > 16 {
                *put.last_mut().unwrap() ^= 1;
                assert_eq!(is_whole(&put), None);
            }
        }
    }

    #[test]
    fn values_do_not_compress() {
        let mut value = Value::of(4096);
        let mut seen = [0u32; 256];
        for row in 0..50 {
            value.row(row)[16..].iter().for_each(|byte| seen[usize::from(*byte)] += 1);
        }
        let expected = 50.0 * 4080.0 / 256.0;
        let entropy = |count: &u32| (f64::from(*count) / expected - 1.0).abs() < 0.25;
        assert!(seen.iter().all(entropy), "{seen:?}");
    }
}
