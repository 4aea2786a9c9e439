//! Runs of puts in the order of their keys, which go into the tree leaf by leaf.

use super::*;

impl Rig {
    /// Puts rows whose keys ascend or repeat, in one group, in the tree and in the model.
    fn put_sorted(&mut self, rows: &[(Vec<u8>, Vec<u8>)]) {
        self.lsn = Lsn::new(self.lsn.get() + 1);
        let mut group = WriteGroup::begin(&self.cache, &mut self.writer, self.lsn);
        let mut scratch = Scratch::default();
        let mut tree = TreeMut::new(&mut group, self.root, &mut scratch);
        let mut met = Vec::new();
        let row = |at: usize| (&rows[at].0[..], Value::Inline(&rows[at].1));
        tree.put_sorted(rows.len(), row, |outcome| met.push(outcome)).unwrap();
        group.publish();
        assert_eq!(met.len(), rows.len());
        for ((key, value), met) in rows.iter().zip(met) {
            let before = self.model.insert(key.clone(), value.clone());
            let expected = before.map_or(Outcome::Absent, |_| Outcome::Inline);
            assert_eq!(met, expected, "{key:?}");
        }
    }
}

/// Runs that are dense and sparse, of new keys and known ones, with repeats, and with values that
/// do not fit where the ones before did.
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
                (key, vec![random.below(256) as u8; random.below(longest + 1)])
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

/// Every leaf but the last was full when it was split; since then its keys share more, which
/// freed a few bytes of each.
#[test]
fn rows_behind_all_others_fill_their_leaves() {
    let mut rig = Rig::new(&SimDisk::new(), 8192, 4096);
    for run in 0..20 {
        let rows = (0..500).map(|at| (format!("{:08}", run * 500 + at).into_bytes(), vec![7; 150]));
        rig.put_sorted(&rows.collect::<Vec<_>>());
    }
    rig.check("ascending runs");
    let snapshot = rig.snapshot();
    let mut cursor = Cursor::new(&rig.cache, rig.root, snapshot.lsn());
    cursor.seek_first(Bound::Unbounded).unwrap();
    let mut free = Vec::new();
    while let Some((leaf, slot)) = cursor.forward().unwrap() {
        if slot == 0 {
            free.push(Node::new(leaf.bytes()).free_bytes());
        }
    }
    free.pop();
    assert!(free.len() > 190 && free.iter().all(|&free| free < 8192 / 20), "{free:?}");
}
