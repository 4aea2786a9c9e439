//! Crashes at every step, and flushes that fail.

use std::collections::BTreeSet;

use super::super::*;
use super::{Model, params, scribble};
use crate::engine::base::error::Error;
use crate::engine::base::lsn::Lsn;
use crate::engine::base::random::SplitMix64;
use crate::engine::disk::{Disk, Keep, SimDisk};

#[test]
fn a_crash_at_any_step_leaves_the_old_checkpoint_or_the_new() {
    let mut outcomes = [0, 0];
    for seed in 1..=4 {
        let base = SimDisk::new();
        let space = Space::create(&base, params(4096)).unwrap();
        let (mut old, mut random) = (Model::default(), SplitMix64::new(seed));
        for _ in 0..4 {
            old.checkpoint(&space, &random.changes(30)).unwrap();
        }
        let changes = random.changes(20);
        let run = |disk: &SimDisk| {
            let mut new = old.clone();
            let space = Space::open(disk).unwrap();
            new.checkpoint(&space, &changes).map(|()| {
                scribble(&space);
                new
            })
        };
        let new = run(&base.fork(Keep::Everything)).unwrap();
        for step in 0.. {
            let disk = base.fork(Keep::Everything);
            disk.crash_after(step);
            let _ = run(&disk);
            for keep in [Keep::Nothing, Keep::Seeded(seed), Keep::Seeded(step), Keep::Everything] {
                let what = format!("seed {seed}, crash after {step} operations, {keep:?}");
                let at = survives(&disk.fork(keep), &[&old, &new], &what);
                outcomes[at] += 1;
            }
            if !disk.is_gone() {
                break;
            }
        }
    }
    assert!(outcomes.iter().all(|&times| times > 50), "{outcomes:?}");
}

/// Checks that a crash left one of `states`, and that it survives writes to all free blocks and another
/// crash. Returns the index of that state.
fn survives(disk: &SimDisk, states: &[&Model], what: &str) -> usize {
    let space = Space::open(disk).expect(what);
    let lsn = space.superblock().head.checkpoint;
    let at = states.iter().position(|state| Lsn::new(state.lsn) == lsn).expect(what);
    states[at].assert_is(&space, what);
    scribble(&space);
    let disk = disk.crash(Keep::Seeded(lsn.get()));
    let space = Space::open(&disk).expect(what);
    states[at].assert_is(&space, what);
    let mut next = states[at].clone();
    next.checkpoint(&space, &[(3, Some(3))]).expect(what);
    next.assert_is(&Space::open(&disk.crash(Keep::Nothing)).expect(what), what);
    at
}

/// SUPERBLOCK-1 does not rely on sectors being whole: here a crash damages each unflushed slot.
#[test]
fn one_slot_survives_any_crash_while_heads_are_written() {
    let head = |lsn| Model { lsn, ..Model::default() }.head();
    for step in 0.. {
        let disk = SimDisk::new();
        let space = Space::create(&disk, params(8192)).unwrap();
        space.write_head(head(1)).unwrap();
        disk.crash_after(step);
        let result = space.write_head(head(2)).and_then(|()| space.write_head(head(3)));
        let ended = !disk.is_gone();
        assert!(result.is_ok() || !ended);
        let (durable, cached) = (disk.fork(Keep::Nothing), disk.crash(Keep::Everything));
        let (before, after) = (durable.read_file(DATA_FILE), cached.read_file(DATA_FILE));
        for slot in [0, 4096] {
            if before[slot..slot + 4096] != after[slot..slot + 4096] {
                durable.flip(DATA_FILE, slot as u64 + 50, 3);
            }
        }
        let space = Space::open(&durable).unwrap_or_else(|error| panic!("step {step}: {error}"));
        assert!((1..=3).contains(&space.superblock().head.checkpoint.get()));
        if ended {
            break;
        }
    }
}

#[test]
fn a_crash_during_creation_leaves_no_store_or_an_empty_one() {
    for step in 0.. {
        let disk = SimDisk::new();
        disk.crash_after(step);
        let created = Space::create(&disk, params(8192)).is_ok();
        for keep in [Keep::Nothing, Keep::Seeded(step), Keep::Seeded(step + 100), Keep::Everything]
        {
            let image = disk.fork(keep);
            match image.list().unwrap().contains(&"data".to_owned()) {
                true => Model::default().assert_is(&Space::open(&image).unwrap(), "complete"),
                false => drop(Space::create(&image, params(8192)).unwrap()),
            }
        }
        if created {
            break;
        }
    }
}

#[test]
fn extents_are_reused_only_after_the_superblock_is_durable() {
    let disk = SimDisk::new();
    let space = Space::create(&disk, params(4096)).unwrap();
    let mut model = Model::default();
    let all: Vec<_> = (1..40).map(|id| (id, Some(id))).collect();
    model.checkpoint(&space, &all).unwrap();
    let old = model.clone();
    // The flush of the pages succeeds, the flush of the superblock fails.
    disk.fail_sync(1);
    let failed = model.checkpoint(&space, &all);
    assert!(matches!(failed, Err(Error::Poisoned { .. })), "{failed:?}");
    scribble(&space);
    assert!(matches!(space.sync(), Err(Error::Poisoned { .. })), "DATAFILE-1");
    assert!(matches!(model.checkpoint(&space, &all), Err(Error::Poisoned { .. })), "DATAFILE-1");
    assert!(matches!(space.write_head(model.head()), Err(Error::Poisoned { .. })), "DATAFILE-1");
    let mut found = BTreeSet::new();
    for seed in 0..40 {
        let space = Space::open(&disk.fork(Keep::Seeded(seed))).unwrap();
        let lsn = space.superblock().head.checkpoint.get();
        found.insert(lsn);
        if lsn == old.lsn {
            old.assert_is(&space, "old");
        } else {
            let found = space.verify(&mut |_, _| ()).unwrap();
            assert_eq!(found.problems.into_list(), Vec::<String>::new());
        }
    }
    assert!(found.contains(&old.lsn));
}

/// The superblock that an open finds may be only in the cache: its writer was killed between write and
/// flush. Then the pages of the one before must stay whole until the newer one is flushed.
#[test]
fn a_superblock_that_was_only_cached_is_flushed_before_anything_is_overwritten() {
    for seed in 0..20 {
        let disk = SimDisk::new();
        let space = Space::create(&disk, params(4096)).unwrap();
        let mut model = Model::default();
        let all: Vec<_> = (1..20).map(|id| (id, Some(id))).collect();
        model.checkpoint(&space, &all).unwrap();
        let old = model.clone();
        disk.fail_sync(1);
        model.checkpoint(&space, &all).unwrap_err();
        let space = Space::open(&disk).unwrap();
        assert_ne!(space.superblock().head.checkpoint, Lsn::new(old.lsn), "the cached one");
        scribble(&space);
        let space = Space::open(&disk.crash(Keep::Seeded(seed))).unwrap();
        let found = space.verify(&mut |id, addr| {
            space.read_page(addr, id, &mut vec![0; 4096]).unwrap();
        });
        assert_eq!(found.unwrap().problems.into_list(), Vec::<String>::new(), "seed {seed}");
    }
}

/// The pages can be read but may not be on the disk, so no superblock may refer to them.
#[test]
fn a_failed_flush_of_the_pages_ends_the_checkpoints() {
    let disk = SimDisk::new();
    let space = Space::create(&disk, params(4096)).unwrap();
    let mut model = Model::default();
    model.checkpoint(&space, &[(1, Some(1))]).unwrap();
    disk.fail_sync(0);
    for _ in 0..2 {
        let failed = model.checkpoint(&space, &[(1, Some(2)), (2, Some(2))]);
        assert!(matches!(failed, Err(Error::Poisoned { .. })), "{failed:?}");
        model.assert_is(&space, "reads go on");
    }
    for keep in [Keep::Everything, Keep::Nothing, Keep::Seeded(1), Keep::Seeded(2)] {
        let image = disk.fork(keep);
        let (space, mut model) = (Space::open(&image).unwrap(), model.clone());
        space.forget_cached(); // as a recovery does
        model.assert_is(&space, "reopened");
        model.checkpoint(&space, &[(1, Some(2)), (2, Some(2))]).unwrap();
        model.assert_is(&Space::open(&image.crash(Keep::Nothing)).unwrap(), "and written");
    }
}
