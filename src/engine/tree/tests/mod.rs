//! Tests of the tree as a whole, against a sorted map. This file has their shared rig.

mod shrinking;
mod sorted;
#[cfg(not(syncline_shuttle))]
mod story;

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

use super::*;
use crate::engine::base::lsn::{Lsn, StoreId};
use crate::engine::base::progress::OperationProgress;
use crate::engine::base::random::SplitMix64;
use crate::engine::cache::{Cache, CacheOptions, MemorySource, Snapshot, WriteGroup, Writer};
use crate::engine::disk::{Disk, SimDisk};
use crate::engine::space::{PageId, Params, Space};

/// One tree, and a model of its expected content.
pub(super) struct Rig {
    pub(super) cache: Cache,
    writer: Writer,
    lsn: Lsn,
    pub(super) root: PageId,
    pub(super) model: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Keys of small nodes whose neighbours were not in memory.
    sparse: Vec<Vec<u8>>,
}

/// A key and its new value; `None` to delete it.
pub(super) type Change = (Vec<u8>, Option<Vec<u8>>);

impl Rig {
    pub(super) fn new(disk: &dyn Disk, page_bytes: u32, frames: u64) -> Self {
        let params =
            Params { store: StoreId([7; 16]), page_size: page_bytes, segment_bytes: 1 << 20 };
        let options = CacheOptions {
            cache_bytes: frames * u64::from(page_bytes + 64),
            memory: MemorySource::System,
            visible: Lsn::ZERO,
            next_page_id: 1,
            copy_page: copy_used,
            back_off: 0,
        };
        let cache = Cache::new(Arc::new(Space::create(disk, params).unwrap()), options).unwrap();
        let mut writer = Writer::new(Lsn::ZERO);
        let mut group = WriteGroup::begin(&cache, &mut writer, Lsn::new(1));
        let root = TreeMut::create(&mut group).unwrap();
        group.publish();
        let (model, sparse) = (BTreeMap::new(), Vec::new());
        Rig { cache, writer, lsn: Lsn::new(1), root, model, sparse }
    }

    /// Makes changes in one group, in the tree and in the model.
    pub(super) fn change(&mut self, changes: &[Change]) {
        let limit = max_inline(self.cache.page_bytes());
        let is_long = |value: &Option<Vec<u8>>| value.as_ref().is_some_and(|v| v.len() > limit);
        let prepare = |value: &Option<Vec<u8>>| {
            is_long(value).then(|| blob::prepare(&self.cache, value.as_ref().unwrap(), 0).unwrap())
        };
        let mut prepared: Vec<_> = changes.iter().map(|(_, value)| prepare(value)).collect();
        self.lsn = Lsn::new(self.lsn.get() + 1);
        let mut group = WriteGroup::begin(&self.cache, &mut self.writer, self.lsn);
        let mut scratch = Scratch::default();
        for ((key, value), prepared) in changes.iter().zip(&mut prepared) {
            let mut blob = None;
            if let Some((reference, draft)) = prepared {
                group.take_in(draft);
                blob = Some(*reference);
            }
            let mut tree = TreeMut::new(&mut group, self.root, &mut scratch);
            let prior = match value {
                Some(value) => {
                    let stored = blob.map_or(Value::Inline(value), Value::Blob);
                    tree.put(key, stored).unwrap()
                }
                None => tree.delete(key).unwrap(),
            };
            let before = match value {
                Some(value) => self.model.insert(key.clone(), value.clone()),
                None => self.model.remove(key),
            };
            match (prior, before) {
                (PriorValue::Absent, None) => {}
                (PriorValue::Inline, Some(before)) => assert!(before.len() <= limit),
                (PriorValue::Blob(old), Some(before)) => {
                    assert_eq!(old.bytes, before.len() as u64);
                    blob::free(&mut group, old).unwrap();
                }
                (prior, before) => panic!("{prior:?}, but there was {before:?}"),
            }
        }
        group.publish();
        self.sparse.append(&mut scratch.take_sparse());
    }

    /// Fails the test unless the tree is sound and every page is either in it or freed (TREE-1 to TREE-3).
    pub(super) fn check(&self, what: &str) -> check::Checked {
        let snapshot = self.cache.snapshot();
        let mut reached = HashSet::new();
        let checked = check::check(
            &self.cache,
            self.root,
            snapshot.lsn(),
            &OperationProgress::default(),
            &mut |id| !reached.insert(id),
        )
        .unwrap();
        assert_eq!(checked.problems.count(), 0, "{what}: {checked:?}");
        assert_eq!(checked.keys, self.model.len() as u64, "{what}");
        let freed: HashSet<PageId> = self.writer.freed().collect();
        for id in (1..self.cache.next_page_id()).map(PageId) {
            assert_ne!(reached.contains(&id), freed.contains(&id), "page {id}, {what}");
        }
        checked
    }

    pub(super) fn snapshot(&self) -> Snapshot<'_> {
        self.cache.snapshot()
    }

    fn value(&self, value: Value<'_>, at: Lsn) -> Vec<u8> {
        match value {
            Value::Inline(bytes) => bytes.to_vec(),
            Value::Blob(blob) => blob::read(&self.cache, blob, at).unwrap(),
        }
    }

    fn get(&self, key: &[u8], at: Lsn) -> Option<Vec<u8>> {
        let copy = |value: Option<Value<'_>>| match value? {
            Value::Inline(bytes) => Some(Ok(bytes.to_vec())),
            Value::Blob(blob) => Some(Err(blob)),
        };
        let found = lookup(&self.cache, self.root, key, ReadAt::Snapshot(at), copy).unwrap()?;
        Some(found.unwrap_or_else(|blob| blob::read(&self.cache, blob, at).unwrap()))
    }

    /// All entries from `from` on, as of `at`.
    fn forward(&self, from: Bound<&[u8]>, at: Lsn) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut cursor = Cursor::new(&self.cache, self.root, at);
        cursor.seek_first(&self.cache, from).unwrap();
        let mut found = Vec::new();
        while let Some((leaf, slot)) = cursor.forward(&self.cache).unwrap() {
            found.push(self.entry(Node::new(leaf.bytes()), slot, at));
        }
        found
    }

    /// All entries up to `to`, backward, as of `at`.
    fn backward(&self, to: Bound<&[u8]>, at: Lsn) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut cursor = Cursor::new(&self.cache, self.root, at);
        cursor.seek_last(&self.cache, to).unwrap();
        let mut found = Vec::new();
        while let Some((leaf, slot)) = cursor.backward(&self.cache).unwrap() {
            found.push(self.entry(Node::new(leaf.bytes()), slot, at));
        }
        found
    }

    fn entry(&self, node: Node<'_>, slot: usize, at: Lsn) -> (Vec<u8>, Vec<u8>) {
        let mut key = Vec::new();
        node.append_key(slot, &mut key);
        (key, self.value(node.value(slot), at))
    }
}

fn entries<'a>(model: impl Iterator<Item = (&'a Vec<u8>, &'a Vec<u8>)>) -> Vec<(Vec<u8>, Vec<u8>)> {
    model.map(|(key, value)| (key.clone(), value.clone())).collect()
}

struct Random(SplitMix64);

impl Random {
    fn new(seed: u64) -> Self {
        Random(SplitMix64::new(seed))
    }

    fn below(&mut self, below: usize) -> usize {
        self.0.below(below as u64) as usize
    }

    fn key(&mut self, page_bytes: usize) -> Vec<u8> {
        match self.below(8) {
            0 => vec![b'k'; self.below(max_key(page_bytes))], // each is a prefix of longer ones
            1 => {
                let mut key = vec![0; self.below(20)];
                key.iter_mut().for_each(|byte| *byte = self.below(256) as u8);
                key
            }
            2 => {
                let len = max_key(page_bytes);
                let mut key = vec![b'm'; len];
                key[len - 1] = self.below(256) as u8;
                key[len / 2] = self.below(3) as u8;
                key
            }
            _ => format!("user/{:05}/name", self.below(3000)).into_bytes(),
        }
    }

    /// The length of a value, of each class that the tree distinguishes: in the leaf, out of line on
    /// one page, in frames or past the cache, under one index or several.
    fn size(&mut self, page_bytes: usize) -> usize {
        let (limit, page) = (max_inline(page_bytes), page_bytes - 32);
        let around = [limit, page, 2 * page, 16 * page][self.below(4)];
        match self.below(200) {
            0 => page * (page / 8) + self.below(2 * page),
            1..40 => self.below(5 * page_bytes),
            _ => around - 1 + self.below(3),
        }
    }

    fn bytes(&mut self, page_bytes: usize) -> Vec<u8> {
        let limit = max_inline(page_bytes);
        let len = match self.below(40) {
            0 => limit,
            1 => limit + 1,
            2 => self.below(5 * page_bytes),
            3..10 => self.below(limit),
            _ => self.below(60),
        };
        vec![self.below(256) as u8; len]
    }
}

/// Random batches on one page size, checked after each.
fn random_batches(page_bytes: u32, frames: u64, seed: u64) {
    let what = format!("pages of {page_bytes}, seed {seed}");
    let mut random = Random::new(seed);
    let mut rig = Rig::new(&SimDisk::new(), page_bytes, frames);
    let page_bytes = page_bytes as usize;
    for batch in 0..24 {
        // The tree grows, then shrinks, then grows again.
        let deletes = [20, 85, 40][batch / 8];
        let changes: Vec<Change> = (0..random.below(400))
            .map(|_| {
                if random.below(100) >= deletes {
                    return (random.key(page_bytes), Some(random.bytes(page_bytes)));
                }
                let key = random.key(page_bytes);
                let near = rig.model.range(key.clone()..).next().map(|(key, _)| key.clone());
                (near.unwrap_or(key), None)
            })
            .collect();
        let (before, then) = (rig.cache.snapshot().into_lsn(), entries(rig.model.iter()));
        // Drafts of long values stay in frames until their group takes them in.
        changes.chunks(frames as usize / 2).for_each(|changes| rig.change(changes));
        if batch % 2 == 1 {
            rig.tidy();
        }
        rig.check(&what);
        let snapshot = rig.snapshot();
        let at = snapshot.lsn();
        assert_eq!(rig.forward(Bound::Unbounded, at), entries(rig.model.iter()), "{what}");
        assert_eq!(rig.backward(Bound::Unbounded, at), entries(rig.model.iter().rev()), "{what}");
        assert_eq!(rig.forward(Bound::Unbounded, before), then, "{what}: the snapshot before");
        // With few frames each look reads the whole tree from the disk.
        let looks = if frames < 1000 { 1 } else { 10 };
        for _ in 0..looks {
            let key = random.key(page_bytes);
            assert_eq!(rig.get(&key, at).as_ref(), rig.model.get(&key), "{what}");
            for from in [Bound::Included(&key[..]), Bound::Excluded(&key[..])] {
                let forward = entries(rig.model.range::<[u8], _>((from, Bound::Unbounded)));
                assert_eq!(rig.forward(from, at), forward, "{what}");
                let back = entries(rig.model.range::<[u8], _>((Bound::Unbounded, from)).rev());
                assert_eq!(rig.backward(from, at), back, "{what}");
            }
        }
        drop(snapshot);
        rig.cache.unregister(before);
    }
    let all: Vec<Change> = rig.model.keys().map(|key| (key.clone(), None)).collect();
    rig.change(&all);
    rig.check(&what);
}

#[test]
fn random_batches_match_a_sorted_map() {
    for (page_bytes, seeds) in [(4096, 1..6), (8192, 6..8), (16384, 8..9), (32768, 9..10)] {
        seeds.for_each(|seed| random_batches(page_bytes, 4096, seed));
    }
}

#[test]
fn random_batches_match_in_a_cache_that_is_too_small() {
    random_batches(4096, 64, 20);
}

#[test]
fn ascending_and_descending_keys_make_sound_trees() {
    let key = |n: u32| format!("key{n:06}").into_bytes();
    for descending in [false, true] {
        let mut rig = Rig::new(&SimDisk::new(), 4096, 4096);
        for chunk in 0..20_u32 {
            let number =
                |n: u32| if descending { 20_000 - (chunk * 500 + n) } else { chunk * 500 + n };
            let changes: Vec<_> =
                (0..500).map(|n| (key(number(n)), Some(b"value".to_vec()))).collect();
            rig.change(&changes);
        }
        let checked = rig.check("sequential");
        assert!(checked.pages < 130, "{} pages for 10,000 small entries", checked.pages);
        let all: Vec<Change> = rig.model.keys().map(|key| (key.clone(), None)).collect();
        rig.change(&all);
        assert_eq!(rig.check("emptied").pages, 1, "only the root is left");
    }
}

#[test]
fn a_long_value_of_any_size_comes_back_whole() {
    let mut rig = Rig::new(&SimDisk::new(), 4096, 4096);
    let payload = 4096 - 32;
    let fanout = payload / 8;
    let sizes = [
        max_inline(4096) + 1,
        payload,
        payload + 1,
        payload * fanout,
        payload * fanout + 1, // two levels of index
        payload * (fanout + 1) + 7,
    ];
    for (n, size) in sizes.into_iter().enumerate() {
        let value: Vec<u8> = (0..size).map(|at| (at / 3 + n) as u8).collect();
        rig.change(&[(vec![n as u8], Some(value.clone()))]);
        let snapshot = rig.snapshot();
        assert!(rig.get(&[n as u8], snapshot.lsn()) == Some(value), "{size} bytes");
        rig.check("long values");
    }
    let all: Vec<Change> = rig.model.keys().map(|key| (key.clone(), None)).collect();
    rig.change(&all);
    assert_eq!(rig.check("deleted").pages, 1);
}
