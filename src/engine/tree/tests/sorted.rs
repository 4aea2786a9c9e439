//! Tests of sorted runs of puts, which are put into the tree leaf by leaf.

use super::*;
use crate::engine::cache::Draft;

/// Puts the values that are too long for a leaf into drafts.
fn prepare<'c>(
    cache: &'c Cache,
    rows: &[(Vec<u8>, Vec<u8>)],
) -> (Vec<Draft<'c>>, Vec<Option<BlobRef>>) {
    let (mut drafts, mut pages) = (Vec::new(), 0);
    let blobs = rows.iter().map(|(_, value)| {
        (value.len() > max_inline(cache.page_bytes())).then(|| {
            let (blob, draft) = blob::prepare(cache, value, pages).unwrap();
            pages += draft.len();
            drafts.push(draft);
            blob
        })
    });
    let blobs = blobs.collect();
    (drafts, blobs)
}

fn stored(value: &[u8], blob: Option<BlobRef>) -> Value<'_> {
    blob.map_or(Value::Inline(value), Value::Blob)
}

impl Rig {
    /// Puts rows whose keys ascend or repeat, in one group, in the tree and in the model.
    fn put_sorted(&mut self, rows: &[(Vec<u8>, Vec<u8>)]) {
        let (mut drafts, blobs) = prepare(&self.cache, rows);
        self.lsn = Lsn::new(self.lsn.get() + 1);
        let mut group = WriteGroup::begin(&self.cache, &mut self.writer, self.lsn);
        drafts.iter_mut().for_each(|draft| group.take_in(draft));
        let mut scratch = Scratch::default();
        let mut tree = TreeMut::new(&mut group, self.root, &mut scratch);
        let mut met = Vec::new();
        let row = |at: usize| (&rows[at].0[..], stored(&rows[at].1, blobs[at]));
        tree.put_sorted(rows.len(), row, |prior| met.push(prior)).unwrap();
        assert_eq!(met.len(), rows.len());
        for ((key, value), met) in rows.iter().zip(met) {
            match (met, self.model.insert(key.clone(), value.clone())) {
                (PriorValue::Absent, None) => {}
                (PriorValue::Inline, Some(_)) => {}
                (PriorValue::Blob(old), Some(before)) => {
                    assert_eq!(old.bytes, before.len() as u64);
                    blob::free(&mut group, old).unwrap();
                }
                (met, before) => panic!("{key:?}: {met:?}, but there was {before:?}"),
            }
        }
        group.publish();
    }
}

/// Dense and sparse runs of new and existing keys, with repeats, and with values that are longer than
/// those that they replace.
fn sorted_runs(page_bytes: u32, frames: u64, seed: u64) {
    let what = format!("pages of {page_bytes}, {frames} frames, seed {seed}");
    let mut random = Random::new(seed);
    let mut rig = Rig::new(&SimDisk::new(), page_bytes, frames);
    for round in 0..30 {
        let (from, span) = (random.below(4000), 1 + random.below([40, 4000][round % 2]));
        let longest = [20, 300, max_inline(page_bytes as usize)][round % 3];
        let mut rows: Vec<(Vec<u8>, Vec<u8>)> = (0..random.below(300))
            .map(|_| {
                let key = format!("{:08}", from + random.below(span)).into_bytes();
                let is_any = random.below(30) == 0;
                let len = match is_any {
                    true => random.size(page_bytes as usize),
                    false => random.below(longest + 1),
                };
                (key, vec![random.below(256) as u8; len])
            })
            .collect();
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        rig.put_sorted(&rows);
        rig.check(&what);
        let snapshot = rig.snapshot();
        assert_eq!(
            rig.forward(Bound::Unbounded, snapshot.lsn()),
            entries(rig.model.iter()),
            "{what}"
        );
    }
}

#[test]
fn sorted_runs_match_a_sorted_map() {
    for seed in 1..6 {
        sorted_runs(4096, 4096, seed);
    }
    sorted_runs(8192, 4096, 6);
}

#[test]
fn sorted_runs_match_in_a_cache_that_is_too_small() {
    sorted_runs(4096, 64, 7);
}

impl Rig {
    /// Puts rows whose keys ascend or repeat, in one group, most of them deferred.
    fn put_or_defer(&mut self, rows: &[(Vec<u8>, Vec<u8>)]) {
        let (mut drafts, blobs) = prepare(&self.cache, rows);
        self.lsn = Lsn::new(self.lsn.get() + 1);
        let mut group = WriteGroup::begin_single(&self.cache, &mut self.writer, self.lsn);
        assert!(group.may_change_in_place(rows.len()));
        drafts.iter_mut().for_each(|draft| group.take_in(draft));
        let mut scratch = Scratch::default();
        let (mut new, mut unused) = (0, Vec::new());
        let mut met = |prior, unused: &mut Vec<BlobRef>| match prior {
            PriorValue::Absent => new += 1,
            PriorValue::Inline => {}
            PriorValue::Blob(blob) => unused.push(blob),
        };
        let row = |at: usize| (&rows[at].0[..], stored(&rows[at].1, blobs[at]));
        let mut tree = TreeMut::new(&mut group, self.root, &mut scratch);
        tree.put_or_defer(rows.len(), row, |prior| met(prior, &mut unused)).unwrap();
        unused.drain(..).for_each(|blob| blob::free(&mut group, blob).unwrap());
        let mut tree = TreeMut::new(&mut group, self.root, &mut scratch);
        tree.put_deferred(row, |prior| met(prior, &mut unused)).unwrap();
        // Empty after changes in place: a group frees no page after them (CACHE-8).
        unused.into_iter().for_each(|blob| blob::free(&mut group, blob).unwrap());
        group.publish();
        let before = self.model.len();
        self.model.extend(rows.iter().cloned());
        assert_eq!(new, self.model.len() - before);
    }
}

/// Batches of existing, new, repeated and deleted keys, with values that fit, do not fit, or replace long
/// ones; with and without a snapshot of the tree before.
fn deferred_rows(page_bytes: u32, frames: u64, seed: u64) {
    let what = format!("pages of {page_bytes}, {frames} frames, seed {seed}");
    let mut random = Random::new(seed);
    let mut rig = Rig::new(&SimDisk::new(), page_bytes, frames);
    let (limit, mut longs) = (max_inline(page_bytes as usize), 0);
    for round in 0..60 {
        let longest = [10, 200, limit][round % 3];
        let count = 1 + random.below([3, 100, 400][round % 3]);
        // With few different keys there are repeats. One in a few values is out of line.
        let (keys, longs_in) = ([3000, 5, 60][random.below(3)], [0, 3, 40][random.below(3)]);
        let mut row = |longest: usize| {
            let key = format!("{:08}", random.below(keys) * (3000 / keys)).into_bytes();
            let is_any = longs_in > 0 && random.below(longs_in) == 0;
            let len =
                if is_any { random.size(page_bytes as usize) } else { random.below(longest + 1) };
            (key, vec![random.below(256) as u8; len])
        };
        let mut rows: Vec<_> = (0..count).map(|_| row(longest)).collect();
        let (long, gone) = (row(3 * limit), row(0).0);
        longs += rows.iter().chain([&long]).filter(|(_, value)| value.len() > limit).count();
        rig.change(&[(long.0, Some(long.1)), (gone, None)]);
        let before = (round % 4 == 0).then(|| rig.model.clone());
        // By LSN only: the rig changes while it is registered.
        let registered = before.is_some().then(|| rig.snapshot().into_lsn());
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        rig.put_or_defer(&rows);
        let more: Vec<_> = rows.iter().map(|(key, _)| (key.clone(), vec![1; 3])).collect();
        rig.put_or_defer(&more);
        if let (Some(before), Some(at)) = (before, registered) {
            assert_eq!(rig.forward(Bound::Unbounded, at), entries(before.iter()), "{what}");
            rig.cache.unregister(at);
        }
        rig.check(&what);
        let snapshot = rig.snapshot();
        let found = rig.forward(Bound::Unbounded, snapshot.lsn());
        assert_eq!(found, entries(rig.model.iter()), "{what}");
    }
    assert!(longs > 10, "{what}");
}

#[test]
fn deferred_rows_match_a_sorted_map() {
    for seed in 1..8 {
        deferred_rows(4096, 8192, seed);
    }
    deferred_rows(8192, 8192, 8);
}

#[test]
fn deferred_rows_match_in_a_cache_that_is_too_small() {
    deferred_rows(4096, 64, 9);
}

/// Every leaf except the last was full when it was split. Since then its keys have a longer prefix, which
/// freed a few bytes per key.
#[test]
fn ascending_rows_fill_their_leaves() {
    let mut rig = Rig::new(&SimDisk::new(), 8192, 4096);
    for run in 0..20 {
        let rows = (0..500).map(|at| (format!("{:08}", run * 500 + at).into_bytes(), vec![7; 150]));
        rig.put_sorted(&rows.collect::<Vec<_>>());
    }
    rig.check("ascending runs");
    let snapshot = rig.snapshot();
    let mut cursor = Cursor::new(&rig.cache, rig.root, snapshot.lsn());
    cursor.seek_first(&rig.cache, Bound::Unbounded).unwrap();
    let mut free = Vec::new();
    while let Some((leaf, slot)) = cursor.forward(&rig.cache).unwrap() {
        if slot == 0 {
            free.push(Node::new(leaf.bytes()).free_bytes());
        }
    }
    free.pop();
    assert!(free.len() > 190 && free.iter().all(|&free| free < 8192 / 20), "{free:?}");
}
