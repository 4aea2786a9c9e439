//! Tests of the data file as a whole, with a model of what the store should hold.

mod checkpoints;
mod crashes;
mod faults;
mod intruded;

use std::collections::{BTreeMap, BTreeSet};

use super::page::PAGE_HEADER;
use super::*;
use crate::engine::base::error::{Error, Result};
use crate::engine::base::lsn::{Lsn, StoreId};
use crate::engine::base::random::SplitMix64;

const STORE: StoreId = StoreId([7; 16]);

/// The expected pages of a store: the address of each, and the number that it holds.
type Pages = BTreeMap<u64, (PageAddr, u64)>;

/// Changes pages and makes checkpoints, as the layers above would.
#[derive(Clone, Debug, Default)]
struct Model {
    pages: Pages,
    lsn: u64,
}

impl Model {
    /// Writes the pages in `changes` (`None`: removed) and a checkpoint with them. An error changes
    /// neither the model nor, if the code is right, the store.
    fn checkpoint(&mut self, space: &Space, changes: &[(u64, Option<u64>)]) -> Result<()> {
        let mut next = Model { pages: self.pages.clone(), lsn: self.lsn + 10 };
        let (mut released, mut taken) = (Vec::new(), Vec::new());
        let result = next.write(space, changes, &mut released, &mut taken);
        let result = result.and_then(|()| {
            let fanout = space.map_fanout() as u64;
            let touched: BTreeSet<u64> = changes.iter().map(|(id, _)| id / fanout).collect();
            let leaves = touched.into_iter().map(|leaf| (leaf, next.leaf(leaf, fanout)));
            {
                let leaves = leaves.collect();
                let (released, taken) = (&released[..], &taken[..]);
                let changes = Changes { leaves: &leaves, released, kept: &[], taken };
                space.checkpoint(changes, next.head())
            }
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

    /// Fails the test unless the store is in this state, without damage or a lost block.
    fn assert_is(&self, space: &Space, what: &str) {
        assert_eq!(space.superblock().head.checkpoint, Lsn::new(self.lsn), "{what}");
        let mut found = BTreeMap::new();
        let checked = space.verify(&mut |id, addr| assert!(found.insert(id.0, addr).is_none()));
        assert_eq!(checked.unwrap().problems.into_list(), Vec::<String>::new(), "{what}");
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

/// Overwrites every free block: a reader that needs one will fail.
fn scribble(space: &Space) {
    let blocks = space.stats().blocks;
    let garbage = vec![0xEE; space.page_size()];
    while let Ok(run) = space.allocate(1) {
        if run.block >= blocks || space.write_run(run.block, &garbage).is_err() {
            break;
        }
    }
}

impl SplitMix64 {
    /// Writes and removals of pages, most of them near each other, some far away.
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
