//! The writer's side of the cache: one commit group at a time changes pages.
//!
//! ```text
//!   WriteGroup::page_mut      first touch: copy the page, publish the copy with the group's LSN
//!                             (readers are below it and go on to the predecessor)
//!   WriteGroup::publish       1. visible = LSN: readers from now on see the group, whole
//!                             2. each predecessor: to the history if a snapshot needs it (CACHE-3),
//!                                otherwise retired to the epoch, its extent freed (CACHE-5)
//!                             3. settled = LSN: its pages may be evicted (CACHE-4)
//! ```
//!
//! A group larger than the cache is a special case in one respect: when frames run short, predecessors go
//! to the history early, and the group's own pages may be evicted before it is visible.
//!
//! While a store is being opened nobody reads it. The groups of a replay then take pages over in place:
//! the copies took half of the time of a replay.

use std::collections::BTreeMap;
use std::ops::Range;

use super::arena::Frame;
use super::epoch::{Exclusion, Guard};
use super::history::SupersededVersion;
use super::hold::PinnedPage;
use super::in_place::InPlace;
use super::state::Cache;
use super::table::Word;
use crate::engine::base::error::Result;
use crate::engine::base::lsn::Lsn;
use crate::engine::base::sync::atomic::Ordering;
use crate::engine::mutants::mutant;
use crate::engine::space::{PageAddr, PageId, header};

/// Frames that the writer takes at a time, at most.
pub(super) const STASH: usize = 32;

/// The writer's state between groups. The commit lock guards it.
#[derive(Debug)]
pub(crate) struct Writer {
    stash: Vec<Frame>,
    retired: Vec<Frame>,
    pub(super) superseded: Vec<Superseded>,
    changes: Changes,
    /// A page whose newest version is above this LSN is listed in `changes` already.
    checkpoint: Lsn,
    /// How many more changes are made to copies, since a reader was met.
    pub(super) back_off: usize,
}

/// Which pages differ from the last checkpoint.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Pages with a new version. May name a page twice.
    pub(crate) written: Vec<PageId>,
    /// Freed pages, and the LSN of the group that freed them.
    pub(crate) freed: Vec<(PageId, Lsn)>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Superseded {
    id: PageId,
    frame: Frame,
    lsn: Lsn,
}

impl Writer {
    /// The writer of a store whose last checkpoint is at `checkpoint`.
    pub(crate) fn new(checkpoint: Lsn) -> Self {
        Writer {
            stash: Vec::new(),
            retired: Vec::new(),
            superseded: Vec::new(),
            changes: Changes::default(),
            checkpoint,
            back_off: 0,
        }
    }

    /// Takes the changes since the last call. Changes from now on belong to the checkpoint after the one
    /// at `pinned`.
    pub(crate) fn take_changes(&mut self, pinned: Lsn) -> Changes {
        self.checkpoint = pinned;
        std::mem::take(&mut self.changes)
    }

    /// Takes frames until there are `frames` in hand. False if there are too few.
    #[inline]
    pub(super) fn stock(&mut self, cache: &Cache, frames: usize) -> bool {
        if self.stash.len() < frames {
            let missing = (frames - self.stash.len()).max(cache.stash_size());
            let stash = &mut self.stash;
            cache.arena.take_many(missing, |frame| stash.push(frame));
        }
        self.stash.len() >= frames
    }

    /// Puts back the changes that a failed checkpoint had taken.
    pub(crate) fn restore_changes(&mut self, mut changes: Changes) {
        // The list made during the checkpoint is appended to the one before: it is the shorter one.
        std::mem::swap(&mut self.changes, &mut changes);
        self.changes.written.append(&mut changes.written);
        self.changes.freed.append(&mut changes.freed);
    }

    /// Pages that were freed since the last checkpoint.
    pub(crate) fn freed(&self) -> impl Iterator<Item = PageId> {
        self.changes.freed.iter().map(|(id, _)| *id)
    }

    /// The length of the list of changed pages since the last checkpoint.
    pub(crate) fn listed(&self) -> usize {
        self.changes.written.len()
    }

    /// The pages listed since [`Writer::listed`] returned `from`, which includes every new page. No
    /// checkpoint has taken the list meanwhile.
    pub(crate) fn listed_since(&self, from: usize) -> &[PageId] {
        &self.changes.written[from..]
    }

    /// Whether nothing has changed since the last checkpoint.
    pub(crate) fn is_unchanged(&self) -> bool {
        self.changes.written.is_empty() && self.changes.freed.is_empty()
    }
}

/// Whether there may be readers of former versions of the pages that a group changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readers {
    Possible,
    /// None until the store is open.
    None,
}

/// A commit group that is changing pages.
#[derive(Debug)]
pub(crate) struct WriteGroup<'a> {
    pub(super) cache: &'a Cache,
    readers: Readers,
    pub(super) writer: &'a mut Writer,
    pub(super) lsn: Lsn,
    pub(super) guard: Option<Guard<'a>>,
    pub(super) in_place: InPlace,
    /// Excludes readers: the group has changed pages in place (CACHE-7).
    pub(super) exclusion: Option<Exclusion<'a>>,
    /// Whether predecessors of this group are in the history already.
    spilled: bool,
    /// How many pages it has changed or made, of those that it was promised (CACHE-12).
    changed: u64,
    /// The drafts that it has taken in: the last page of each, and where its pages are in the list of
    /// changed pages.
    pub(super) drafts: BTreeMap<PageId, Range<usize>>,
}

impl<'a> WriteGroup<'a> {
    /// Begins a group whose changes become visible together, at `lsn`.
    pub(crate) fn begin(cache: &'a Cache, writer: &'a mut Writer, lsn: Lsn) -> Self {
        Self::begin_with(cache, writer, lsn, Readers::Possible)
    }

    /// [`WriteGroup::begin`], for a caller that knows whether there are readers.
    pub(crate) fn begin_with(
        cache: &'a Cache,
        writer: &'a mut Writer,
        lsn: Lsn,
        readers: Readers,
    ) -> Self {
        // Without readers, a later group at the same LSN may change a page again.
        let is_next = lsn > cache.visible() || readers == Readers::None && lsn == cache.visible();
        assert!(is_next, "groups come in LSN order");
        assert!(readers == Readers::Possible || cache.registry.is_empty(), "a snapshot is open");
        debug_assert!(writer.superseded.is_empty(), "the last group was published");
        let in_place = InPlace::No;
        let (guard, exclusion) = (None, None);
        WriteGroup {
            cache,
            readers,
            writer,
            lsn,
            guard,
            in_place,
            exclusion,
            spilled: false,
            changed: 0,
            drafts: BTreeMap::new(),
        }
    }

    /// Begins a group of one transaction, which may change pages in place (CACHE-7).
    pub(crate) fn begin_single(cache: &'a Cache, writer: &'a mut Writer, lsn: Lsn) -> Self {
        WriteGroup { in_place: InPlace::IfUnread, ..WriteGroup::begin(cache, writer, lsn) }
    }

    /// Continues under the guard under which the caller has looked up the group's pages.
    pub(crate) fn under(mut self, guard: Option<Guard<'a>>) -> Self {
        self.guard = guard;
        self
    }

    pub(crate) fn lsn(&self) -> Lsn {
        self.lsn
    }

    /// How many pages it has changed or made.
    pub(crate) fn changed(&self) -> u64 {
        self.changed
    }

    pub(crate) fn cache(&self) -> &'a Cache {
        self.cache
    }

    /// The newest version of a page, this group's changes included.
    #[allow(unsafe_code)]
    pub(crate) fn page(&mut self, id: PageId) -> Result<&[u8]> {
        let frame = self.resident(id)?;
        self.cache.arena.visit(frame);
        // SAFETY: the newest version, under this group's guard. Only this group can change it, but not
        // while this borrow of the group lasts.
        Ok(unsafe { self.cache.arena.page(frame) })
    }

    /// A page of this group, to be changed: copied the first time that the group touches it.
    #[allow(unsafe_code)]
    pub(crate) fn page_mut(&mut self, id: PageId) -> Result<&mut [u8]> {
        let frame = self.own(id)?;
        // SAFETY: this group's own copy, above `settled`; the borrow of the group excludes others.
        Ok(unsafe { self.cache.arena.page_mut(frame) })
    }

    /// Two different pages of this group, to be changed.
    #[allow(unsafe_code)]
    pub(crate) fn two_mut(&mut self, a: PageId, b: PageId) -> Result<(&mut [u8], &mut [u8])> {
        assert_ne!(a, b);
        // The pin keeps the first page in memory while this makes room for the second.
        let pin = PinnedPage::new(&self.cache.arena, self.own(a)?);
        let second = self.own(b)?;
        drop(pin);
        // It may have been written out meanwhile; owning it again needs no room.
        let first = self.own(a)?;
        // SAFETY: as in `page_mut`; the frames differ since the pages do.
        Ok(unsafe { (self.cache.arena.page_mut(first), self.cache.arena.page_mut(second)) })
    }

    /// Two pages, this group's changes included.
    #[allow(unsafe_code)]
    pub(crate) fn two(&mut self, a: PageId, b: PageId) -> Result<(&[u8], &[u8])> {
        let first = self.resident(a)?;
        let pin = PinnedPage::new(&self.cache.arena, first);
        let second = self.resident(b)?;
        drop(pin);
        debug_assert_eq!(self.resident(a)?, first, "a page that is pinned is not evicted");
        // SAFETY: as in `page`.
        Ok(unsafe { (self.cache.arena.page(first), self.cache.arena.page(second)) })
    }

    /// Whether a page is in memory.
    pub(crate) fn is_resident(&self, id: PageId) -> bool {
        matches!(self.cache.table.newest(id), Word::Resident(_))
    }

    /// A new page, whose bytes are arbitrary: initialise it through [`WriteGroup::page_mut`].
    #[allow(unsafe_code)]
    pub(crate) fn create(&mut self) -> Result<PageId> {
        let frame = self.frame()?;
        let id = self.cache.new_page_id()?;
        // SAFETY: the frame is not published yet.
        header::init(unsafe { self.cache.arena.page_mut(frame) }, 0, 0, self.lsn, id);
        self.cache.arena.name(frame, id, self.lsn, None);
        self.adopt(id, Word::Resident(frame));
        Ok(id)
    }

    /// Takes in a page with an id from [`Cache::new_page_id`] that was made outside of the group, in a
    /// frame or directly on disk.
    pub(crate) fn adopt(&mut self, id: PageId, word: Word) {
        self.assert_open();
        if let Word::Resident(_) = word {
            self.changed += 1;
            self.cache.dirty.fetch_add(1, Ordering::Relaxed);
        } else if !self.cache.bypassed.load(Ordering::Relaxed) {
            self.cache.bypassed.store(true, Ordering::Relaxed);
        }
        let was_nothing = self.cache.table.replace(id, Word::Nothing, word);
        assert!(was_nothing, "page {id} is new");
        self.writer.changes.written.push(id);
    }

    /// Frees a page to which no page of this group refers any more. Readers below the group still find it.
    pub(crate) fn free(&mut self, id: PageId) {
        self.assert_open();
        self.writer.changes.freed.push((id, self.lsn));
    }

    /// Makes the whole group visible.
    pub(crate) fn publish(mut self) {
        let (cache, until) = (self.cache, self.lsn);
        // 1. Readers that begin now see the group.
        cache.visible.advance(until);
        self.exclusion = None;
        self.guard = None;
        // 2. The superseded versions are kept or freed.
        let superseded = &mut self.writer.superseded;
        if cache.registry.is_empty() {
            for Superseded { id, frame, .. } in superseded.drain(..) {
                cache.disown_superseded(id, frame);
                self.writer.retired.push(frame);
            }
        } else {
            self.keep_for_snapshots();
        }
        if self.spilled {
            // Until now readers at the former `visible` needed these versions.
            cache.publish_versions();
        }
        if self.writer.retired.len() >= self.cache.stash_size() {
            let retired = std::mem::replace(&mut self.writer.retired, Vec::with_capacity(STASH));
            cache.retire(retired);
        }
        // 3. From now on the group's pages may be evicted.
        cache.settled.advance_quietly(until);
    }

    fn keep_for_snapshots(&mut self) {
        let (cache, until) = (self.cache, self.lsn);
        let Writer { superseded, retired, .. } = &mut *self.writer;
        cache.history.insert(
            superseded.drain(..).map(|s| s.version(cache, until)),
            &cache.registry,
            &cache.arena,
            |id, frame| {
                cache.disown_superseded(id, frame);
                retired.push(frame);
            },
        );
    }

    /// Asserts that the group has not excluded readers.
    #[inline]
    fn assert_open(&self) {
        assert!(
            self.exclusion.is_none(),
            "CACHE-8: the group has changed pages in place, and must end now"
        );
    }

    /// The frame of the newest version of `id`, loaded if needed, under this group's guard.
    fn resident(&mut self, id: PageId) -> Result<Frame> {
        self.assert_open();
        loop {
            if self.guard.is_none() {
                self.guard = Some(self.cache.pin());
            }
            match self.cache.table.newest(id) {
                Word::Resident(frame) => {
                    self.cache.arena.prefetch(frame);
                    return Ok(frame);
                }
                Word::Nothing => panic!("a tree refers to page {id}, but there is no such page"),
                Word::OnDisk(_) | Word::NotLoaded => {
                    self.make_room_if_short();
                    // Loading may evict this group's own pages, if other threads took the frames.
                    self.set_aside();
                    let (cache, lsn) = (self.cache, self.lsn);
                    let stash = &mut self.writer.stash;
                    cache.load_surely(id, lsn, stash)?;
                }
            }
        }
    }

    /// The frame of this group's own copy of `id`.
    #[allow(unsafe_code)]
    fn own(&mut self, id: PageId) -> Result<Frame> {
        let (cache, lsn) = (self.cache, self.lsn);
        loop {
            let old = self.resident(id)?;
            if cache.arena.lsn(old) == lsn {
                let addr = cache.arena.addr(old);
                if mutant!(RewrittenPageStaysClean: !addr.is_none() => false) {
                    // The copy was written back to make room, and is about to change again.
                    cache.arena.set_addr(old, PageAddr::NONE);
                    cache.space.free(addr.block());
                    cache.dirty.fetch_add(1, Ordering::Relaxed);
                }
                return Ok(old);
            }
            if self.readers == Readers::None {
                self.take_over(id, old);
                return Ok(old);
            }
            let copy = self.frame()?;
            let Some(claim) = self.guard.as_ref().and_then(|_| cache.claim(id, old)) else {
                self.writer.stash.push(copy);
                continue; // making room for the copy may have dropped the guard, or evicted the page
            };
            // SAFETY: the old version is settled and guarded; the copy is not published.
            let (from, to) = unsafe { (cache.arena.page(old), cache.arena.page_mut(copy)) };
            (cache.copy_page)(from, to);
            header::set_lsn(to, lsn);
            cache.arena.name(copy, id, lsn, Some(old));
            let old_lsn = cache.arena.lsn(old);
            if !cache.arena.addr(old).is_none() {
                cache.dirty.fetch_add(1, Ordering::Relaxed);
            }
            claim.set(Word::Resident(copy));
            self.writer.superseded.push(Superseded { id, frame: old, lsn: old_lsn });
            self.list(id, old_lsn);
            return Ok(copy);
        }
    }

    /// Makes the newest version of `id`, which nobody reads, this group's own in place.
    #[allow(unsafe_code)]
    pub(super) fn take_over(&mut self, id: PageId, frame: Frame) {
        let (cache, old_lsn) = (self.cache, self.cache.arena.lsn(frame));
        let is_written = !cache.arena.addr(frame).is_none();
        if mutant!(RewrittenPageStaysClean: is_written => false) {
            cache.disown_superseded(id, frame);
            cache.arena.set_addr(frame, PageAddr::NONE);
            cache.dirty.fetch_add(1, Ordering::Relaxed);
        }
        cache.arena.set_lsn(frame, self.lsn);
        // SAFETY: above `settled` now, and there are no readers.
        header::set_lsn(unsafe { cache.arena.page_mut(frame) }, self.lsn);
        self.list(id, old_lsn);
    }

    /// Lists `id`, whose previous version is of `old_lsn`, as changed since the last checkpoint.
    fn list(&mut self, id: PageId, old_lsn: Lsn) {
        self.changed += 1;
        let checkpoint = self.writer.checkpoint;
        let is_listed = mutant!(ChangedPageUnlisted: old_lsn > checkpoint => old_lsn >= checkpoint);
        if !is_listed {
            self.writer.changes.written.push(id);
        }
    }

    /// A free frame. May drop the guard.
    fn frame(&mut self) -> Result<Frame> {
        self.assert_open();
        if let Some(frame) = self.writer.stash.pop() {
            return Ok(frame);
        }
        self.make_room_if_short();
        let stash = &mut self.writer.stash;
        self.cache.arena.take_many(self.cache.stash_size(), |frame| stash.push(frame));
        match stash.pop() {
            Some(frame) => Ok(frame),
            None => {
                self.set_aside();
                self.cache.allocate_surely(self.lsn, &mut self.writer.stash)
            }
        }
    }

    /// If frames run short within a group, makes the versions that it superseded and its own pages
    /// evictable, and evicts pages.
    fn make_room_if_short(&mut self) {
        let cache = self.cache;
        let has_beyond =
            self.writer.stash.last().is_some_and(|&frame| cache.arena.is_beyond(frame));
        if has_beyond || cache.arena.available() as usize >= cache.stash_size() {
            return;
        }
        self.set_aside();
        let retired = std::mem::take(&mut self.writer.retired);
        cache.retire(retired);
        for _ in 0..64 {
            if cache.arena.available() as usize >= self.cache.stash_size() {
                break;
            }
            if cache.sweep(self.lsn, 2 * self.cache.stash_size()).is_err() {
                break; // the caller takes memory beyond the cache (CACHE-13)
            }
            for _ in 0..3 {
                cache.pin().flush();
            }
        }
    }

    /// Drops the guard, and moves the versions that the group has superseded so far to the history.
    /// Readers then find them there without their successors, so that any page may be evicted.
    fn set_aside(&mut self) {
        let cache = self.cache;
        self.guard = None;
        let until = self.lsn;
        let superseded = std::mem::take(&mut self.writer.superseded);
        if superseded.is_empty() {
            return;
        }
        self.spilled = true;
        let versions = superseded.iter().map(|s| s.version(cache, until));
        cache.history.insert_unpublished(versions, &cache.arena);
        // Only now the chains may be cut: a reader finds the version in the chain or in the history.
        for s in &superseded {
            if let Word::Resident(newest) = cache.table.newest(s.id) {
                cache.arena.forget_previous(newest);
            }
        }
    }
}

impl Superseded {
    /// The entry for the history. A copy on disk that the checkpoint has is lent.
    fn version(&self, cache: &Cache, until: Lsn) -> SupersededVersion {
        let Superseded { id, frame, lsn } = *self;
        let addr = cache.arena.addr(frame);
        let lent = !addr.is_none() && addr == cache.table.checkpointed(id);
        SupersededVersion { id, frame, lsn, until, lent }
    }
}

impl Cache {
    /// Removes a freed page, and gives back its id. No snapshot below the group that freed it is open,
    /// and no checkpoint has it.
    pub(crate) fn remove(&self, id: PageId) -> Result<()> {
        loop {
            match self.table.newest(id) {
                Word::Nothing => break,
                Word::NotLoaded => self.load_words(id)?,
                Word::OnDisk(addr) => {
                    if self.table.replace(id, Word::OnDisk(addr), Word::Nothing) {
                        self.space.free(addr.block());
                        break;
                    }
                }
                Word::Resident(frame) => {
                    let Some(claim) = self.claim(id, frame) else { continue };
                    let addr = self.arena.addr(frame);
                    claim.set(Word::Nothing);
                    self.retire(vec![frame]);
                    if addr.is_none() {
                        self.dirty.fetch_sub(1, Ordering::Relaxed);
                    } else {
                        self.space.free(addr.block());
                    }
                    break;
                }
            }
        }
        self.reuse_page_id_later(id);
        Ok(())
    }

    /// How many frames the writer takes, keeps free and gives back at a time.
    fn stash_size(&self) -> usize {
        STASH.min(self.arena.frames() as usize / 16)
    }

    /// Gives up the copy on disk of a superseded version that is not kept (CACHE-5). The checkpoint keeps
    /// its own copies; others are freed.
    fn disown_superseded(&self, id: PageId, frame: Frame) {
        let addr = self.arena.addr(frame);
        if addr.is_none() {
            return;
        }
        if addr == self.table.checkpointed(id) {
            self.arena.set_addr(frame, PageAddr::NONE);
        } else {
            self.space.free(addr.block());
        }
    }
}
