//! Checkpoints on a disk without faults.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::map_page;
use super::super::*;
use super::intruded::Intruder;
use super::{Model, STORE, params, scribble};
use crate::engine::base::error::Error;
use crate::engine::base::lsn::Incarnation;
use crate::engine::base::random::SplitMix64;
use crate::engine::base::sync::Mutex;
use crate::engine::disk::watched::{Watcher, watched};
use crate::engine::disk::{Disk, Keep, RealDisk, SimDisk};

#[test]
fn a_new_store_is_empty_and_opens_again() {
    for page_size in [4096, 8192, 16384, 32768] {
        let disk = SimDisk::new();
        let space = Space::create(&disk, params(page_size)).unwrap();
        Model::default().assert_is(&space, "created");
        drop(space);
        let space = Space::open(&disk).unwrap();
        assert_eq!((space.page_size() as u32, space.store_id()), (page_size, STORE));
        assert_eq!(space.superblock().head, Head::EMPTY);
        assert_eq!(space.map_leaf(0).unwrap(), None);
        assert_eq!(space.map_leaf(u64::MAX).unwrap(), None);
        assert_eq!(disk.list().unwrap(), ["data"]);
        assert!(matches!(Space::create(&disk, params(8192)), Err(Error::NotAStore { .. })));
    }
}

#[test]
fn an_unfinished_creation_is_overwritten() {
    let disk = SimDisk::new();
    disk.create("data.new", 10).unwrap();
    Model::default().assert_is(&Space::create(&disk, params(8192)).unwrap(), "created");
    assert!(matches!(Space::create(&disk, params(512)), Err(Error::InvalidOption { .. })));
}

#[test]
fn checkpoints_in_a_real_directory_are_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let disk = RealDisk::open(dir.path()).unwrap();
    let space = Space::create(&disk, params(4096)).unwrap();
    let mut model = Model::default();
    let mut random = SplitMix64::new(5);
    for _ in 0..5 {
        model.checkpoint(&space, &random.changes(50)).unwrap();
    }
    drop(space);
    model.assert_is(&Space::open(&disk).unwrap(), "reopened");
}

#[test]
fn random_checkpoints_are_read_back() {
    for page_size in [4096, 8192] {
        let disk = SimDisk::new();
        let mut space = Space::create(&disk, params(page_size)).unwrap();
        let (mut model, mut random) = (Model::default(), SplitMix64::new(11));
        for round in 0..60 {
            model.checkpoint(&space, &random.changes(60)).unwrap();
            if random.below(4) == 0 {
                space = Space::open(&disk).unwrap();
            }
            if round % 6 == 0 {
                model.assert_is(&space, "read back");
            }
        }
        // All pages removed: there is no page map, and only the free map itself uses blocks.
        let all: Vec<_> = model.pages.keys().map(|&id| (id, None)).collect();
        model.checkpoint(&space, &all).unwrap();
        model.assert_is(&space, "emptied");
        assert_eq!(space.superblock().page_map, map_page::Root::EMPTY);
        let stats = space.stats();
        assert_eq!(stats.free, Some(stats.blocks - 3), "two superblocks and the free map");
    }
}

#[test]
fn the_free_map_may_need_several_pages() {
    let disk = SimDisk::new();
    let space = Space::create(&disk, params(4096)).unwrap();
    let mut model = Model::default();
    // Blocks far into the file, which the second page of the free map covers. They are allocated and
    // freed again, so nothing needs to be written there.
    let mut far = Vec::new();
    while far.last().is_none_or(|&block| block < 40_000) {
        let run = space.allocate(4096).unwrap();
        far.extend(run.block..run.block + u64::from(run.count));
    }
    model.checkpoint(&space, &[(1, Some(1)), (600, Some(2))]).unwrap();
    assert!(space.superblock().free_map.height == 1, "{:?}", space.superblock().free_map);
    far.into_iter().for_each(|block| space.free(block));
    model.assert_is(&space, "far");
    // Now both pages of the free map change.
    model.checkpoint(&space, &[(1, Some(3)), (2, Some(4))]).unwrap();
    model.assert_is(&space, "near");
    model.assert_is(&Space::open(&disk).unwrap(), "reopened");
}

#[test]
fn the_page_map_grows_levels_above_its_former_root() {
    let disk = SimDisk::new();
    let space = Space::create(&disk, params(4096)).unwrap();
    let mut model = Model::default();
    for (height, id) in [(0, 1), (1, 508), (2, 508 * 508), (4, 508_u64.pow(4))] {
        model.checkpoint(&space, &[(id, Some(id))]).unwrap();
        assert_eq!(space.superblock().page_map.height, height);
        model.assert_is(&space, "grown");
        model.assert_is(&Space::open(&disk).unwrap(), "reopened");
    }
    model.checkpoint(&space, &[(508_u64.pow(4), None), (508, None)]).unwrap();
    model.assert_is(&space, "thinned out");
}

/// MAPS-1. After a reader has read a leaf's address, and before it reads the leaf, a checkpoint moves
/// the leaf, and its former block is overwritten.
#[test]
fn the_page_map_is_read_while_a_checkpoint_moves_it() {
    let disk = SimDisk::new();
    let mut model = Model::default();
    let space = Space::create(&disk, params(4096)).unwrap();
    model.checkpoint(&space, &[(1, Some(1)), (600_000, Some(1))]).unwrap();
    drop(space);
    let intruder = Arc::new(Intruder::default());
    let disk = watched(Arc::new(disk), Arc::clone(&intruder) as Arc<dyn Watcher>);
    let space = Arc::new(Space::open(&*disk).unwrap());
    let (other, after) = (space.clone(), Arc::new(Mutex::new(model.clone())));
    let result = after.clone();
    *intruder.0.lock() = Some((
        // After the two inner pages on the way to the leaf.
        2,
        Box::new(move || {
            after.lock().checkpoint(&other, &[(1, Some(2))]).unwrap();
            scribble(&other);
        }),
    ));
    let leaf = space.map_leaf(0).unwrap().expect("a leaf");
    let model = result.lock().clone();
    assert!(intruder.0.lock().is_none(), "the checkpoint came between");
    assert_eq!(leaf[1], model.pages[&1].0.word());
    model.assert_is(&space, "after all");
}

#[test]
fn a_block_may_be_kept_beyond_its_checkpoint() {
    let disk = SimDisk::new();
    let space = Space::create(&disk, params(4096)).unwrap();
    let mut model = Model::default();
    model.checkpoint(&space, &[(1, Some(1))]).unwrap();
    let (addr, _) = model.pages.remove(&1).unwrap();
    model.lsn += 10;
    let (leaves, kept) = (BTreeMap::from([(0, model.leaf(0, 508))]), [addr.block()]);
    let changes = Changes { leaves: &leaves, released: &[], kept: &kept, taken: &[] };
    space.checkpoint(changes, model.head()).unwrap();
    model.assert_is(&space, "the checkpoint does not have the page");
    scribble(&space);
    space.read_page(addr, PageId(1), &mut vec![0; 4096]).expect("the block is kept");
    space.free(addr.block());
    scribble(&space);
    space.read_page(addr, PageId(1), &mut vec![0; 4096]).expect_err("the block is free");
    model.assert_is(&Space::open(&disk.crash(Keep::Nothing)).unwrap(), "no block is lost");
}

#[test]
fn a_head_is_written_alone() {
    let disk = SimDisk::new();
    let space = Space::create(&disk, params(8192)).unwrap();
    let mut model = Model::default();
    model.checkpoint(&space, &[(1, Some(1))]).unwrap();
    for incarnation in 1..5 {
        let head = Head { incarnation: Incarnation::new(incarnation), ..model.head() };
        space.write_head(head).unwrap();
        assert_eq!(space.superblock().head, head);
        let reopened = Space::open(&disk).unwrap();
        assert_eq!(reopened.superblock(), space.superblock());
        model.assert_is(&reopened, "head");
    }
}

/// EXTENTS-2.
#[test]
fn a_checkpoint_takes_only_blocks_allocated_since_the_last_one() {
    let disk = SimDisk::new();
    let space = Space::create(&disk, params(4096)).unwrap();
    let mut model = Model::default();
    model.checkpoint(&space, &[(1, Some(1))]).unwrap();
    let take = |block| {
        let (leaves, taken) = (BTreeMap::new(), [block]);
        let changes = Changes { leaves: &leaves, released: &[], kept: &[], taken: &taken };
        let run = std::panic::AssertUnwindSafe(|| space.checkpoint(changes, model.head()));
        std::panic::catch_unwind(run).map(|result| result.unwrap())
    };
    let freed = space.allocate(1).unwrap().block;
    space.free(freed);
    assert!(take(freed).is_err(), "free");
    assert!(take(model.pages[&1].0.block()).is_err(), "in use");
    model.assert_is(&Space::open(&disk).unwrap(), "nothing happened");
    assert!(take(space.allocate(1).unwrap().block).is_ok());
}
