//! Full disks, failing writes, rot, and foreign files.

use std::collections::BTreeSet;

use super::super::space::SpaceStats;
use super::super::superblock::Superblock;
use super::super::*;
use super::{Model, STORE, params};
use crate::engine::base::error::Error;
use crate::engine::base::lsn::{Incarnation, Life, LifeMark, Lsn, Secret, StoreId};
use crate::engine::base::random::SplitMix64;
use crate::engine::disk::{Disk, Fault, FaultError, Keep, Op, Persistence, SimDisk};
use crate::engine::log::LogRegistry;

#[test]
fn a_full_disk_leaves_the_old_checkpoint_and_heals() {
    let disk = SimDisk::new();
    let space = Space::create(&disk, params(4096)).unwrap();
    let (mut model, mut random) = (Model::default(), SplitMix64::new(3));
    let mut full = 0;
    disk.set_capacity(Some(256 << 10));
    for round in 0..200 {
        let busy = |stats: SpaceStats| stats.free.map(|free| stats.blocks - free);
        let before = busy(space.stats());
        let changes = random.changes(12);
        match model.checkpoint(&space, &changes) {
            Ok(()) => {}
            Err(Error::DiskFull { .. }) => {
                full += 1;
                let after = busy(space.stats());
                assert_eq!(after, before.or(after), "all given back");
                model.assert_is(&space, "full");
                let room = 4096 * random.below(8);
                disk.set_capacity(Some(space.stats().blocks * 4096 + room));
            }
            Err(error) => panic!("round {round}: {error}"),
        }
        if round % 20 == 0 {
            model.assert_is(&Space::open(&disk).unwrap(), "reopened");
        }
    }
    assert!(full > 10, "the disk was full {full} times");
    disk.set_capacity(None);
    model.checkpoint(&space, &random.changes(100)).unwrap();
    model.assert_is(&Space::open(&disk).unwrap(), "healed");
}

#[test]
fn a_failed_write_before_the_superblock_changes_nothing() {
    let disk = SimDisk::new();
    let space = Space::create(&disk, params(4096)).unwrap();
    let mut model = Model::default();
    model.checkpoint(&space, &[(1, Some(1)), (2, Some(2))]).unwrap();
    let free = space.stats().free;
    let changes = [(1, Some(3)), (2000, Some(4))];
    // The writes: two pages, and the page map (three pages in one run, perhaps with the free map's).
    // Each write fails in turn, until the superblock's turn comes.
    let mut failures = 0;
    for writes in 0.. {
        let (op, error) = (Op::Write, FaultError::Io);
        disk.fail(Fault { op, after: writes, error, persistence: Persistence::Once });
        match model.checkpoint(&space, &changes) {
            Err(Error::Io { .. }) => failures += 1,
            Err(Error::Poisoned { .. }) => break,
            other => panic!("{other:?}"),
        }
        disk.clear_faults();
        assert_eq!(space.stats().free, free);
        model.assert_is(&space, "failed write");
    }
    assert!(failures >= 3, "{failures}");
}

#[test]
fn a_superblock_that_finds_no_space_leaves_the_former_one() {
    for writes in 0.. {
        let disk = SimDisk::new();
        let space = Space::create(&disk, params(4096)).unwrap();
        let mut model = Model::default();
        model.checkpoint(&space, &[(1, Some(1)), (2, Some(2))]).unwrap();
        let (free, changes) = (space.stats().free, [(1, Some(3)), (2000, Some(4))]);
        let (op, error, persistence) = (Op::Write, FaultError::NoSpace, Persistence::Forever);
        disk.fail(Fault { op, after: writes, error, persistence });
        // A failed write may have written half of its bytes, which may hold all fields of a superblock.
        match model.checkpoint(&space, &changes) {
            Err(Error::DiskFull { .. }) => {}
            // Only the superblock's copy was not written.
            Ok(()) => {
                assert!(writes > 3, "{writes} writes");
                break;
            }
            Err(error) => panic!("write {writes}: {error}"),
        }
        assert_eq!(space.stats().free, free, "write {writes}");
        for keep in [Keep::Nothing, Keep::Everything] {
            let left = disk.fork(keep);
            left.clear_faults();
            model.assert_is(&Space::open(&left).unwrap(), "after a crash");
        }
        disk.clear_faults();
        model.checkpoint(&space, &changes).unwrap();
        model.assert_is(&Space::open(&disk).unwrap(), "healed");
    }
}

/// LOG-11.
#[test]
fn a_segment_whose_note_found_no_space_is_named_by_no_later_superblock() {
    let disk = SimDisk::new();
    let space = Space::create(&disk, params(4096)).unwrap();
    let (incarnation, mark) = (Incarnation::new(1), LifeMark(9));
    let life = Life { store: STORE, incarnation, mark, secret: Secret([5; 16]) };
    let head = Head { incarnation, mark, newest_segment: 2, clean: false, ..Head::EMPTY };
    space.write_head(head).unwrap();
    space.note_log(&life, 3, Lsn::new(1)).unwrap();
    let (op, error, persistence) = (Op::Write, FaultError::NoSpace, Persistence::Once);
    disk.fail(Fault { op, after: 0, error, persistence });
    let refused = space.note_log(&life, 4, Lsn::new(2));
    assert!(matches!(refused, Err(Error::DiskFull { .. })), "{refused:?}");
    space.write_head(space.superblock().head).unwrap();
    let found = Space::open(&disk).unwrap().superblock().head;
    assert_eq!((found.newest_segment, found.durable), (3, Lsn::new(2)));
    space.note_log(&life, 4, Lsn::new(2)).unwrap();
    assert_eq!(Space::open(&disk).unwrap().superblock().head.newest_segment, 4);
}

#[test]
fn any_flipped_bit_is_named_or_harmless() {
    let disk = SimDisk::new();
    let space = Space::create(&disk, params(4096)).unwrap();
    let mut model = Model::default();
    model.checkpoint(&space, &[(1, Some(1)), (600, Some(2))]).unwrap();
    model.checkpoint(&space, &[(2, Some(2))]).unwrap();
    let pages: BTreeSet<u64> = model.pages.values().map(|(addr, _)| addr.block()).collect();
    let (file, bytes) = (disk.open("data").unwrap(), 30 * 4096);
    let mut harmless = 0;
    for at in (0..bytes as u64).step_by(13).chain(0..256).chain(4096..4352) {
        if pages.contains(&(at / 4096)) {
            continue;
        }
        let mut byte = [0];
        file.read_at(at, &mut byte).unwrap();
        file.write_at(at, &[byte[0] ^ (1 << (at % 8))]).unwrap();
        let opened = Space::open(&disk).expect("one slot is whole");
        let problems = opened.verify(&mut |_, _| ()).unwrap().problems.into_list();
        if at < 8192 {
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(problems[0].contains("the spare superblock"), "byte {at}: {problems:?}");
        } else if problems.is_empty() {
            harmless += 1;
            model.assert_is(&opened, "harmless");
        } else {
            let offset = format!("corrupt at offset {}", at / 4096 * 4096);
            assert!(problems[0].contains(&offset), "byte {at}: {problems:?}");
            let error = match opened.map_leaf(0).and_then(|_| opened.map_leaf(1)) {
                Err(error) => error,
                Ok(_) => opened.allocate(1).expect_err("the free map is damaged"),
            };
            assert!(error.to_string().contains(&offset), "{error}");
        }
        file.write_at(at, &byte).unwrap();
    }
    assert!(harmless > 500);
    model.assert_is(&Space::open(&disk).unwrap(), "restored");
}

#[test]
fn a_file_cut_short_or_of_another_kind_is_refused() {
    let disk = SimDisk::new();
    let space = Space::create(&disk, params(8192)).unwrap();
    Model::default().checkpoint(&space, &[(1, Some(1))]).unwrap();
    let file = disk.open("data").unwrap();
    let mut whole = vec![0; file.bytes().unwrap() as usize];
    file.read_at(0, &mut whole).unwrap();
    for len in [0, 1, 4095, 8191, 8192, 100_000, whole.len() - 1] {
        let disk = SimDisk::new();
        disk.create("data", 0).unwrap().write_at(0, &whole[..len]).unwrap();
        match Space::open(&disk) {
            Err(Error::Corrupt { file, offset, expected, .. }) => {
                assert_eq!((&file[..], offset), (&disk.path("data")[..], len as u64));
                let what = if len < 8192 { "two superblocks" } else { "a data file of at least" };
                assert!(expected.starts_with(what), "{len}: {expected}");
            }
            other => panic!("{len}: {other:?}"),
        }
    }
    let with = |slot: usize, bytes: &[u8]| {
        let mut changed = whole.clone();
        changed[slot * 4096..slot * 4096 + bytes.len()].copy_from_slice(bytes);
        let disk = SimDisk::new();
        disk.create("data", 0).unwrap().write_at(0, &changed).unwrap();
        Space::open(&disk).map(|space| space.superblock()).map_err(|error| error.to_string())
    };
    let ours = space.superblock();
    let other = Superblock { store: StoreId([8; 16]), sequence: 99, ..ours };
    assert!(with(1, &other.encode()[..]).unwrap_err().contains("belongs to store 0808"));
    let mut newer = ours.encode();
    newer[12] = 3;
    let crc = crate::engine::base::codec::crc32(&[&newer[..8], &newer[12..]]);
    newer[8..12].copy_from_slice(&crc.to_le_bytes());
    assert!(with(0, &newer[..]).unwrap_err().contains("format version 3"));
    let twin = Superblock { segment_bytes: 2 << 20, ..ours };
    assert!(with(1, &twin.encode()[..]).unwrap_err().contains("the same superblock"));
    // The newer superblock is the store, in either slot.
    let next = Superblock { sequence: ours.sequence + 1, ..ours };
    for slot in 0..2 {
        assert_eq!(with(slot, &next.encode()[..]), Ok(next), "slot {slot}");
    }
    let both = [0x55; 8192];
    assert!(with(0, &both).unwrap_err().contains("magic SYNCDATA"));
    assert_eq!(with(0, &both[..4096]), Ok(ours));
    assert_eq!(with(1, &both[..4096]), Ok(ours));
}

/// A life makes the file longer and fails to flush it. The next life, started at once, finds the file
/// long: the length is only in the cache, and no flush would ever make it durable.
#[test]
fn a_length_that_an_earlier_life_failed_to_flush_is_not_trusted() {
    for page_size in [4096, 8192] {
        let disk = SimDisk::new();
        let space = Space::create(&disk, params(page_size)).unwrap();
        let mut model = Model::default();
        model.checkpoint(&space, &[(1, Some(1))]).unwrap();
        let before = space.superblock().blocks;
        let many: Vec<_> = (1..100).map(|id| (id, Some(id))).collect();
        disk.fail_sync(0);
        assert!(matches!(model.checkpoint(&space, &many), Err(Error::Poisoned { .. })));
        assert!(space.stats().blocks > before, "it has grown");
        drop(space);

        let space = Space::open(&disk).unwrap();
        space.forget_cached(); // as a recovery does
        assert_eq!(space.stats().blocks, before, "the superblock's length");
        model.checkpoint(&space, &many).unwrap();
        assert!(space.superblock().blocks > before);
        for keep in [Keep::Nothing, Keep::Seeded(1), Keep::Seeded(2)] {
            model.assert_is(&Space::open(&disk.fork(keep)).unwrap(), "after a power loss");
        }
    }
}

/// DATAFILE-4: a later flush of the directory does not make the name durable.
#[test]
fn a_data_file_whose_name_could_not_be_flushed_is_created_again() {
    let disk = SimDisk::new();
    let (op, error) = (Op::SyncDir, FaultError::Io);
    disk.fail(Fault { op, after: 0, error, persistence: Persistence::Once });
    Space::create(&disk, params(4096)).unwrap_err();
    let space = Space::create(&disk, params(4096)).unwrap();
    let mut model = Model::default();
    model.checkpoint(&space, &[(1, Some(1))]).unwrap();
    model.assert_is(&Space::open(&disk.fork(Keep::Nothing)).unwrap(), "after a power loss");
}
