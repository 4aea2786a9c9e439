//! The cache's side of a checkpoint: putting every page version visible at an LSN on disk.
//!
//! The checkpoint has registered its LSN, so each version it is after stays, in the page table or
//! in the history, until it is done. A version that has a copy on disk already (a dirty page that
//! was evicted) is taken as it is; others are written, sorted by name, in large batches.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::arena::Frame;
use super::evict::Copied;
use super::history::Place;
use super::room::{Counted, Others};
use super::state::Cache;
use super::table::{PAGE_IDS, Word};
use crate::engine::base::error::{Error, Result};
use crate::engine::base::lsn::Lsn;
use crate::engine::mutants::mutant;
use crate::engine::space::{PageAddr, PageId};

/// Pages written in one go.
const BATCH: usize = 128;

/// Where a checkpoint has a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) id: PageId,
    /// Where the checkpoint before has it, if at all.
    pub(crate) old: PageAddr,
    /// Where this one has it; nowhere if the page is gone.
    pub(crate) new: PageAddr,
    /// Whether only the checkpoint owns the new place, because nobody else refers to it.
    orphan: bool,
    /// Whether the old place is lent to a version in the history.
    lent: bool,
}

/// Blocks that the former checkpoint releases, those of them that snapshots still need (they are
/// the cache's from then on), and those that the checkpoint takes.
pub(crate) type Blocks = (Vec<u64>, Vec<u64>, Vec<u64>);

/// A version that was superseded: its place in a batch, and page, frame and LSN.
type Superseded = (usize, (PageId, Frame, Lsn));

/// Where the version at the checkpoint's LSN is.
enum Version {
    InFrame(Frame),
    OnDisk(PageAddr),
}

impl Cache {
    /// Puts the versions at `at` of `ids` on disk. `after_batch` is called now and then with how
    /// many pages are done, `settle` to wait for the group that is being applied. On an error what was
    /// written is free again.
    pub(crate) fn place(
        &self,
        ids: &[PageId],
        at: Lsn,
        settle: &dyn Fn(),
        after_batch: &mut dyn FnMut(usize) -> Result<()>,
    ) -> Result<Vec<Placed>> {
        let mut placed = Vec::with_capacity(ids.len());
        let mut result = Ok(());
        for batch in ids.chunks(BATCH) {
            result = self.place_batch(batch, at, settle, &mut placed);
            if result.is_ok() {
                result = after_batch(placed.len());
            }
            if result.is_err() {
                break;
            }
        }
        if let Err(error) = result {
            self.unplace(&placed);
            return Err(error);
        }
        Ok(placed)
    }

    /// Frees what a checkpoint that failed had written for itself alone.
    pub(crate) fn unplace(&self, placed: &[Placed]) {
        let orphans =
            placed.iter().filter(|page| mutant!(FailedCheckpointFreesAll: page.orphan => true));
        orphans.for_each(|page| self.space.free(page.new.block()));
    }

    fn place_batch(
        &self,
        ids: &[PageId],
        at: Lsn,
        settle: &dyn Fn(),
        placed: &mut Vec<Placed>,
    ) -> Result<()> {
        let (mut batch, superseded) = self.write_alone_if_full(Others::Eviction, || {
            let _placing = self.placing.lock();
            self.write_batch(ids, at)
        })?;
        // Without a lock that the group could wait for.
        for (nth, version) in superseded {
            let page = &mut batch[nth];
            page.orphan = !self.note_superseded(version, page.new, settle);
        }
        placed.append(&mut batch);
        Ok(())
    }

    /// Returns where the pages are, and which of them have been superseded while they were written.
    fn write_batch(&self, ids: &[PageId], at: Lsn) -> Result<(Vec<Placed>, Vec<Superseded>)> {
        let mut buffer = self.page_buffer();
        let (mut placed, mut written) = (Vec::with_capacity(ids.len()), Vec::new());
        for &id in ids {
            self.know(id)?;
            let old = self.table.checkpointed(id);
            let guard = self.pin();
            let new = match self.version_at(id, mutant!(CheckpointTakesNewest: at => Lsn::MAX))? {
                Version::OnDisk(new) => mutant!(EvictedPageUnlisted: new => continue),
                Version::InFrame(frame) => {
                    buffer.push(id, self.page_ref(frame, &guard).bytes());
                    let (lsn, tenancy) = (self.arena.lsn(frame), self.arena.tenancy(frame));
                    written.push((placed.len(), Copied { id, frame, lsn, tenancy }));
                    PageAddr::NONE // until it is written
                }
            };
            placed.push(Placed { id, old, new, orphan: false, lent: false });
        }
        let addrs = self.write_pages(&mut buffer, Counted::Homeless)?;
        let mut superseded = Vec::new();
        for ((nth, copied), addr) in written.into_iter().zip(addrs) {
            placed[nth].new = addr;
            self.space.landed(1);
            if !self.note_written(copied, addr) {
                superseded.push((nth, (copied.id, copied.frame, copied.lsn)));
            }
        }
        Ok((placed, superseded))
    }

    /// Notes in the history that a version which was superseded while it was written has a copy: it
    /// must not need another block (CACHE-12). It is there once the group that superseded it is applied.
    /// False if it is not.
    fn note_superseded(
        &self,
        version: (PageId, Frame, Lsn),
        addr: PageAddr,
        settle: &dyn Fn(),
    ) -> bool {
        let note = || self.history.note_written(version, addr, &self.arena);
        note() || {
            settle();
            note()
        }
    }

    fn version_at(&self, id: PageId, at: Lsn) -> Result<Version> {
        let word = self.table.newest(id);
        if let Some(version) = self.version_in_history(id, at) {
            return Ok(version);
        }
        match word {
            Word::OnDisk(addr) => return Ok(Version::OnDisk(addr)),
            Word::Resident(newest) => {
                let mut frame = Some(newest);
                while let Some(version) = frame {
                    if self.arena.lsn(version) <= at {
                        let addr = self.arena.addr(version);
                        let is_newest = version == newest;
                        return Ok(match is_newest && !addr.is_none() {
                            true => Version::OnDisk(addr),
                            false => Version::InFrame(version),
                        });
                    }
                    frame = self.arena.previous(version);
                }
            }
            Word::Nothing | Word::NotLoaded => {}
        }
        // The chain may have been cut after we looked into the history: by then it is there.
        if let Some(version) = self.version_in_history(id, at) {
            return Ok(version);
        }
        Err(Error::Corrupt {
            file: "page table".into(),
            offset: id.0,
            expected: format!("page {id} as of LSN {at}"),
            found: match word {
                Word::Nothing => "no such page".into(),
                Word::Resident(_) => "newer versions alone, in memory".into(),
                Word::OnDisk(addr) => format!("a newer version in block {}", addr.block()),
                Word::NotLoaded => "a page that was never read".into(),
            },
        })
    }

    fn version_in_history(&self, id: PageId, at: Lsn) -> Option<Version> {
        Some(match self.history.find(id, at)? {
            Place::Resident(frame) => match self.arena.addr(frame) {
                PageAddr::NONE => Version::InFrame(frame),
                addr => Version::OnDisk(addr),
            },
            // Its own, until the checkpoint lends it to it (CACHE-5).
            Place::OnDisk(addr) => Version::OnDisk(addr),
        })
    }

    /// What becomes of the blocks when the checkpoint is durable. Adds the pages in `freed`, which
    /// it no longer has, to `placed`.
    pub(crate) fn hand_over(&self, placed: &mut Vec<Placed>, freed: &[PageId]) -> Result<Blocks> {
        let (mut released, mut kept, mut taken) = (Vec::new(), Vec::new(), Vec::new());
        for page in placed.iter_mut().filter(|page| page.old != page.new) {
            taken.push(page.new.block());
            if !page.old.is_none() {
                page.lent = self.history.is_lent(page.id, page.old, &self.arena);
                let list = if page.lent { &mut kept } else { &mut released };
                list.push(page.old.block());
            }
        }
        for &id in freed {
            let (old, in_use) = self.place_of_freed(id)?;
            let lent = !in_use && self.history.is_lent(id, old, &self.arena);
            if !old.is_none() {
                let is_kept = mutant!(FreedExtentReleased: in_use || lent => false);
                let list = if is_kept { &mut kept } else { &mut released };
                list.push(old.block());
            }
            placed.push(Placed { id, old, new: PageAddr::NONE, orphan: false, lent });
        }
        Ok((released, kept, taken))
    }

    /// Where the last checkpoint has `id`, which is gone since, and whether readers of an older
    /// snapshot may still go there.
    fn place_of_freed(&self, id: PageId) -> Result<(PageAddr, bool)> {
        self.know(id)?;
        let old = self.table.checkpointed(id);
        // A frame that is evicted meanwhile still says where its copy is.
        let _guard = self.pin();
        let in_use = match self.table.newest(id) {
            Word::Resident(frame) => self.arena.addr(frame) == old,
            Word::OnDisk(addr) => addr == old,
            Word::Nothing | Word::NotLoaded => false,
        };
        Ok((old, in_use && !old.is_none()))
    }

    /// The leaves of the page map that `placed` changes, with their new words.
    pub(crate) fn map_leaves(&self, placed: &[Placed]) -> Result<BTreeMap<u64, Box<[u64]>>> {
        let fanout = self.space.map_fanout() as u64;
        let mut leaves: BTreeMap<u64, Box<[u64]>> = BTreeMap::new();
        for page in placed {
            mutant!(FreedPageStaysMapped => if page.new.is_none() { continue; });
            let leaf = page.id.0 / fanout;
            let words = match leaves.entry(leaf) {
                Entry::Occupied(words) => words.into_mut(),
                Entry::Vacant(place) => {
                    let first = leaf * fanout;
                    self.know_leaf(leaf)?;
                    let word = |id| match id < PAGE_IDS {
                        true => self.table.checkpointed(PageId(id)).word(),
                        false => PageAddr::NONE.word(),
                    };
                    place.insert((first..first + fanout).map(word).collect())
                }
            };
            words[(page.id.0 % fanout) as usize] = page.new.word();
        }
        Ok(leaves)
    }

    /// The checkpoint at `at` is durable: it owns the extents it refers to. Call with the commit
    /// lock held, so that no version changes hands meanwhile.
    pub(crate) fn adopt_placed(&self, placed: &[Placed], at: Lsn) {
        for page in placed {
            if page.lent && !self.history.give_lent(page.id, page.old, &self.arena) {
                self.space.free(page.old.block()); // the version has gone meanwhile
            }
            self.table.set_checkpointed(page.id, page.new);
            self.history.disown(page.id, at, page.new, &self.arena);
        }
    }

    /// Whether there is a page of this name.
    pub(crate) fn exists(&self, id: PageId) -> Result<bool> {
        self.know(id)?;
        Ok(self.table.newest(id) != Word::Nothing)
    }

    /// Sees to it that the page map has been read for `id`.
    fn know(&self, id: PageId) -> Result<()> {
        if self.table.newest(id) == Word::NotLoaded {
            self.load_words(id)?;
        }
        Ok(())
    }

    fn know_leaf(&self, leaf: u64) -> Result<()> {
        if !self.is_harvested(leaf) {
            self.load_words(PageId(leaf * self.space.map_fanout() as u64))?;
        }
        Ok(())
    }
}
