//! The main path, end to end.
use std::sync::Arc;
use syncline::disk::{Keep, SimDisk};
use syncline::{CommitMode, Options, Status, Store, WriteBatch};

#[test]
fn put_close_open_get() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let users = store.keyspace("users").unwrap();
    users.put("ada", "1815").unwrap();
    for i in 0..20000u32 {
        users.put_with(i.to_be_bytes(), vec![i as u8; 150], CommitMode::Async).unwrap();
    }
    assert_eq!(users.len().unwrap(), 20001);
    assert!(store.verify().unwrap().problems.is_empty(), "{:?}", store.verify());
    drop(users);
    store.close().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let users = store.keyspace("users").unwrap();
    assert!(store.stats().recovery.was_clean);
    assert_eq!(users.get("ada").unwrap().unwrap(), *b"1815");
    assert_eq!(users.len().unwrap(), 20001);
    assert_eq!(users.iter().unwrap().count(), 20001);
    for i in 0..20000u32 {
        assert_eq!(users.get(i.to_be_bytes()).unwrap().unwrap(), vec![i as u8; 150]);
        if i % 3 != 0 {
            users.delete_with(i.to_be_bytes(), CommitMode::Async).unwrap();
        }
    }
    users.put("big", vec![7; 5 << 20]).unwrap();
    assert_eq!(users.get("big").unwrap().unwrap(), vec![7; 5 << 20]);
    let found = store.verify().unwrap();
    assert!(found.is_clean(), "{found:?}");
    store.checkpoint().unwrap();
    let found = store.verify().unwrap();
    assert!(found.is_clean(), "{found:?}");
    assert_eq!(store.stats().watermarks.checkpoint, store.watermarks().durable);
}

#[test]
fn crash_and_recover() {
    let disk = SimDisk::new();
    let options = || {
        Options::new()
            .cache_bytes(1 << 20)
            .segment_bytes(64 << 10)
            .without_threads()
            .store_id([1; 16])
    };
    let store = options().open_on(Arc::new(disk.clone())).unwrap();
    let ks = store.keyspace("k").unwrap();
    ks.put("sync", "1").unwrap();
    let receipt = ks.put_with("async", "2", CommitMode::Async).unwrap();
    let mut batch = WriteBatch::new();
    for i in 0..3000u32 {
        batch.put(&ks, i.to_le_bytes(), [5; 100]);
    }
    let last = store.write_with(batch, CommitMode::Async).unwrap();
    let killed = disk.fork(Keep::Everything);
    let lost = disk.crash(Keep::Nothing);
    for (disk, all) in [(killed, true), (lost, false)] {
        let store = options().open_on(Arc::new(disk)).unwrap();
        let ks = store.keyspace("k").unwrap();
        assert_eq!(ks.get("sync").unwrap().unwrap(), *b"1");
        assert_eq!(ks.get("async").unwrap().is_some(), all);
        assert_eq!(ks.len().unwrap(), if all { 3002 } else { 1 });
        let status = store.status(&receipt.token()).unwrap();
        assert_eq!(status, if all { Status::Durable } else { Status::Lost });
        assert_eq!(store.status(&last.token()).unwrap(), status);
        let found = store.verify().unwrap();
        assert!(found.is_clean(), "{found:?}");
        println!("{:?}", store.stats());
    }
}
