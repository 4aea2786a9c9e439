//! Helpers of several test programs.
#![allow(dead_code, reason = "no program needs all of it")]

pub(crate) mod random;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use syncline::disk::SimDisk;
use syncline::{Error, Options, Result, Store};

/// The contents of a store: keyspaces, keys, values.
pub(crate) type Contents = BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>;

/// Options of a small store without threads, whose cache and segments are soon full.
pub(crate) fn options() -> Options {
    Options::new()
        .cache_bytes(1 << 20)
        .page_bytes(4096)
        .segment_bytes(64 << 10)
        .without_threads()
        .store_id([7; 16])
}

pub(crate) fn open(disk: &SimDisk) -> Result<Store> {
    options().open_on(Arc::new(disk.clone()))
}

/// The seed in the environment variable `SYNCLINE_SEED`, or one from the clock.
pub(crate) fn seed() -> u64 {
    match std::env::var("SYNCLINE_SEED") {
        Ok(seed) => seed.parse().expect("SYNCLINE_SEED is a number"),
        Err(_) => SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64,
    }
}

/// Everything in the store, read with iterators and again key by key.
pub(crate) fn read_all(store: &Store) -> Result<Contents> {
    let mut contents = Contents::new();
    for name in store.keyspaces() {
        let Some(keyspace) = store.open_keyspace(&name)? else { continue };
        let mut entries = BTreeMap::new();
        for entry in keyspace.iter()? {
            let (key, value) = entry?.into_pair();
            let looked_up = keyspace.get(&key)?;
            assert_eq!(looked_up.as_deref(), Some(&value[..]), "get and iter disagree");
            entries.insert(key, value);
        }
        contents.insert(name, entries);
    }
    Ok(contents)
}

/// Asserts that every keyspace reports the right number of keys.
pub(crate) fn assert_counts(store: &Store, contents: &Contents) {
    for (name, entries) in contents {
        let keyspace = store.keyspace(name).unwrap();
        assert_eq!(keyspace.len().unwrap(), entries.len() as u64, "the count of {name:?}");
    }
}

/// Asserts that `verify` finds nothing wrong.
pub(crate) fn assert_sound(store: &Store) {
    let found = store.verify().expect("verify runs");
    assert!(found.is_clean(), "{found:#?}");
}

pub(crate) fn named_file(error: &Error) -> Option<&str> {
    match error {
        Error::Io { file, .. }
        | Error::DiskFull { file, .. }
        | Error::Corrupt { file, .. }
        | Error::Missing { file, .. }
        | Error::Version { file, .. }
        | Error::WrongStore { file, .. }
        | Error::ReadOnly { file, .. } => Some(file),
        Error::Poisoned { source, .. } => named_file(source),
        _ => None,
    }
}

/// Copies the files of a directory, as a kill at this moment would leave them.
pub(crate) fn copy(from: &std::path::Path, to: &std::path::Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
