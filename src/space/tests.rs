//! The data file as a whole: checkpoints, crashes at every step, full disks, rot.

use std::collections::{BTreeMap, BTreeSet};

use super::page::PAGE_HEADER;
use super::*;
use crate::disk::{Disk, Fault, FaultError, Keep, Op, Persistence, RealDisk, SimDisk};
use crate::error::{Error, Result};
use crate::lsn::{Incarnation, Lsn, StoreId};

const STORE: StoreId = StoreId([7; 16]);

/// A store's pages as they should be: of each the address and the number that it holds.
type Pages = BTreeMap<u64, (PageAddr, u64)>;

/// Changes pages and makes checkpoints, as the layers above would.
#[derive(Clone, Debug, Default)]
struct Model {
    pages: Pages,
    lsn: u64,
}

impl Model {
    /// Writes the pages `changes` (`None`: removed) and a checkpoint with them. On an error the
    /// model stays as it was, and so should the store.
    fn checkpoint(&mut self, space: &Space, changes: &[(u64, Option<u64>)]) -> Result<()> {
        let mut next = Model { pages: self.pages.clone(), lsn: self.lsn + 10 };
        let (mut released, mut taken) = (Vec::new(), Vec::new());
        let result = next.write(space, changes, &mut released, &mut taken);
        let result = result.and_then(|()| {
            let fanout = space.map_fanout() as u64;
            let touched: BTreeSet<u64> = changes.iter().map(|(id, _)| id / fanout).collect();
            let leaves = touched.into_iter().map(|leaf| (leaf, next.leaf(leaf, fanout)));
            space.checkpoint(&leaves.collect(), &released, &taken, next.head())
        });
        match &result {
            Ok(()) => *self = next,
            Err(Error::Poisoned { .. }) => {}
            Err(_) => taken.iter().for_each(|&block| space.free(block)),
        }
        result
    }

    fn write(
        &mut self,
        space: &Space,
        changes: &[(u64, Option<u64>)],
        released: &mut Vec<u64>,
        taken: &mut Vec<u64>,
    ) -> Result<()> {
        for &(id, value) in changes {
            if let Some((former, _)) = self.pages.remove(&id) {
                released.push(former.block());
            }
            if let Some(value) = value {
                let run = space.allocate(1)?;
                taken.push(run.block);
                let mut page = vec![0; space.page_size()];
                header::init(&mut page, LEAF, 0, Lsn::new(self.lsn), PageId(id));
                page[PAGE_HEADER..PAGE_HEADER + 8].copy_from_slice(&value.to_le_bytes());
                let addr = PageAddr::new(run.block, header::seal(&mut page, STORE));
                space.write_run(run.block, &page)?;
                self.pages.insert(id, (addr, value));
            }
        }
        Ok(())
    }

    fn leaf(&self, leaf: u64, fanout: u64) -> Box<[u64]> {
        let word = |id| self.pages.get(&id).map_or(0, |(addr, _)| addr.word());
        (leaf * fanout..(leaf + 1) * fanout).map(word).collect()
    }

    fn head(&self) -> Head {
        let lsn = Lsn::new(self.lsn);
        Head { checkpoint: lsn, durable: lsn, next_page_id: PageId(1 << 45), ..Head::EMPTY }
    }

    /// Fails the test unless the store is in this state, whole and without a lost block.
    fn assert_is(&self, space: &Space, what: &str) {
        assert_eq!(space.superblock().head.checkpoint, Lsn::new(self.lsn), "{what}");
        let mut found = BTreeMap::new();
        let problems = space.verify(&mut |id, addr| assert!(found.insert(id.0, addr).is_none()));
        assert_eq!(problems.unwrap(), Vec::<String>::new(), "{what}");
        let expected: BTreeMap<u64, PageAddr> =
            self.pages.iter().map(|(&id, &(addr, _))| (id, addr)).collect();
        assert_eq!(found, expected, "{what}");
        let mut page = vec![0; space.page_size()];
        for (&id, &(addr, value)) in &self.pages {
            let leaf = space.map_leaf(id / space.map_fanout() as u64).unwrap().expect("a leaf");
            assert_eq!(leaf[id as usize % space.map_fanout()], addr.word(), "{what}");
            space.read_page(addr, PageId(id), &mut page).expect(what);
            assert_eq!(page[PAGE_HEADER..PAGE_HEADER + 8], value.to_le_bytes(), "{what}");
        }
    }
}

/// Overwrites every block that can be taken without growing: whoever needs one will know.
fn scribble(space: &Space) {
    let blocks = space.stats().blocks;
    let garbage = vec![0xEE; space.page_size()];
    while let Ok(run) = space.allocate(1) {
        if run.block >= blocks || space.write_run(run.block, &garbage).is_err() {
            break;
        }
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }

    /// Writes and removals of pages, most of them near each other and some far away.
    fn changes(&mut self, count: u64) -> Vec<(u64, Option<u64>)> {
        let mut changes = BTreeMap::new();
        for _ in 0..1 + self.below(count) {
            let id = match self.below(8) {
                0 => 1 + self.below(3_000_000),
                1 => 1 + self.below(5_000),
                _ => 1 + self.below(100),
            };
            changes.insert(id, (self.below(4) > 0).then(|| self.below(u64::MAX)));
        }
        changes.into_iter().collect()
    }
}

fn params(page_size: u32) -> Params {
    Params { store: STORE, page_size, segment_bytes: 1 << 20 }
}

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
fn it_works_in_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let disk = RealDisk::open(dir.path()).unwrap();
    let space = Space::create(&disk, params(4096)).unwrap();
    let mut model = Model::default();
    let mut random = Random(5);
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
        let (mut model, mut random) = (Model::default(), Random(11));
        for round in 0..60 {
            model.checkpoint(&space, &random.changes(60)).unwrap();
            if random.below(4) == 0 {
                space = Space::open(&disk).unwrap();
            }
            if round % 6 == 0 {
                model.assert_is(&space, "read back");
            }
        }
        // All removed: the page map is gone, and only the free map itself is used.
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
    // Blocks far into the file, where the second page of the free map is about them. The pages
    // are allocated and given back, so nothing needs to be written there.
    let mut far = Vec::new();
    while far.last().is_none_or(|&block| block < 40_000) {
        let run = space.allocate(4096).unwrap();
        far.extend(run.block..run.block + u64::from(run.count));
    }
    model.checkpoint(&space, &[(1, Some(1)), (600, Some(2))]).unwrap();
    assert!(space.superblock().free_map.height == 1, "{:?}", space.superblock().free_map);
    far.into_iter().for_each(|block| space.free(block));
    model.assert_is(&space, "far");
    // Both pages of the free map change now.
    model.checkpoint(&space, &[(1, Some(3)), (2, Some(4))]).unwrap();
    model.assert_is(&space, "near");
    model.assert_is(&Space::open(&disk).unwrap(), "reopened");
}

#[test]
fn the_page_map_grows_upward_around_what_it_holds() {
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

/// W1. Readers of the page map on the way while its pages move see one version or the other.
#[test]
fn the_page_map_is_read_while_checkpoints_move_it() {
    let disk = SimDisk::new();
    let space = Space::create(&disk, params(4096)).unwrap();
    let mut model = Model::default();
    model.checkpoint(&space, &[(1, Some(1)), (600_000, Some(1))]).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                assert_ne!(space.map_leaf(0).unwrap().expect("a leaf")[1], 0);
                assert_ne!(space.map_leaf(600_000 / 508).unwrap().expect("a leaf")[52], 0);
                reads += 1;
            }
            reads
        });
        for value in 0..300 {
            model.checkpoint(&space, &[(1, Some(value)), (600_000, Some(value))]).unwrap();
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(reader.join().unwrap() > 10);
    });
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
    space.checkpoint_with(changes, model.head()).unwrap();
    model.assert_is(&space, "the checkpoint does not have it");
    scribble(&space);
    space.read_page(addr, PageId(1), &mut vec![0; 4096]).expect("but it is still there");
    space.free(addr.block());
    scribble(&space);
    space.read_page(addr, PageId(1), &mut vec![0; 4096]).expect_err("now it is free");
    model.assert_is(&Space::open(&disk.crash(Keep::Nothing)).unwrap(), "nor is it lost");
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

#[test]
fn a_crash_at_any_step_leaves_the_old_checkpoint_or_the_new() {
    let mut outcomes = [0, 0];
    for seed in 1..=4 {
        let base = SimDisk::new();
        let space = Space::create(&base, params(4096)).unwrap();
        let (mut old, mut random) = (Model::default(), Random(seed));
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

/// What a crash left is one of `states`, and stays so whatever happens in the free blocks and at
/// the next crash. Returns which one.
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

/// Sectors are not torn, but S1 does not rest on that: here a crash spoils each slot that was
/// not flushed.
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
    // The pages are flushed, the superblock is not.
    disk.fail_sync(1);
    let failed = model.checkpoint(&space, &all);
    assert!(matches!(failed, Err(Error::Poisoned { .. })), "{failed:?}");
    scribble(&space);
    assert!(matches!(space.sync(), Err(Error::Poisoned { .. })), "F1");
    assert!(matches!(model.checkpoint(&space, &all), Err(Error::Poisoned { .. })), "F1");
    assert!(matches!(space.write_head(model.head()), Err(Error::Poisoned { .. })), "F1");
    let mut found = BTreeSet::new();
    for seed in 0..40 {
        let space = Space::open(&disk.fork(Keep::Seeded(seed))).unwrap();
        let lsn = space.superblock().head.checkpoint.get();
        found.insert(lsn);
        if lsn == old.lsn {
            old.assert_is(&space, "old");
        } else {
            assert_eq!(space.verify(&mut |_, _| ()).unwrap(), Vec::<String>::new());
        }
    }
    assert!(found.contains(&old.lsn));
}

/// The superblock that an open finds may be in the cache only: its writer was killed between
/// writing and flushing it. Then the one before must stay whole until it is flushed.
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
        let problems = space.verify(&mut |id, addr| {
            space.read_page(addr, id, &mut vec![0; 4096]).unwrap();
        });
        assert_eq!(problems.unwrap(), Vec::<String>::new(), "seed {seed}");
    }
}

#[test]
fn a_full_disk_leaves_the_old_checkpoint_and_heals() {
    let disk = SimDisk::new();
    let space = Space::create(&disk, params(4096)).unwrap();
    let (mut model, mut random) = (Model::default(), Random(3));
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
    // Two pages, the page map (three pages in one run, with the free map's perhaps): any write
    // of those may fail, until one does not.
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
        let problems = opened.verify(&mut |_, _| ()).unwrap();
        if problems.is_empty() {
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
            Err(Error::Corrupt { file, offset, .. }) => {
                assert_eq!((&file[..], offset), (&disk.path("data")[..], len as u64));
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
    newer[12] = 2;
    let crc = crate::codec::crc32(&[&newer[..8], &newer[12..]]);
    newer[8..12].copy_from_slice(&crc.to_le_bytes());
    assert!(with(0, &newer[..]).unwrap_err().contains("format version 2"));
    let twin = Superblock { segment_bytes: 5, ..ours };
    assert!(with(1, &twin.encode()[..]).unwrap_err().contains("the same superblock"));
    let both = [0x55; 8192];
    assert!(with(0, &both).unwrap_err().contains("magic SYNCDATA"));
    assert_eq!(with(0, &both[..4096]), Ok(ours));
    assert_eq!(with(1, &both[..4096]), Ok(ours));
}
