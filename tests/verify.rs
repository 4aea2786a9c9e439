//! `Store::verify` reports all damage, and which numbers the damage makes unknown.

mod support;

use std::sync::Arc;

use support::{Contents, assert_sound, open, options, read_all};
use syncline::CommitMode;
use syncline::disk::SimDisk;

/// A closed store, with a tree of three levels, long values and free blocks.
fn closed() -> (SimDisk, Contents) {
    let disk = SimDisk::new();
    let store = open(&disk).unwrap();
    let (a, b) = (store.keyspace("a").unwrap(), store.keyspace("b").unwrap());
    for n in 0..300u32 {
        a.put_with(n.to_be_bytes(), vec![n as u8; n as usize], CommitMode::Async).unwrap();
        b.put_with(n.to_be_bytes(), vec![n as u8; 500], CommitMode::Async).unwrap();
    }
    a.put("long", vec![1; 30_000]).unwrap();
    store.checkpoint().unwrap();
    for n in 0..100u32 {
        b.delete((3 * n).to_be_bytes()).unwrap();
    }
    let contents = read_all(&store).unwrap();
    store.close().unwrap();
    (disk, contents)
}

/// Damage does not stop `verify`: it reports all other damage too, and counts the sound pages.
#[test]
fn verify_goes_on_past_damage_and_reports_all_of_it() {
    const PAGE: usize = 4096;
    let (disk, contents) = closed();
    let sound = disk.read_file("data");
    let keys: u64 = contents.values().map(|entries| entries.len() as u64).sum();
    let whole = open(&disk).unwrap().verify().unwrap();
    assert_eq!(whole.keys, keys);
    assert!(whole.free_blocks.is_some(), "known although nothing was written: {whole:?}");

    let (mut told, mut refused, mut unknown) = (0, 0, 0);
    let blocks = sound.len() / PAGE;
    for step in [1, 2, 5] {
        for first in 1..blocks.min(120) {
            let damaged: Vec<usize> = (0..3).map(|n| (first + n * step) % blocks).collect();
            let mut bytes = sound.clone();
            for block in &damaged {
                bytes[block * PAGE + 100] ^= 1;
            }
            disk.write_file("data", &bytes);
            // Damage to a page that opening needs is reported by the open.
            let opened = options().read_only().open_on(Arc::new(disk.clone()));
            let Ok(store) = opened else {
                refused += 1;
                continue;
            };
            let found = store.verify().unwrap();
            drop(store);
            for block in damaged.iter().map(|block| block * PAGE) {
                let is_used = !found_free(&disk, &sound, block);
                let is_told = found.problems.iter().any(|problem| {
                    problem.contains(&format!("corrupt at offset {block}:"))
                        || problem.contains(&format!("corrupt at offset {}:", block + 8))
                });
                assert_eq!(is_told, is_used, "{damaged:?}, {block}: {found:#?}");
            }
            let mut different = found.problems.clone();
            different.sort_unstable();
            different.dedup();
            assert_eq!(different.len(), found.problems.len(), "each is reported once: {found:#?}");
            told += found.problems.len();
            unknown += usize::from(found.free_blocks.is_none());
            assert!(found.keys <= keys);
        }
    }
    disk.write_file("data", &sound);
    assert!(told > 300 && refused > 0 && unknown > 0, "{told}, {refused}, {unknown}");
}

/// Whether the block at `offset` is free in the closed store.
fn found_free(disk: &SimDisk, sound: &[u8], offset: usize) -> bool {
    // If the block is in use, damage to it alone is found by `verify` or prevents the open.
    let now = disk.read_file("data");
    let mut alone = sound.to_vec();
    alone[offset + 100] ^= 1;
    disk.write_file("data", &alone);
    let opened = options().read_only().open_on(Arc::new(disk.clone()));
    let is_free = opened.is_ok_and(|store| store.verify().unwrap().is_clean());
    disk.write_file("data", &now);
    is_free
}

#[test]
fn verify_reports_a_damaged_spare_superblock() {
    for slot in [0, 4096] {
        let (disk, contents) = closed();
        disk.flip("data", slot + 60, 1);
        let store = options().read_only().open_on(Arc::new(disk.clone())).unwrap();
        assert_eq!(read_all(&store).unwrap(), contents);
        let found = store.verify().unwrap();
        assert_eq!(found.problems.len(), 1, "{found:#?}");
        assert!(found.problems[0].contains("the spare superblock"), "{found:#?}");
        drop(store);
        // Writing the next superblock repairs the slot.
        let store = open(&disk).unwrap();
        store.keyspace("a").unwrap().put("key", "value").unwrap();
        store.checkpoint().unwrap();
        assert_sound(&store);
    }
}
