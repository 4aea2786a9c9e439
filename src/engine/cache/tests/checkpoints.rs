//! Tests of who owns an extent (CACHE-5): the last checkpoint, the page table, or the history.

use super::*;
use crate::engine::base::random::SplitMix64;
use crate::engine::disk::{Fault, FaultError, Op, Persistence};

fn spill_all(rig: &Rig) {
    while rig.cache.spill().unwrap() > 0 {}
}

#[test]
fn a_checkpoint_has_the_versions_of_its_moment() {
    let rig = Rig::new();
    let ids = rig.create(20);
    rig.put(&ids, 1);
    let begun = rig.begin_checkpoint().unwrap();
    rig.put(&ids, 2);
    rig.finish_checkpoint(begun).unwrap();
    rig.assert_blocks(0);
    let reopened = rig.reopen();
    ids.iter().for_each(|id| assert_eq!(reopened.get(*id, reopened.cache.visible()).unwrap(), 1));
    ids.iter().for_each(|id| assert_eq!(rig.get(*id, rig.cache.visible()).unwrap(), 2));
}

#[test]
fn versions_superseded_before_they_are_placed_are_placed_from_the_history() {
    let rig = Rig::new();
    let ids = rig.create(20);
    rig.checkpoint();
    rig.put(&ids, 1);
    let (at, changes) = {
        let mut state = rig.state.lock();
        let at = rig.cache.snapshot().into_lsn();
        (at, state.writer.take_changes(at))
    };
    rig.put(&ids[..10], 2);
    spill_all(&rig);
    let placed = rig.cache.place(&ids, at, &|| (), &mut |_| Ok(())).unwrap();
    rig.put(&ids[10..], 3);
    spill_all(&rig);
    rig.finish_checkpoint(Begun { at, changes, placed }).unwrap();
    rig.assert_blocks(0);
    let reopened = rig.reopen();
    ids.iter().for_each(|id| assert_eq!(reopened.get(*id, reopened.cache.visible()).unwrap(), 1));
}

#[test]
fn a_version_spilled_while_a_checkpoint_placed_it_survives_the_next_one() {
    // The bug: a snapshot's version was placed by a checkpoint, superseded and spilled before the
    // checkpoint was adopted. Then the checkpoint owned the extent, and the history still pointed at it.
    // The next checkpoint freed it, and another page was written over it.
    let rig = Rig::new();
    let ids = rig.create(10);
    rig.put(&ids, 1);
    let snapshot = rig.cache.snapshot();
    let begun = rig.begin_checkpoint().unwrap();
    rig.put(&ids, 2);
    spill_all(&rig);
    rig.finish_checkpoint(begun).unwrap();
    rig.assert_blocks(0);
    rig.checkpoint();
    rig.assert_blocks(10);
    let others = rig.create(100);
    rig.put(&others, 9);
    rig.checkpoint();
    ids.iter().for_each(|id| assert_eq!(rig.get(*id, snapshot.lsn()).unwrap(), 1));
    rig.assert_blocks(10);
    drop(snapshot);
    rig.assert_blocks(0);
}

#[test]
fn a_lent_version_that_goes_during_the_next_checkpoint_leaves_no_block() {
    let rig = Rig::new();
    let ids = rig.create(10);
    rig.put(&ids, 1);
    let snapshot = rig.cache.snapshot();
    let begun = rig.begin_checkpoint().unwrap();
    rig.put(&ids, 2);
    rig.free(ids[9]);
    spill_all(&rig);
    rig.finish_checkpoint(begun).unwrap();
    assert_eq!(rig.get(ids[9], snapshot.lsn()).unwrap(), 1, "in memory again, still lent");
    let begun = rig.begin_checkpoint().unwrap();
    drop(snapshot);
    rig.finish_checkpoint(begun).unwrap();
    rig.assert_blocks(0);
}

#[test]
fn a_checkpoint_that_fails_leaves_all_as_it_was() {
    for (op, after) in [(Op::Write, 0), (Op::Write, 1), (Op::Write, 2), (Op::Write, 3)] {
        let rig = Rig::new();
        let ids = rig.create(20);
        rig.checkpoint();
        rig.put(&ids, 1);
        let fault = Fault { op, after, error: FaultError::NoSpace, persistence: Persistence::Once };
        rig.disk.fail(fault);
        let begun = rig.begin_checkpoint();
        rig.put(&ids[..10], 2);
        spill_all_but_errors(&rig);
        let result = begun.and_then(|begun| rig.finish_checkpoint(begun));
        let poisoned = matches!(result, Err(Error::Poisoned { .. }));
        rig.disk.clear_faults();
        if poisoned {
            continue; // the superblock's write failed: see the next test
        }
        if result.is_err() {
            let reopened = rig.reopen();
            assert_eq!(reopened.get(ids[0], reopened.cache.visible()).unwrap(), 0);
        }
        rig.checkpoint();
        rig.assert_blocks(0);
        let reopened = rig.reopen();
        assert_eq!(reopened.get(ids[0], reopened.cache.visible()).unwrap(), 2, "{op:?} {after}");
        assert_eq!(reopened.get(ids[19], reopened.cache.visible()).unwrap(), 1, "{op:?} {after}");
    }
}

fn spill_all_but_errors(rig: &Rig) {
    while rig.cache.spill().is_ok_and(|spilled| spilled > 0) {}
}

#[test]
fn after_a_failed_superblock_its_pages_are_left_alone() {
    // The bug: the flush of the superblock failed, so the superblock may be on the disk. Its pages were
    // freed, and the next evicted page was written over them.
    let rig = Rig::new();
    let ids = rig.create(20);
    rig.checkpoint();
    rig.put(&ids, 1);
    let snapshot = rig.cache.snapshot();
    rig.put(&ids[..10], 2);
    rig.disk.fail_sync(1);
    let begun = rig.begin_checkpoint().unwrap();
    assert!(matches!(rig.finish_checkpoint(begun), Err(Error::Poisoned { .. })));
    drop(snapshot);
    for _ in 0..8 {
        rig.cache.evict(FRAMES).unwrap();
        rig.settle();
    }
    rig.put(&ids, 3);
    for _ in 0..8 {
        rig.cache.evict(FRAMES).unwrap();
        rig.settle();
    }
    let reopened =
        Rig { disk: rig.disk.crash(crate::engine::disk::Keep::Everything), ..rig }.reopen();
    reopened.assert_blocks(0);
    let at = reopened.cache.visible();
    let (first, last) = (reopened.get(ids[0], at).unwrap(), reopened.get(ids[19], at).unwrap());
    assert!([(0, 0), (2, 1)].contains(&(first, last)), "{first} and {last}");
}

#[test]
fn random_commits_snapshots_and_checkpoints_leak_nothing() {
    for seed in 1..=30 {
        let mut random = SplitMix64::new(seed);
        let rig = Rig::new();
        let mut ids = rig.create(100);
        let mut model: std::collections::BTreeMap<_, _> = ids.iter().map(|id| (*id, 0)).collect();
        let mut snapshots = Vec::new();
        let mut begun = None;
        for step in 1..300 {
            match random.below(16) {
                0 => snapshots.push((rig.cache.snapshot(), model.clone())),
                1 if !snapshots.is_empty() => {
                    drop(snapshots.swap_remove(random.below(snapshots.len() as u64) as usize));
                }
                2 => drop(rig.cache.evict(random.below(64) as usize).unwrap()),
                3 => drop(rig.cache.spill().unwrap()),
                4 | 5 => match begun.take() {
                    None => begun = Some(rig.begin_checkpoint().unwrap()),
                    Some(begun) => rig.finish_checkpoint(begun).unwrap(),
                },
                6 if ids.len() > 50 => {
                    let id = ids.swap_remove(random.below(ids.len() as u64) as usize);
                    model.remove(&id);
                    rig.free(id);
                }
                7 => {
                    let id = rig.create(1)[0];
                    ids.push(id);
                    model.insert(id, 0);
                }
                8 => rig.settle(),
                _ => {
                    let some: Vec<_> = (0..1 + random.below(100))
                        .map(|_| ids[random.below(ids.len() as u64) as usize])
                        .collect();
                    rig.put(&some, step);
                    model.extend(some.iter().map(|id| (*id, step)));
                }
            }
            let now = [(rig.cache.visible(), &model)];
            let then = snapshots.iter().map(|(snapshot, model)| (snapshot.lsn(), model));
            for (at, model) in now.into_iter().chain(then) {
                let from = PageId(random.below(100));
                if let Some((id, value)) = model.range(from..).next() {
                    assert_eq!(rig.get(*id, at).unwrap(), *value, "seed {seed}, step {step}");
                }
            }
        }
        if let Some(begun) = begun {
            rig.finish_checkpoint(begun).unwrap();
        }
        for (snapshot, model) in &snapshots {
            for (id, value) in model {
                assert_eq!(rig.get(*id, snapshot.lsn()).unwrap(), *value, "seed {seed}");
            }
        }
        snapshots.clear();
        assert_eq!(rig.cache.stats().old_versions, 0, "seed {seed}");
        rig.checkpoint();
        rig.checkpoint(); // releases the blocks of pages freed in the previous one
        rig.assert_blocks(0);
        let reopened = rig.reopen();
        for (id, value) in &model {
            assert_eq!(reopened.get(*id, reopened.cache.visible()).unwrap(), *value);
        }
        drop(rig.create(1));
    }
}
