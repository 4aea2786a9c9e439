//! Reads while others write, and holds snapshots, values and an iterator for a while: they must not
//! change.

use std::time::Duration;

use super::check::{CheckError, Verdict};
use super::witness::{Phase, Witness};
use super::workload::{KEYSPACES, Rng};
use crate::tools::torture::Clause;
use crate::{Error, Snapshot, Store};

/// Values held at a time.
const HELD: usize = 8;

/// Reads until the store is closed.
pub(super) fn read(store: &Store, witness: Witness, seed: u64) -> Result<(), CheckError> {
    let mut rng = Rng::new(seed);
    loop {
        match round(store, &mut rng) {
            Ok(()) => witness.has_read(),
            Err(CheckError::Refused(Error::Closed)) if witness.phase() >= Phase::Close => {
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
}

fn round(store: &Store, rng: &mut Rng) -> Result<(), CheckError> {
    let snapshot = store.snapshot()?;
    for name in KEYSPACES {
        let Some(keyspace) = store.open_keyspace(name)? else { continue };
        let before = sum(&snapshot, &keyspace)?;
        let mut entries = snapshot.iter(&keyspace)?;
        let mut held = Vec::new();
        for entry in entries.by_ref().take(HELD) {
            let entry = entry?;
            let copy = (entry.key().to_vec(), entry.value().to_vec());
            held.push((entry, copy));
        }
        std::thread::sleep(Duration::from_micros(rng.magnitude(2000)));
        for (entry, (key, value)) in &held {
            if (entry.key(), entry.value()) != (&key[..], &value[..]) {
                return wrong(format!(
                    "a value of {:?} changed while it was held",
                    key.escape_ascii().to_string()
                ));
            }
        }
        let mut rest = 0;
        for entry in entries {
            entry?;
            rest += 1;
        }
        let after = sum(&snapshot, &keyspace)?;
        let iterated = held.len() as u64 + rest;
        if before != after || before.0 != iterated {
            return wrong(format!(
                "a snapshot of {name:?} showed {before:?} (keys, hash), then {after:?}; its iterator showed \
                 {iterated} entries"
            ));
        }
    }
    Ok(())
}

/// The number of keys, and a hash of all entries.
fn sum(snapshot: &Snapshot, keyspace: &crate::Keyspace) -> Result<(u64, u64), Error> {
    let (mut keys, mut hash) = (0, 0u64);
    let mut entries = snapshot.iter(keyspace)?;
    while let Some((key, value)) = entries.next_ref()? {
        let of_key = u64::from(crc32fast::hash(key)) << 32;
        hash = hash.rotate_left(7) ^ of_key ^ u64::from(crc32fast::hash(value));
        keys += 1;
    }
    Ok((keys, hash))
}

fn wrong(title: String) -> Result<(), CheckError> {
    Err(CheckError::Wrong(Verdict::new(Clause::Answers, title)))
}
