//! Commits to a store larger than its cache, on a device whose reads fail.

mod support;

use std::sync::Arc;

use support::options;
use syncline::disk::{Fault, FaultError, Op, Persistence, SimDisk};
use syncline::{CommitMode, Error, Result, WriteBatch};

/// A commit reads the pages that it needs before its record is in the log.
#[test]
fn a_failed_read_refuses_the_commit_and_does_not_poison_the_store() {
    let disk = SimDisk::new();
    let long = |n: u32| vec![n as u8; if n.is_multiple_of(9) { 60_000 } else { 700 }];
    let key = |n: u32| (n * 7919 % 3000).to_be_bytes();
    let open = || options().segment_bytes(1 << 20).open_on(Arc::new(disk.clone())).unwrap();
    {
        let (store, mut batch) = (open(), WriteBatch::new());
        let rows = store.create_keyspace("rows").unwrap();
        for n in 0..3000 {
            batch.put(&rows, key(n), long(n));
            if n.is_multiple_of(50) {
                store.write(std::mem::take(&mut batch)).unwrap();
            }
        }
        store.write(batch).unwrap();
        store.close().unwrap();
    }
    let store = open();
    let rows = store.keyspace("rows").unwrap();
    rows.put(b"first", b"of this life").unwrap();
    let mut refused = 0;
    for n in 0..600_u32 {
        let commit = || -> Result<()> {
            match n % 5 {
                0 => rows.delete_with(key(n * 31), CommitMode::Async).map(drop),
                1 => rows.put_with(key(n * 17), long(n), CommitMode::Async).map(drop),
                2 => {
                    let mut batch = WriteBatch::new();
                    for m in 0..12 {
                        batch.put(&rows, key(n * 13 + m * 101), long(n + m));
                        batch.delete(&rows, key(n * 11 + m * 211));
                    }
                    store.write(batch).map(drop)
                }
                // More rows than a quarter of the cache's frames.
                3 => {
                    let mut batch = WriteBatch::new();
                    (0..100).for_each(|m| batch.put(&rows, key(n + m * 29), b"short"));
                    store.write(batch).map(drop)
                }
                _ => store.create_keyspace(&format!("of {n}")).map(drop),
            }
        };
        let (op, error, persistence) = (Op::Read, FaultError::Io, Persistence::Forever);
        disk.fail(Fault { op, after: u64::from(n % 3), error, persistence });
        match commit() {
            Ok(()) => {}
            Err(Error::Io { .. }) => refused += 1,
            Err(error) => panic!("commit {n}: {error}"),
        }
        disk.clear_faults();
        commit()
            .or_else(|error| match error {
                Error::KeyspaceExists { .. } if n % 5 == 4 => Ok(()),
                error => Err(error),
            })
            .unwrap();
    }
    assert!(refused > 100, "{refused} commits");
    assert!(store.verify().unwrap().is_clean());
}
