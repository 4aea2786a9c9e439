//! Tests of bounded costs: users' holds pin few frames (CACHE-9), and a dropped snapshot looks at few old
//! versions in any order (CACHE-10).

use super::*;

fn hold(rig: &Rig, hold: &mut Hold, id: PageId, at: Lsn) {
    loop {
        let absent = {
            let guard = rig.cache.pin();
            match rig.cache.page(id, at, &guard) {
                Ok(page) => return hold.take(page),
                Err(absent) => absent,
            }
        };
        rig.cache.load(absent).unwrap();
    }
}

#[test]
fn holds_beyond_an_eighth_of_the_frames_are_copies() {
    let rig = Rig::new();
    let ids = rig.create(2 * FRAMES);
    rig.put(&ids, 1);
    let snapshot = rig.cache.snapshot();
    let mut held: Vec<Hold> = ids.iter().map(|_| Hold::new(&rig.cache)).collect();
    for (hold_of, id) in held.iter_mut().zip(&ids) {
        assert!(hold_of.bytes().is_empty());
        hold(&rig, hold_of, *id, snapshot.lsn());
    }
    let copies = held.iter().filter(|held| held.is_copy()).count();
    assert_eq!(copies, 2 * FRAMES - FRAMES / 8);
    (2..20).for_each(|value| _ = rig.put(&ids, value));
    assert!(held.iter().all(|held| value(held.bytes()) == 1));

    // A hold with a pin may take other pages. When it is dropped, a hold with a copy can become a pin.
    let (pins, copied) = held.split_at_mut(FRAMES / 8);
    for hold_of in pins.iter_mut() {
        hold(&rig, hold_of, ids[0], snapshot.lsn());
        assert!(!hold_of.is_copy());
    }
    hold(&rig, &mut copied[0], ids[1], snapshot.lsn());
    assert!(copied[0].is_copy());
    let mut copied = held.split_off(FRAMES / 8);
    drop(held.pop());
    hold(&rig, &mut copied[0], ids[2], snapshot.lsn());
    hold(&rig, &mut copied[1], ids[3], snapshot.lsn());
    assert!(!copied[0].is_copy() && copied[1].is_copy());
    assert!(held.iter().chain(&copied).all(|held| value(held.bytes()) == 1));
    drop((held, copied, snapshot));
    rig.settle();
    assert_eq!(rig.cache.stats().old_versions, 0);
}

#[test]
fn pins_that_were_forgotten_leave_the_rest_of_the_frames_free() {
    let rig = Rig::new();
    let ids = rig.create(2 * FRAMES);
    for value in 1..10 {
        let snapshot = rig.cache.snapshot();
        for id in &ids {
            let mut held = Hold::new(&rig.cache);
            hold(&rig, &mut held, *id, snapshot.lsn());
            std::mem::forget(held);
        }
        rig.put(&ids, value);
        let newest = rig.cache.visible();
        assert!(ids.iter().all(|id| rig.get(*id, newest).unwrap() == value));
    }
}

/// Takes snapshots, and changes one page after each; all of them need the other pages' old versions.
/// Returns how many versions were looked at while the snapshots were dropped in the order of `order`.
fn looked_at(order: impl Fn(&mut Vec<Snapshot<'_>>)) -> usize {
    const SNAPSHOTS: usize = 400;
    let rig = Rig::with(8 * FRAMES);
    let ids = rig.create(100);
    let mut held = Vec::new();
    for round in 0..SNAPSHOTS {
        held.push(rig.cache.snapshot());
        rig.put(&[ids[round % 10]], 1 + round as u64);
    }
    rig.put(&ids, 0); // supersedes 90 versions that all snapshots need, and 9 that some need
    assert_eq!(rig.cache.stats().old_versions, (SNAPSHOTS + 99) as u64);
    let before = rig.cache.history.looked();
    order(&mut held);
    while let Some(snapshot) = held.pop() {
        // The remaining snapshots still see the old versions.
        let newest = held.last().unwrap_or(&snapshot);
        assert_eq!(rig.get(ids[99], newest.lsn()).unwrap(), 0);
        drop(snapshot);
    }
    assert_eq!(rig.cache.stats().old_versions, 0);
    rig.cache.history.looked() - before
}

#[test]
fn a_dropped_snapshot_looks_only_at_its_own_versions_in_any_order() {
    let most = 499 + 400;
    let newest_first = looked_at(|_| {});
    let oldest_first = looked_at(|held| held.reverse());
    let mixed = looked_at(|held| {
        let mut at = 7;
        for n in (1..held.len()).rev() {
            at = (at * 31 + 11) % n;
            held.swap(at, n);
        }
    });
    for looked in [newest_first, oldest_first, mixed] {
        assert!(looked <= most, "{looked} versions, of 499 and for 400 snapshots");
    }
}

#[test]
fn spilling_looks_only_at_versions_in_memory() {
    let rig = Rig::with(32 * FRAMES);
    let ids = rig.create(6 * FRAMES);
    rig.put(&ids, 1);
    let snapshot = rig.cache.snapshot();
    rig.put(&ids, 2);
    let before = rig.cache.history.looked();
    let mut spilled = 0;
    while rig.cache.history.resident() > 0 {
        spilled += rig.cache.spill().unwrap();
    }
    assert_eq!(spilled, 6 * FRAMES);
    assert_eq!(rig.cache.history.looked() - before, 6 * FRAMES);
    assert!(ids.iter().all(|id| rig.get(*id, snapshot.lsn()).unwrap() == 1));
    assert!(ids.iter().all(|id| rig.get(*id, rig.cache.visible()).unwrap() == 2));
}
