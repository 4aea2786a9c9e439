//! Tests of a cache that is smaller than the pages that pass through it (CACHE-4).

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use super::*;
use crate::engine::cache::table::Word;
use crate::engine::disk::{Fault, FaultError, Op, Persistence};
use crate::engine::space::BLOB;

fn evict_all(rig: &Rig) {
    for _ in 0..8 {
        rig.cache.evict(FRAMES).unwrap();
        rig.settle();
    }
}

#[test]
fn a_clean_page_is_evicted_without_a_write_and_comes_back() {
    let rig = Rig::new();
    let ids = rig.create(10);
    rig.put(&ids, 3);
    rig.checkpoint();
    let written = rig.cache.stats().pages_written;
    evict_all(&rig);
    assert_eq!(rig.cache.stats().pages_written, written);
    assert_eq!(rig.absent(ids[4], rig.cache.visible()), Some(Absent::Newest(ids[4])));
    ids.iter().for_each(|id| assert_eq!(rig.get(*id, rig.cache.visible()).unwrap(), 3));
    assert_eq!(rig.cache.stats().misses, 10);
    rig.assert_blocks(0);
}

#[test]
fn a_dirty_page_is_written_before_it_is_evicted() {
    let rig = Rig::new();
    let ids = rig.create(10);
    for round in 1..20 {
        rig.put(&ids, round);
        assert_eq!(rig.cache.stats().dirty_pages, 10);
        evict_all(&rig);
        assert_eq!(rig.cache.stats().dirty_pages, 0);
        ids.iter().for_each(|id| assert_eq!(rig.get(*id, rig.cache.visible()).unwrap(), round));
    }
    rig.assert_blocks(10);
    rig.checkpoint();
    rig.assert_blocks(0);
    let rig = rig.reopen();
    ids.iter().for_each(|id| assert_eq!(rig.get(*id, rig.cache.visible()).unwrap(), 19));
}

#[test]
fn a_page_that_was_read_is_spared_once() {
    let rig = Rig::new();
    let ids = rig.create(40);
    rig.checkpoint();
    assert_eq!(rig.get(ids[3], rig.cache.visible()).unwrap(), 0);
    rig.cache.evict(39).unwrap();
    assert!(matches!(rig.cache.table.newest(ids[3]), Word::Resident(_)));
    assert!(matches!(rig.cache.table.newest(ids[4]), Word::OnDisk(_)));
    evict_all(&rig);
    assert!(matches!(rig.cache.table.newest(ids[3]), Word::OnDisk(_)));
}

#[test]
fn a_group_may_be_larger_than_the_cache() {
    let rig = Rig::new();
    let ids = rig.create(5 * FRAMES);
    rig.put(&ids, 1);
    let snapshot = rig.cache.snapshot();
    let (_, ()) = rig.group(|group| {
        for round in 2..5 {
            ids.iter().for_each(|id| put(group, *id, round));
        }
        // None of its pages is visible yet, evicted or not.
        let before = rig.cache.visible();
        ids[..8].iter().for_each(|id| assert_eq!(rig.get(*id, before).unwrap(), 1));
        assert_eq!(value(group.page(ids[0]).unwrap()), 4);
        let (a, b) = group.two(ids[0], ids[200]).unwrap();
        assert_eq!((value(a), value(b)), (4, 4));
        for pair in ids.chunks(2) {
            let (a, b) = group.two_mut(pair[0], pair[1]).unwrap();
            for page in [a, b] {
                put_u64(page, PAGE_HEADER, 5);
                put_u64(page, PAGE_BYTES as usize - 8, 5);
            }
        }
    });
    ids.iter().for_each(|id| assert_eq!(rig.get(*id, rig.cache.visible()).unwrap(), 5));
    ids.iter().for_each(|id| assert_eq!(rig.get(*id, snapshot.lsn()).unwrap(), 1));
    drop(snapshot);
    assert_eq!(rig.cache.stats().old_versions, 0);
    rig.checkpoint();
    rig.assert_blocks(0);
}

#[test]
fn a_snapshot_reads_on_while_a_large_group_sets_its_versions_aside() {
    // The versions move from the chain to the history; at no moment are they in neither.
    let rig = Rig::new();
    let ids = rig.create(2 * FRAMES);
    rig.put(&ids, 1);
    let snapshot = rig.cache.snapshot();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    for id in &ids {
                        assert_eq!(rig.get(*id, snapshot.lsn()).unwrap(), 1);
                    }
                }
            });
        }
        (2..12).for_each(|value| _ = rig.put(&ids, value));
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn spilled_history_is_read_back() {
    let rig = Rig::new();
    let ids = rig.create(30);
    rig.put(&ids, 1);
    let snapshot = rig.cache.snapshot();
    rig.put(&ids, 2);
    evict_all(&rig);
    while rig.cache.spill().unwrap() > 0 {}
    let at = snapshot.lsn();
    assert_eq!(rig.absent(ids[7], at), Some(Absent::Old(ids[7], at)));
    ids.iter().for_each(|id| assert_eq!(rig.get(*id, at).unwrap(), 1));
    // Spill again: a loaded version has a copy already.
    let written = rig.cache.stats().pages_written;
    while rig.cache.spill().unwrap() > 0 {}
    assert_eq!(rig.cache.stats().pages_written, written);
    ids.iter().for_each(|id| assert_eq!(rig.get(*id, at).unwrap(), 1));
    rig.checkpoint();
    rig.assert_blocks(30);
    drop(snapshot);
    rig.assert_blocks(0);
}

#[test]
fn a_draft_that_is_dropped_leaves_nothing() {
    for pages in [3, 300] {
        let rig = Rig::new();
        rig.create(1);
        rig.checkpoint();
        let (free, next) = (rig.cache.arena.available(), rig.cache.next_page_id());
        for _ in 0..3 {
            let mut draft = Draft::new(&rig.cache, pages, 0);
            for _ in 0..pages {
                draft.add(BLOB, 0, 8, |body| body.fill(1)).unwrap();
            }
            drop(draft);
        }
        assert_eq!(rig.cache.arena.available(), free);
        assert_eq!(rig.cache.next_page_id(), next + pages as u64, "ids are reused");
        rig.assert_blocks(0);
    }
}

/// A running call keeps evicted pages in their frames, since it may have found them.
#[test]
fn an_exhausted_cache_is_reported_until_calls_release_frames() {
    let rig = Rig::new();
    rig.create(FRAMES - 2);
    rig.checkpoint();
    rig.settle();
    let call = rig.cache.pin();
    let refused = rig.cache.make_room_for(8, 8);
    let is_told = |frames: u64| frames == rig.cache.frames();
    assert!(
        matches!(refused, Err(Error::CacheExhausted { frames }) if is_told(frames)),
        "{refused:?}"
    );
    assert!(refused.is_err_and(|error| error.is_retryable()));
    drop(call);
    rig.cache.make_room_for(8, 8).unwrap();
    assert!(rig.cache.arena.available() >= 8);
}

#[test]
fn a_draft_is_taken_in_and_freed_again() {
    for pages in [3, 300] {
        let rig = Rig::new();
        let mut draft = Draft::new(&rig.cache, pages, 0);
        let ids: Vec<_> = (0..pages)
            .map(|at| draft.add(BLOB, 0, 16, |body| body.fill(at as u8)).unwrap())
            .collect();
        draft.finish().unwrap();
        rig.group(|group| group.take_in(&mut draft));
        drop(draft);
        rig.checkpoint();
        rig.assert_blocks(0);
        rig.group(|group| ids.iter().for_each(|id| group.free(*id)));
        rig.checkpoint();
        rig.assert_blocks(0);
        ids.iter().for_each(|id| assert!(!rig.cache.exists(*id).unwrap()));
    }
}

#[test]
fn a_draft_that_cannot_be_written_leaves_nothing() {
    let rig = Rig::new();
    rig.create(1);
    rig.checkpoint();
    let next = rig.cache.next_page_id();
    rig.disk.fail(Fault {
        op: Op::Write,
        after: 1,
        error: FaultError::NoSpace,
        persistence: Persistence::Forever,
    });
    let mut draft = Draft::new(&rig.cache, 300, 0);
    let failed = (0..300).find_map(|_| draft.add(BLOB, 0, 8, |_| {}).err()).is_some();
    assert!(failed || draft.finish().is_err());
    drop(draft);
    rig.disk.clear_faults();
    rig.assert_blocks(0);
    let mut again = Draft::new(&rig.cache, 300, 0);
    for _ in 0..300 {
        again.add(BLOB, 0, 8, |_| {}).unwrap();
    }
    assert!(rig.cache.next_page_id() <= next + 300);
}

#[test]
fn reads_go_on_while_nothing_can_be_written() {
    let rig = Rig::new();
    let clean = rig.create(100);
    rig.checkpoint();
    evict_all(&rig);
    let dirty = rig.create(20);
    rig.disk.fail(Fault {
        op: Op::Write,
        after: 0,
        error: FaultError::NoSpace,
        persistence: Persistence::Forever,
    });
    for _ in 0..3 {
        for id in &clean {
            assert_eq!(rig.get(*id, rig.cache.visible()).unwrap(), 0);
        }
    }
    rig.disk.clear_faults();
    dirty.iter().for_each(|id| assert_eq!(rig.get(*id, rig.cache.visible()).unwrap(), 0));
}

#[test]
fn a_group_and_reads_take_memory_beyond_the_cache_while_nothing_can_be_written() {
    for error in [FaultError::NoSpace, FaultError::Io] {
        let rig = Rig::new();
        let ids = rig.create(4 * FRAMES);
        rig.checkpoint();
        let persistence = Persistence::Forever;
        rig.disk.fail(Fault { op: Op::Write, after: 0, error, persistence });
        for round in 1..3 {
            rig.put(&ids, round);
            ids.iter().for_each(|id| assert_eq!(rig.get(*id, rig.cache.visible()).unwrap(), round));
        }
        let beyond = rig.cache.arena.numbered() as usize;
        // Readers see the former versions until the group is visible.
        assert!((4 * FRAMES..9 * FRAMES).contains(&beyond), "{beyond} frames");
        rig.disk.clear_faults();
        rig.checkpoint();
        evict_all(&rig);
        rig.put(&ids[..FRAMES], 7); // uses up the writer's stash
        evict_all(&rig);
        assert_eq!(rig.cache.arena.numbered() as usize, FRAMES, "the system has its memory back");
        rig.checkpoint();
        let rig = rig.reopen();
        ids[FRAMES..]
            .iter()
            .for_each(|id| assert_eq!(rig.get(*id, rig.cache.visible()).unwrap(), 2));
    }
}

#[test]
fn a_read_that_fails_for_a_moment_fails_no_group() {
    let rig = Rig::new();
    let ids = rig.create(4 * FRAMES);
    rig.checkpoint();
    for after in 0..8 {
        let persistence = Persistence::Once;
        rig.disk.fail(Fault { op: Op::Read, after, error: FaultError::Io, persistence });
        rig.put(&ids, after);
        ids.iter().for_each(|id| assert_eq!(rig.get(*id, rig.cache.visible()).unwrap(), after));
    }
}

#[test]
fn a_read_needs_one_frame_beyond_a_cache_of_pages_that_cannot_be_written() {
    let rig = Rig::new();
    let ids = rig.create(4 * FRAMES);
    rig.checkpoint();
    let persistence = Persistence::Forever;
    rig.disk.fail(Fault { op: Op::Write, after: 0, error: FaultError::NoSpace, persistence });
    rig.put(&ids[..FRAMES], 1);
    let before = rig.cache.arena.numbered();
    for id in ids.iter().chain(&ids).chain(&ids) {
        rig.get(*id, rig.cache.visible()).unwrap();
    }
    let more = rig.cache.arena.numbered() - before;
    assert!(more <= 8, "{more} frames");
}

#[test]
fn a_failed_write_back_changes_nothing() {
    let rig = Rig::new();
    let ids = rig.create(20);
    rig.checkpoint();
    rig.put(&ids, 0);
    let snapshot = rig.cache.snapshot(); // of versions that have no copy on disk
    rig.put(&ids, 1);
    rig.disk.fail(Fault {
        op: Op::Write,
        after: 0,
        error: FaultError::Io,
        persistence: Persistence::Forever,
    });
    assert!(rig.cache.evict(FRAMES).is_err());
    assert!(rig.cache.spill().is_err());
    rig.disk.clear_faults();
    evict_all(&rig);
    ids.iter().for_each(|id| assert_eq!(rig.get(*id, rig.cache.visible()).unwrap(), 1));
    ids.iter().for_each(|id| assert_eq!(rig.get(*id, snapshot.lsn()).unwrap(), 0));
    drop(snapshot);
    rig.checkpoint();
    rig.assert_blocks(0);
}

#[test]
fn damage_on_disk_is_reported() {
    let rig = Rig::new();
    let ids = rig.create(1);
    rig.checkpoint();
    evict_all(&rig);
    let bytes = rig.disk.read_file("data");
    let page = PAGE_BYTES as usize;
    for at in (2 * page..bytes.len()).step_by(page) {
        rig.disk.flip("data", at as u64 + 100, 3);
    }
    assert!(is_corrupt(&rig.get(ids[0], rig.cache.visible())));
    let free = rig.cache.arena.available();
    assert!(is_corrupt(&rig.get(ids[0], rig.cache.visible())));
    assert_eq!(rig.cache.arena.available(), free);
}

#[test]
fn eviction_flushes_nothing() {
    let rig = Rig::new();
    let ids = rig.create(4 * FRAMES);
    rig.checkpoint();
    let persistence = Persistence::Forever;
    rig.disk.fail(Fault { op: Op::Sync, after: 0, error: FaultError::Io, persistence });
    for round in 1..4 {
        rig.put(&ids, round);
        evict_all(&rig);
    }
    ids.iter().for_each(|id| assert_eq!(rig.get(*id, rig.cache.visible()).unwrap(), 3));
}

/// The pages of long values all have LSN 0.
#[test]
fn a_page_freed_while_it_is_written_leaves_its_copy_to_no_later_page_with_its_id() {
    let rig = Arc::new(Rig::new());
    let newest = |rig: &Rig, id| format!("{:?}", rig.cache.table.newest(id));
    let long = |rig: &Rig, byte: u8| {
        let mut draft = Draft::new(&rig.cache, 1, 0);
        let whole = PAGE_BYTES as usize - PAGE_HEADER;
        let id = draft.add(BLOB, 0, whole, |body| body.fill(byte)).unwrap();
        draft.finish().unwrap();
        rig.group(|group| group.take_in(&mut draft));
        id
    };
    let id = long(&rig, 1);
    let was = newest(&rig, id);
    let (inside, is_done) = (Arc::clone(&rig), AtomicBool::new(false));
    rig.disk.watch(move |_, call| {
        if call.op != Op::Write || is_done.swap(true, SeqCst) {
            return;
        }
        // No snapshot is open: a checkpoint would remove the page now.
        inside.group(|group| group.free(id));
        inside.cache.remove(id).unwrap();
        for _ in 0..8 {
            inside.cache.pin().flush();
        }
        assert_eq!(long(&inside, 2), id, "the id is reused");
        assert_eq!(newest(&inside, id), was, "the frame is reused");
    });
    rig.cache.evict(FRAMES).unwrap();
    evict_all(&rig);
    assert_eq!(rig.get(id, rig.cache.visible()).unwrap(), u64::from_le_bytes([2; 8]), "CACHE-15");
}
