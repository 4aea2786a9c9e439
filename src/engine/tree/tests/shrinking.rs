//! Tests of a tree that loses its rows, and of a dropped tree that is trimmed.

use super::*;

impl Rig {
    /// Merges small nodes as the housekeeping does: it reads pages first, and none in its group.
    pub(super) fn tidy(&mut self) {
        let step = (self.cache.frames() as usize / 32).clamp(1, 32);
        for _ in 0..20 {
            let noted = std::mem::take(&mut self.sparse);
            for keys in noted.chunks(step) {
                let (mut held, mut scratch) = (Vec::new(), Scratch::default());
                let snapshot = self.cache.snapshot();
                for key in keys {
                    load_for_tidy(&self.cache, self.root, key, snapshot.lsn(), &mut held).unwrap();
                }
                drop(snapshot);
                self.lsn = Lsn::new(self.lsn.get() + 1);
                let misses = self.cache.stats().misses;
                let mut group = WriteGroup::begin(&self.cache, &mut self.writer, self.lsn);
                for key in keys {
                    TreeMut::new(&mut group, self.root, &mut scratch).tidy(key).unwrap();
                }
                group.publish();
                assert_eq!(self.cache.stats().misses, misses, "HOUSEKEEPING-1: nothing was read");
                self.sparse.append(&mut scratch.take_sparse());
            }
            if self.sparse.is_empty() {
                return;
            }
        }
        panic!("{} nodes are never merged", self.sparse.len());
    }

    /// Evicts nearly all pages.
    fn forget(&self) {
        for _ in 0..4 {
            self.cache.evict(self.cache.frames() as usize).unwrap();
        }
    }
}

/// The orders in which the numbers below `count` may be deleted.
fn orders(count: u32) -> [(&'static str, Vec<u32>); 4] {
    let mut random = Random::new(5);
    let mut shuffled: Vec<u32> = (0..count).collect();
    (1..shuffled.len()).rev().for_each(|at| shuffled.swap(at, random.below(at + 1)));
    let inwards = (0..count).map(|n| if n % 2 == 0 { n / 2 } else { count - 1 - n / 2 });
    [
        ("forward", (0..count).collect()),
        ("backward", (0..count).rev().collect()),
        ("from both ends", inwards.collect()),
        ("in any order", shuffled),
    ]
}

/// The bug: a leaf was merged only with its right neighbour, if that was in memory. Deletes in key order
/// left all leaves behind, since each was empty before the next one was read.
#[test]
fn emptied_leaves_are_merged_though_their_neighbours_are_on_disk() {
    const ROWS: u32 = 6000;
    let key = |n: u32| format!("key{n:06}").into_bytes();
    for (name, order) in orders(ROWS) {
        for batch in [1, 40] {
            let what = format!("{name}, {batch} at a time");
            let mut rig = Rig::new(&SimDisk::new(), 4096, 64);
            for rows in (0..ROWS).collect::<Vec<_>>().chunks(500) {
                let rows: Vec<_> = rows.iter().map(|n| (key(*n), Some(vec![7; 100]))).collect();
                rig.change(&rows);
            }
            let full = rig.check(&what).pages;
            assert!(full > 2 * 64, "{full} pages, more than fit in memory");
            rig.forget();
            let gone: Vec<_> = order.iter().filter(|n| **n % 1000 != 500).collect();
            for (round, keys) in gone.chunks(batch).enumerate() {
                rig.change(&keys.iter().map(|n| (key(**n), None)).collect::<Vec<_>>());
                if round % 16 == 0 {
                    rig.tidy();
                }
            }
            rig.tidy();
            let left = rig.check(&what);
            assert!(left.pages <= 3, "{what}: {} of {full} pages left for 6 rows", left.pages);
        }
    }
}

/// Rows are inserted at the right end and deleted at the left.
#[test]
fn queue_takes_no_more_pages_as_it_moves_on() {
    let key = |n: u32| format!("key{n:06}").into_bytes();
    let mut rig = Rig::new(&SimDisk::new(), 4096, 64);
    let mut most = 0;
    for round in 0..60_u32 {
        let pushed = (0..200).map(|n| (key(round * 200 + n), Some(vec![7; 100])));
        let popped = (0..200).filter(|_| round >= 3).map(|n| (key((round - 3) * 200 + n), None));
        let changes: Vec<Change> = pushed.chain(popped).collect();
        changes.chunks(30).for_each(|changes| rig.change(changes));
        rig.tidy();
        if round % 5 == 4 {
            most = most.max(rig.check("a queue").pages);
        }
    }
    assert!(most < 40, "{most} pages for 600 rows");
}

/// Trims a tree, `pages` at a time, and returns the number of steps.
fn trim(rig: &mut Rig, pages: usize, is_planned: bool) -> usize {
    let total = rig.check("before").pages as usize;
    let freed_before = rig.writer.freed().count();
    for step in 1.. {
        rig.forget();
        let (mut held, at) = (Vec::new(), rig.cache.snapshot());
        let plan = TrimPlan::new(&rig.cache, rig.root, at.lsn(), pages, &mut held).unwrap();
        drop(at);
        rig.forget(); // evicts all pages that the plan does not hold
        rig.lsn = Lsn::new(rig.lsn.get() + 1);
        let misses = rig.cache.stats().misses;
        let mut group = WriteGroup::begin(&rig.cache, &mut rig.writer, rig.lsn);
        let is_done = match is_planned {
            true => TreeMut::trim_planned(&mut group, &plan).unwrap(),
            false => TreeMut::trim(&mut group, rig.root, pages).unwrap(),
        };
        group.publish();
        assert!(
            !is_planned || rig.cache.stats().misses == misses,
            "HOUSEKEEPING-1: nothing was read"
        );
        if is_done {
            let freed: Vec<PageId> = rig.writer.freed().collect();
            assert_eq!(freed.len(), total + freed_before);
            assert_eq!(freed.iter().collect::<HashSet<_>>().len(), freed.len(), "no page twice");
            return step;
        }
        let left = check::check_doomed(&rig.cache, rig.root, rig.lsn, &mut |_| false).unwrap();
        let left = left.pages as usize;
        assert_eq!(left + rig.writer.freed().count(), total + freed_before);
        assert!(step < total, "trimming makes no progress");
    }
    unreachable!()
}

#[test]
fn trimming_frees_every_page_of_a_tree() {
    for (is_planned, pages) in [(false, 16), (true, 16), (true, 1)] {
        let mut random = Random::new(77);
        let mut rig = Rig::new(&SimDisk::new(), 4096, 4096);
        let row = |random: &mut Random| (random.key(4096), Some(random.bytes(4096)));
        let mut changes: Vec<_> = (0..3000).map(|_| row(&mut random)).collect();
        // A leaf whose values have more pages than a step frees.
        changes.extend((0..5).map(|n| (vec![b'z', n], Some(vec![n; 200_000]))));
        rig.change(&changes);
        let steps = trim(&mut rig, pages, is_planned);
        assert!(steps > 5, "{steps} steps");
    }
}

#[test]
fn a_tree_of_one_leaf_is_taken_apart() {
    for values in [0, 3] {
        let mut rig = Rig::new(&SimDisk::new(), 4096, 64);
        let rows: Vec<Change> = (0..values).map(|n| (vec![n], Some(vec![n; 300_000]))).collect();
        rig.change(&rows);
        trim(&mut rig, 1, true);
    }
}
