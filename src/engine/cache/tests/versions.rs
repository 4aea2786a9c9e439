//! Tests of which version a reader sees, and how long it is kept (CACHE-1 to CACHE-3).

use super::*;

#[test]
fn a_reader_sees_the_newest_version_at_or_below_its_lsn() {
    let rig = Rig::new();
    let ids = rig.create(2);
    let snapshots: Vec<_> = (1..=5)
        .map(|value| {
            rig.put(&ids, value);
            (value, rig.cache.snapshot())
        })
        .collect();
    rig.put(&ids[..1], 6);
    for (value, snapshot) in &snapshots {
        assert_eq!(rig.get(ids[0], snapshot.lsn()).unwrap(), *value);
        assert_eq!(rig.get(ids[1], snapshot.lsn()).unwrap(), *value);
    }
    assert_eq!(rig.get(ids[0], rig.cache.visible()).unwrap(), 6);
}

#[test]
fn a_snapshot_keeps_what_it_needs_and_no_more() {
    let rig = Rig::new();
    let ids = rig.create(3);
    let old = rig.cache.snapshot();
    (1..=4).for_each(|value| _ = rig.put(&ids, value));
    assert_eq!(rig.cache.stats().old_versions, 3, "one of each page");
    let new = rig.cache.snapshot();
    assert_eq!(rig.cache.stats().old_versions, 3, "the newest is in the table");
    (5..=9).for_each(|value| _ = rig.put(&ids[..2], value));
    assert_eq!(rig.cache.stats().old_versions, 5);
    let again = new.clone();
    drop(new);
    assert_eq!(rig.cache.stats().old_versions, 5, "a clone holds them");
    assert_eq!(rig.get(ids[0], again.lsn()).unwrap(), 4);
    drop(old);
    assert_eq!(rig.cache.stats().old_versions, 2);
    assert_eq!(rig.get(ids[0], again.lsn()).unwrap(), 4);
    drop(again);
    assert_eq!(rig.cache.stats().old_versions, 0);
}

#[test]
fn a_version_between_two_snapshots_goes_at_once() {
    let rig = Rig::new();
    let ids = rig.create(1);
    let first = rig.cache.snapshot();
    rig.put(&ids, 1);
    let second = rig.cache.snapshot();
    let third = rig.cache.snapshot();
    rig.put(&ids, 2);
    drop(second);
    rig.put(&ids, 3); // nobody ever saw 2
    assert_eq!(rig.cache.stats().old_versions, 2);
    drop(third);
    assert_eq!(rig.cache.stats().old_versions, 1);
    assert_eq!(rig.get(ids[0], first.lsn()).unwrap(), 0);
}

#[test]
fn superseded_frames_are_reused() {
    let rig = Rig::new();
    let ids = rig.create(4);
    for value in 0..1000 {
        rig.put(&ids, value);
        rig.settle();
    }
    assert_eq!(rig.cache.stats().evictions, 0, "64 frames are enough for 4 pages");
    assert_eq!(rig.cache.stats().dirty_pages, 4);
}

#[test]
fn a_pinned_page_outlives_its_retirement() {
    let rig = Rig::new();
    let ids = rig.create(1);
    rig.put(&ids, 7);
    let pinned = {
        let guard = rig.cache.pin();
        rig.cache.keep(rig.cache.page(ids[0], rig.cache.visible(), &guard).ok().unwrap())
    };
    let copy = pinned.clone();
    (0..500).for_each(|value| _ = rig.put(&ids, value));
    rig.settle();
    assert_eq!(value(pinned.bytes()), 7);
    drop(pinned);
    assert_eq!(value(copy.bytes()), 7);
    let free = rig.cache.arena.available();
    drop(copy);
    assert_eq!(rig.cache.arena.available(), free + 1, "the last pin frees it");
}

#[test]
fn a_pinned_reader_keeps_the_versions_that_it_may_find() {
    let rig = Rig::new();
    let ids = rig.create(2);
    rig.put(&ids, 1);
    let guard = rig.cache.pin();
    let at = rig.cache.visible();
    let page = rig.cache.page(ids[0], at, &guard).ok().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (2..20).for_each(|value| _ = rig.put(&ids, value));
            rig.settle();
        });
    });
    assert_eq!(value(page.bytes()), 1);
    // The reader is not registered, but reaches all versions along the chain.
    let other = rig.cache.page(ids[1], at, &guard).ok().unwrap();
    assert_eq!(value(other.bytes()), 1);
}

#[test]
fn versions_kept_for_a_late_registration_are_dropped() {
    // Registering reads `visible` twice. A writer that publishes in between finds an entry that is then
    // taken back. One thread registers, the other writes.
    let rig = Rig::new();
    let ids = rig.create(2);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| (0..20_000).for_each(|value| _ = rig.put(&ids, value)));
        while !writer.is_finished() {
            drop(rig.cache.snapshot());
        }
    });
    assert_eq!(rig.cache.stats().old_versions, 0);
}

#[test]
fn a_page_id_is_not_reused_under_a_reader() {
    let rig = Rig::new();
    let ids = rig.create(1);
    rig.checkpoint();
    let guard = rig.cache.pin();
    let at = rig.cache.visible();
    rig.free(ids[0]);
    rig.checkpoint();
    let fresh = rig.create(3);
    assert!(!fresh.contains(&ids[0]), "a reader as of {at} may still follow the id");
    drop(guard);
    rig.settle();
    assert_eq!(rig.create(1), ids, "now the id is free");
}

#[test]
fn a_freed_page_stays_for_an_older_snapshot() {
    let rig = Rig::new();
    let ids = rig.create(2);
    rig.put(&ids, 5);
    rig.checkpoint();
    let snapshot = rig.cache.snapshot();
    rig.free(ids[0]);
    rig.checkpoint();
    assert_eq!(rig.get(ids[0], snapshot.lsn()).unwrap(), 5);
    while rig.cache.evict(64).unwrap() > 0 {}
    assert_eq!(rig.get(ids[0], snapshot.lsn()).unwrap(), 5, "from the disk");
    rig.assert_blocks(1);
    drop(snapshot);
    rig.checkpoint();
    rig.assert_blocks(0);
    assert!(!rig.cache.exists(ids[0]).unwrap());
}

/// A replay takes no second frame for a page that it changes, and frees no extent that the last
/// checkpoint owns.
#[test]
fn without_readers_a_page_is_changed_in_place() {
    let rig = Rig::new();
    let ids = rig.create(3);
    rig.checkpoint();
    let checkpointed = rig.reopen();
    for rig in [&rig, &checkpointed] {
        let first = rig.get(ids[0], rig.cache.visible()).unwrap();
        let available = rig.cache.arena.available();
        let mut state = rig.state.lock();
        for value in 1..=3 {
            let lsn = Lsn::new(rig.cache.visible().get() + 10);
            let mut group =
                WriteGroup::begin_with(&rig.cache, &mut state.writer, lsn, Readers::None);
            put(&mut group, ids[0], first + value);
            group.publish();
        }
        drop(state);
        assert_eq!(rig.get(ids[0], rig.cache.visible()).unwrap(), first + 3);
        assert_eq!(rig.cache.arena.available(), available);
        assert_eq!(rig.cache.stats().dirty_pages, 1);
    }
    // Nothing was written: the checkpoint's page is still there.
    assert_eq!(rig.reopen().get(ids[0], rig.reopen().cache.visible()).unwrap(), 0);
}

/// CACHE-7, with each kind of reader.
#[test]
fn a_page_is_changed_in_place_only_while_nobody_can_read_it() {
    let rig = Rig::new();
    let ids = rig.create(2);
    rig.put(&ids, 1);
    let (at, in_place) = rig.put_alone(ids[0], 2);
    assert!(in_place, "there is no reader");
    assert_eq!(rig.get(ids[0], at).unwrap(), 2);

    // A snapshot sees the version at its LSN.
    let snapshot = rig.cache.snapshot();
    assert!(!rig.put_alone(ids[0], 3).1);
    assert_eq!(rig.get(ids[0], snapshot.lsn()).unwrap(), 2);
    // It does not need later versions. Whether it needs a version is decided per page.
    assert!(rig.put_alone(ids[0], 4).1);
    assert!(rig.put_all_alone(&ids, 5).1, "one of the pages is copied");
    assert_eq!(ids.iter().map(|id| rig.get(*id, snapshot.lsn()).unwrap()).sum::<u64>(), 2 + 1);
    let later = rig.cache.snapshot();
    assert!(!rig.put_all_alone(&ids, 6).1);
    assert_eq!(rig.get(ids[0], later.lsn()).unwrap(), 5);
    assert_eq!(rig.get(ids[0], snapshot.lsn()).unwrap(), 2);
    drop((snapshot, later));
    assert_eq!(rig.cache.stats().old_versions, 0);
    assert!(rig.put_all_alone(&ids, 4).1);

    // A pinned page does not change; other pages may.
    let pinned = {
        let guard = rig.cache.pin();
        rig.cache.keep(rig.cache.page(ids[0], rig.cache.visible(), &guard).ok().unwrap())
    };
    assert!(rig.put_alone(ids[1], 5).1);
    assert!(!rig.put_alone(ids[0], 5).1);
    assert_eq!(value(pinned.bytes()), 4);
    drop(pinned);

    // A guard in the writer's own thread: it may be in the middle of a read.
    let guard = rig.cache.pin();
    assert!(!rig.put_alone(ids[0], 6).1);
    drop(guard);

    // A guard in another thread.
    let (pinned, is_pinned) = std::sync::mpsc::channel();
    let (leave, may_leave) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let rig = &rig;
        scope.spawn(move || {
            let _guard = rig.cache.pin();
            pinned.send(()).unwrap();
            may_leave.recv().unwrap();
        });
        is_pinned.recv().unwrap();
        assert!(!rig.put_alone(ids[0], 7).1);
        leave.send(()).unwrap();
    });
    assert!(rig.put_alone(ids[0], 8).1);

    // After a change in place, the copy on disk is out of date.
    rig.checkpoint();
    assert!(rig.put_alone(ids[0], 9).1);
    rig.checkpoint();
    let reopened = rig.reopen();
    assert_eq!(reopened.get(ids[0], reopened.cache.visible()).unwrap(), 9);
}

#[test]
fn page_ids_end_at_two_to_the_29_and_free_ids_are_reused() {
    let rig = Rig::new();
    rig.cache.skip_page_ids(PageId((1 << 29) - 2));
    let ids = rig.create(2);
    assert_eq!(ids.iter().map(|id| id.0).collect::<Vec<_>>(), [(1 << 29) - 2, (1 << 29) - 1]);
    let refused = rig.cache.new_page_id();
    assert!(matches!(refused, Err(Error::DiskFull { .. })), "{refused:?}");
    rig.put(&ids, 7);
    rig.checkpoint();
    rig.free(ids[0]);
    rig.checkpoint();
    rig.settle();
    assert_eq!(rig.create(1), ids[..1]);
    assert_eq!(rig.get(ids[1], rig.cache.visible()).unwrap(), 7);
    rig.checkpoint();
    rig.assert_blocks(0);
}
