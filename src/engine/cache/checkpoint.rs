//! The cache's side of a checkpoint: it puts all changed pages on disk, as of one LSN.
//!
//! The checkpoint has registered its LSN as a snapshot, so the versions that it needs stay in the page
//! table or the history until it is done. If a version has a copy on disk already (a dirty page that was
//! evicted), the checkpoint refers to that copy. It writes the others in large batches, sorted by page id.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::arena::Frame;
use super::evict::Copied;
use super::history::VersionLocation;
use super::room::{Backing, OtherWriter};
use super::state::Cache;
use super::table::{PAGE_IDS, Word};
use crate::engine::base::error::{Error, Result};
use crate::engine::base::lsn::Lsn;
use crate::engine::mutants::mutant;
use crate::engine::space::{PageAddr, PageId};

/// Pages written together.
const BATCH: usize = 128;

/// A page in a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) id: PageId,
    /// Its address in the previous checkpoint; none if it is new.
    pub(crate) old: PageAddr,
    /// Its address in this checkpoint; none if the page was freed.
    pub(crate) new: PageAddr,
    /// Whether only the checkpoint refers to the new address, and owns it.
    orphan: bool,
    /// Whether the old address is lent to a version in the history.
    lent: bool,
}

/// Blocks that the previous checkpoint releases, those that it hands to the cache because snapshots
/// still need them, and those that the new checkpoint takes.
pub(crate) type Blocks = (Vec<u64>, Vec<u64>, Vec<u64>);

/// A version that was superseded: its index in a batch, and page, frame and LSN.
type Superseded = (usize, (PageId, Frame, Lsn));

impl Cache {
    /// Puts the versions at `at` of `ids` on disk. `after_batch` is called after each batch with the
    /// number of pages done so far, `settle` to wait for the group that is being applied. On an error the
    /// blocks that were written are free again.
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

    /// Frees the blocks that only a failed checkpoint refers to.
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
        let (mut batch, superseded) = self.write_alone_if_full(OtherWriter::Eviction, || {
            let _placing = self.placing.lock();
            self.write_batch(ids, at)
        })?;
        // Holds no lock here: the group that `settle` waits for could need it.
        for (nth, version) in superseded {
            let page = &mut batch[nth];
            page.orphan = !self.note_superseded(version, page.new, settle);
        }
        placed.append(&mut batch);
        Ok(())
    }

    /// Returns the placed pages, and which of them were superseded while they were written.
    fn write_batch(&self, ids: &[PageId], at: Lsn) -> Result<(Vec<Placed>, Vec<Superseded>)> {
        let mut buffer = self.page_buffer();
        let (mut placed, mut written) = (Vec::with_capacity(ids.len()), Vec::new());
        for &id in ids {
            self.ensure_loaded(id)?;
            let old = self.table.checkpointed(id);
            let guard = self.pin();
            let new = match self.version_at(id, mutant!(CheckpointTakesNewest: at => Lsn::MAX))? {
                VersionLocation::OnDisk(new) => mutant!(EvictedPageUnlisted: new => continue),
                VersionLocation::Resident(frame) => {
                    buffer.push(id, self.page_ref(frame, &guard).bytes());
                    let (lsn, tenancy) = (self.arena.lsn(frame), self.arena.tenancy(frame));
                    written.push((placed.len(), Copied { id, frame, lsn, tenancy }));
                    PageAddr::NONE // until it is written
                }
            };
            placed.push(Placed { id, old, new, orphan: false, lent: false });
        }
        let addrs = self.write_pages(&mut buffer, Backing::Reserved)?;
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
    /// must not need another block (CACHE-12). The history has it once the superseding group is applied.
    /// False if the history does not have it.
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

    fn version_at(&self, id: PageId, at: Lsn) -> Result<VersionLocation> {
        let word = self.table.newest(id);
        if let Some(version) = self.version_in_history(id, at) {
            return Ok(version);
        }
        match word {
            Word::OnDisk(addr) => return Ok(VersionLocation::OnDisk(addr)),
            Word::Resident(newest) => {
                let mut frame = Some(newest);
                while let Some(version) = frame {
                    if self.arena.lsn(version) <= at {
                        let addr = self.arena.addr(version);
                        let is_newest = version == newest;
                        return Ok(match is_newest && !addr.is_none() {
                            true => VersionLocation::OnDisk(addr),
                            false => VersionLocation::Resident(version),
                        });
                    }
                    frame = self.arena.previous(version);
                }
            }
            Word::Nothing | Word::NotLoaded => {}
        }
        // The chain may have been cut after the first look into the history: now the version is there.
        if let Some(version) = self.version_in_history(id, at) {
            return Ok(version);
        }
        Err(Error::Corrupt {
            file: "page table".into(),
            offset: id.0,
            expected: format!("page {id} as of LSN {at}"),
            found: match word {
                Word::Nothing => "no such page".into(),
                Word::Resident(_) => "only newer versions, in memory".into(),
                Word::OnDisk(addr) => format!("a newer version in block {}", addr.block()),
                Word::NotLoaded => "a page that was never read".into(),
            },
        })
    }

    /// The version in the history, on disk if it has a copy there. The entry owns that copy until the
    /// checkpoint has completed, and lends it (CACHE-5).
    fn version_in_history(&self, id: PageId, at: Lsn) -> Option<VersionLocation> {
        let location = self.history.find(id, at)?;
        Some(match location.addr(&self.arena) {
            PageAddr::NONE => location,
            addr => VersionLocation::OnDisk(addr),
        })
    }

    /// Decides who owns the blocks when the checkpoint is durable. Adds the pages in `freed`, which the
    /// checkpoint does not have any more, to `placed`.
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
            let (old, in_use) = self.addr_of_freed(id)?;
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

    /// The address of a freed page in the last checkpoint, and whether readers of an older snapshot may
    /// still read it there.
    fn addr_of_freed(&self, id: PageId) -> Result<(PageAddr, bool)> {
        self.ensure_loaded(id)?;
        let old = self.table.checkpointed(id);
        // A frame that is evicted meanwhile keeps the address of its copy.
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
                Entry::Vacant(entry) => {
                    let first = leaf * fanout;
                    self.ensure_leaf_loaded(leaf)?;
                    let word = |id| match id < PAGE_IDS {
                        true => self.table.checkpointed(PageId(id)).word(),
                        false => PageAddr::NONE.word(),
                    };
                    entry.insert((first..first + fanout).map(word).collect())
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
                self.space.free(page.old.block()); // the version was dropped meanwhile
            }
            self.table.set_checkpointed(page.id, page.new);
            self.history.disown(page.id, at, page.new, &self.arena);
        }
    }

    pub(crate) fn exists(&self, id: PageId) -> Result<bool> {
        self.ensure_loaded(id)?;
        Ok(self.table.newest(id) != Word::Nothing)
    }

    /// Reads the page map's leaf for `id`, unless that was done before.
    fn ensure_loaded(&self, id: PageId) -> Result<()> {
        if self.table.newest(id) == Word::NotLoaded {
            self.load_words(id)?;
        }
        Ok(())
    }

    fn ensure_leaf_loaded(&self, leaf: u64) -> Result<()> {
        if !self.is_leaf_read(leaf) {
            self.load_words(PageId(leaf * self.space.map_fanout() as u64))?;
        }
        Ok(())
    }
}
