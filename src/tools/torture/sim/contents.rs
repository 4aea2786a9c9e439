//! Keys, values and the hash of a store's contents, cheap enough to compare millions of states.
//!
//! A value follows from its stamp. No two commits of a run share a stamp, so a value identifies the
//! commit that wrote it. The hash of the contents is the sum of the hashes of all keyspaces and entries:
//! each change updates it, and one scan computes that of a recovered store.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::engine::base::random::mix;
use crate::{Result, Store};

/// A keyspace, by number.
pub(crate) type KeyspaceNo = u16;
/// A key, by number.
pub(crate) type KeyNo = u16;

/// The name of a keyspace.
pub(crate) fn keyspace_name(number: KeyspaceNo) -> String {
    format!("k{number}")
}

/// The key of this number. Some keys are long, and some share a prefix.
pub(crate) fn key(number: KeyNo) -> Vec<u8> {
    let n = u64::from(number);
    match number % 5 {
        0 | 1 => format!("user/{n:04}").into_bytes(),
        2 => format!("user/{:02}/orders/of/the/day/{n}", n % 16).into_bytes(),
        3 => n.to_be_bytes()[6..].to_vec(),
        _ => {
            let mut key = vec![b'l'; 40 + (n as usize * 7) % 200];
            key.extend_from_slice(&n.to_be_bytes());
            key
        }
    }
}

/// A value, in short: it follows from these fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    /// Unique within the run.
    pub(crate) id: u32,
    /// The length in bytes.
    pub(crate) bytes: u32,
}

impl Stamp {
    /// Appends the value to `to`.
    pub(crate) fn write(self, to: &mut Vec<u8>) {
        let start = to.len();
        let mut word = u64::from(self.id) | 1 << 40;
        while to.len() - start < self.bytes as usize {
            to.extend_from_slice(&word.to_le_bytes());
            word = word.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(u64::from(self.id));
        }
        to.truncate(start + self.bytes as usize);
    }

    /// The value.
    pub(crate) fn value(self) -> Vec<u8> {
        let mut value = Vec::with_capacity(self.bytes as usize + 8);
        self.write(&mut value);
        value
    }
}

/// The contents of a store, with their hash.
#[derive(Clone, Debug, Default)]
pub(crate) struct Contents {
    pub(crate) keyspaces: BTreeMap<KeyspaceNo, BTreeMap<KeyNo, (Stamp, u64)>>,
    pub(crate) hash: u64,
}

impl Contents {
    pub(crate) fn create(&mut self, keyspace: KeyspaceNo) {
        self.keyspaces.insert(keyspace, BTreeMap::new());
        self.hash = self.hash.wrapping_add(keyspace_hash(&keyspace_name(keyspace)));
    }

    pub(crate) fn drop_keyspace(&mut self, keyspace: KeyspaceNo) {
        let entries = self.keyspaces.remove(&keyspace).expect("an existing keyspace");
        let gone = entries.values().fold(0u64, |sum, (_, hash)| sum.wrapping_add(*hash));
        let name = keyspace_hash(&keyspace_name(keyspace));
        self.hash = self.hash.wrapping_sub(gone).wrapping_sub(name);
    }

    pub(crate) fn put(&mut self, keyspace: KeyspaceNo, number: KeyNo, stamp: Stamp) {
        let seed = keyspace_hash(&keyspace_name(keyspace));
        let hash = entry_hash(seed, &key(number), &stamp.value());
        let entries = self.keyspaces.get_mut(&keyspace).expect("an existing keyspace");
        let old = entries.insert(number, (stamp, hash)).map_or(0, |(_, old)| old);
        self.hash = self.hash.wrapping_add(hash).wrapping_sub(old);
    }

    pub(crate) fn delete(&mut self, keyspace: KeyspaceNo, number: KeyNo) {
        let entries = self.keyspaces.get_mut(&keyspace).expect("an existing keyspace");
        if let Some((_, old)) = entries.remove(&number) {
            self.hash = self.hash.wrapping_sub(old);
        }
    }

    /// The bytes that the entries take, in leaves and out of line.
    pub(crate) fn live(&self, inline: u64) -> Live {
        let mut live = Live { keyspaces: self.keyspaces.len() as u64, ..Live::default() };
        for (number, (stamp, _)) in self.keyspaces.values().flatten() {
            let bytes = u64::from(stamp.bytes);
            live.in_leaves += key(*number).len() as u64;
            match bytes > inline {
                true => live.long.push(bytes),
                false => live.in_leaves += bytes,
            }
        }
        live
    }

    /// The number of keys in all keyspaces.
    pub(crate) fn keys(&self) -> u64 {
        self.keyspaces.values().map(|entries| entries.len() as u64).sum()
    }
}

/// The amount of data that a store must keep.
#[derive(Clone, Debug, Default)]
pub(crate) struct Live {
    pub(crate) keyspaces: u64,
    /// Bytes of keys and inline values.
    pub(crate) in_leaves: u64,
    /// The lengths of the values that are out of line.
    pub(crate) long: Vec<u64>,
}

/// The hash of the contents that `store` shows now, and the number of keys.
pub(crate) fn hash_of(store: &Store) -> Result<(u64, u64)> {
    let (mut hash, mut keys) = (0u64, 0);
    for name in store.keyspaces() {
        let seed = keyspace_hash(&name);
        hash = hash.wrapping_add(seed);
        let Some(keyspace) = store.open_keyspace(&name)? else { continue };
        let mut entries = keyspace.iter()?;
        while let Some((key, value)) = entries.next_ref()? {
            hash = hash.wrapping_add(entry_hash(seed, key, value));
            keys += 1;
        }
    }
    Ok((hash, keys))
}

pub(crate) fn keyspace_hash(name: &str) -> u64 {
    mix(u64::from(crc32fast::hash(name.as_bytes())) | 1 << 33)
}

pub(crate) fn entry_hash(seed: u64, key: &[u8], value: &[u8]) -> u64 {
    let (key_crc, value_crc) = (crc32fast::hash(key), crc32fast::hash(value));
    let lengths = (key.len() as u64) << 32 | value.len() as u64;
    mix(seed ^ mix(u64::from(key_crc) << 32 | u64::from(value_crc)) ^ lengths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::disk::SimDisk;
    use crate::{Options, WriteBatch};
    use std::sync::Arc;

    #[test]
    fn a_scan_finds_the_hash_that_the_changes_made() {
        let options = Options::new().cache_bytes(1 << 20).page_bytes(4096).without_threads();
        let store = options.open_on(Arc::new(SimDisk::new())).unwrap();
        let mut contents = Contents::default();
        for number in 0..3 {
            store.create_keyspace(&keyspace_name(number)).unwrap();
            contents.create(number);
        }
        let keyspace = store.keyspace(&keyspace_name(1)).unwrap();
        let mut batch = WriteBatch::new();
        for number in 0..100 {
            let stamp = Stamp { id: u32::from(number) + 7, bytes: u32::from(number) * 29 };
            batch.put(&keyspace, key(number % 70), stamp.value());
            contents.put(1, number % 70, stamp);
        }
        batch.delete(&keyspace, key(3));
        contents.delete(1, 3);
        store.write(batch).unwrap();
        assert_eq!(hash_of(&store).unwrap(), (contents.hash, 69));
        assert_eq!(contents.keys(), 69);
        store.drop_keyspace("k1").unwrap();
        contents.drop_keyspace(1);
        assert_eq!(hash_of(&store).unwrap(), (contents.hash, 0));
        let keys: std::collections::HashSet<_> = (0..1000).map(key).collect();
        assert_eq!(keys.len(), 1000, "no two keys are the same");
    }
}
