//! Random keys, values and commits.

use std::sync::Arc;

use crate::model::{Change, State};
use crate::random::SplitMix64;

/// How many different keys there are.
const KEYS: u64 = 700;
/// The longest key that a store with pages of 4096 bytes takes.
const LONGEST_KEY: usize = 512;
/// The longest value in a leaf, the part of a longer value in one page, and the cache, in bytes.
const INLINE: u64 = 4096 / 4 - 64;
const PAGE: u64 = 4096 - 32;
const CACHE: u64 = 1 << 20;

pub(crate) fn key(rng: &mut SplitMix64) -> Vec<u8> {
    key_numbered(rng.below(KEYS))
}

/// Key number `n`: short or long, with a shared prefix or without; one key is empty.
fn key_numbered(n: u64) -> Vec<u8> {
    match n % 8 {
        _ if n == 0 => Vec::new(),
        0..3 => format!("user/{n:05}").into_bytes(),
        3 => format!("user/{:02}/orders/of/the/day/{n}", n % 32).into_bytes(),
        4 => n.to_be_bytes().to_vec(),
        5 => vec![(n >> 3) as u8],
        6 => {
            let mut key = vec![b'l'; LONGEST_KEY - (n as usize >> 3) % 40];
            let end = key.len() - 8;
            key[end..].copy_from_slice(&n.to_le_bytes());
            key
        }
        _ => [&[0xff; 4][..], &n.to_be_bytes()[4..]].concat(),
    }
}

/// A value that differs from all others.
pub(crate) fn value(rng: &mut SplitMix64) -> Arc<[u8]> {
    let bytes = match rng.below(100) {
        0 => 0,
        1..60 => rng.below(100),
        60..84 => rng.spread(100, 1200),
        84..92 => rng.spread(1200, 9000),
        92..98 => edge(rng),
        _ => rng.spread(9000, 300_000),
    };
    filled(rng.next(), bytes as usize)
}

/// A length at a border between two ways to store a value: the border, one more, or one less.
fn edge(rng: &mut SplitMix64) -> u64 {
    let around = *rng.pick(&[INLINE, PAGE, 2 * PAGE, 16 * PAGE, CACHE / 8]);
    around - 1 + rng.below(3)
}

fn small_value(rng: &mut SplitMix64) -> Arc<[u8]> {
    let bytes = rng.spread(1, 500);
    filled(rng.next(), bytes as usize)
}

fn filled(stamp: u64, bytes: usize) -> Arc<[u8]> {
    let mut value = Vec::with_capacity(bytes + 8);
    let mut word = stamp;
    while value.len() < bytes {
        value.extend_from_slice(&word.to_le_bytes());
        word = word.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(stamp | 1);
    }
    value.truncate(bytes);
    value.into()
}

/// The changes of one commit to the keyspaces of `state`, which has at least one.
pub(crate) fn changes(state: &State, crowded: Crowded, rng: &mut SplitMix64) -> Vec<Change> {
    let count = match rng.below(100) {
        0..45 => 1,
        45..75 => rng.spread(2, 12),
        75..96 => rng.spread(12, 120),
        _ => rng.spread(300, 1500),
    };
    let names: Vec<&String> = state.keys().collect();
    let home = rng.pick(&names).to_string();
    // In one keyspace or several, of few keys or many: independently of the size of the batch.
    let strays = *rng.pick(&[0, 0, 5]);
    let few = rng.once_in(3).then(|| rng.spread(1, 6));
    let deletes = if crowded == Crowded::Yes { 14 } else { *rng.pick(&[0, 2, 5, 10]) };
    // Neighbouring keys, or any keys.
    let mut next = rng.once_in(4).then(|| rng.below(KEYS));
    (0..count)
        .map(|_| {
            let is_stray = strays > 0 && rng.once_in(strays);
            let keyspace = if is_stray { rng.pick(&names).to_string() } else { home.clone() };
            let key = match (&mut next, few) {
                (_, Some(few)) => key_numbered(rng.below(few) * 8 + 1),
                (Some(at), None) => {
                    *at = (*at + 8) % KEYS;
                    key_numbered(*at)
                }
                (None, None) => key(rng),
            };
            if rng.below(16) < deletes {
                return Change::Delete { keyspace, key };
            }
            let is_small = count > 100 && !rng.once_in(50);
            let value = if is_small { small_value(rng) } else { value(rng) };
            Change::Put { keyspace, key, value }
        })
        .collect()
}

/// Whether the store is so large that it should shrink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crowded {
    Yes,
    No,
}
