//! Drafts: pages made outside of a commit group, which a group takes in later.
//!
//! A small draft stays in frames; a large one is written straight to the data file. A draft that is
//! dropped before a group has taken it in frees its pages.

use super::evict::PageBuffer;
use super::room::Backing;
use super::state::Cache;
use super::table::Word;
use super::writer::WriteGroup;
use crate::engine::base::error::Result;
use crate::engine::base::lsn::Lsn;
use crate::engine::space::{PAGE_HEADER, PageId, header};

/// A value of more pages than this bypasses the cache.
const IN_FRAMES: usize = 16;
/// So does a value that would bring a transaction's drafts above one frame in this many: drafts cannot be
/// evicted.
const SHARE_OF_FRAMES: usize = 8;
/// Pages written at a time.
const BATCH: usize = 128;

/// Pages that nobody can reach yet.
#[derive(Debug)]
pub(crate) struct Draft<'c> {
    cache: &'c Cache,
    /// The pages, with where each is.
    pages: Vec<(PageId, Word)>,
    /// Pages not written yet, with their ids.
    buffer: Option<(PageBuffer, Vec<PageId>)>,
}

impl<'c> Draft<'c> {
    /// A draft for about `pages` pages of a transaction that has `others` in drafts already.
    pub(crate) fn new(cache: &'c Cache, pages: usize, others: usize) -> Self {
        let share = cache.frames() as usize / SHARE_OF_FRAMES;
        let bypasses = pages > IN_FRAMES || others + pages > share;
        let buffer = bypasses.then(|| (cache.page_buffer(), Vec::new()));
        Draft { cache, pages: Vec::new(), buffer }
    }

    /// Adds a page and returns its id. `fill` fills in the first bytes after the header (8 per child of
    /// an index), the rest is zero. Its LSN is 0.
    #[allow(unsafe_code)]
    pub(crate) fn add(
        &mut self,
        kind: u8,
        level: u8,
        count: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<PageId> {
        let id = self.cache.new_page_id()?;
        let body = if level == 0 { count } else { count * 8 };
        let write = |page: &mut [u8]| {
            page.fill(0);
            header::init(page, kind, level, Lsn::ZERO, id);
            header::set_count(page, count);
            fill(&mut page[PAGE_HEADER..PAGE_HEADER + body]);
        };
        if let Some((buffer, ids)) = &mut self.buffer {
            write(buffer.push_new(id));
            ids.push(id);
            if ids.len() == BATCH {
                self.write_out()?;
            }
        } else {
            let cache = self.cache;
            let frame = cache.allocate().inspect_err(|_| {
                cache.reuse_page_id(id);
            })?;
            // SAFETY: the frame is not published.
            write(unsafe { cache.arena.page_mut(frame) });
            cache.arena.name(frame, id, Lsn::ZERO, None);
            self.pages.push((id, Word::Resident(frame)));
        }
        Ok(id)
    }

    /// How many pages it has.
    pub(crate) fn len(&self) -> usize {
        self.pages.len()
    }

    /// How many of its pages have no copy on disk.
    pub(crate) fn unwritten(&self) -> usize {
        self.pages.iter().filter(|(_, word)| matches!(word, Word::Resident(_))).count()
    }

    /// Writes the pages that bypass the cache. Then the draft can be taken in.
    pub(crate) fn finish(&mut self) -> Result<()> {
        self.write_out()?;
        self.buffer = None; // a batch may have many drafts
        Ok(())
    }

    fn write_out(&mut self) -> Result<()> {
        if let Some((buffer, ids)) = &mut self.buffer {
            let result = self.cache.write_pages(buffer, Backing::Unreserved);
            let addrs = result.inspect_err(|_| {
                ids.drain(..).for_each(|id| self.cache.reuse_page_id(id));
            })?;
            let written = ids.drain(..).zip(addrs).map(|(id, addr)| (id, Word::OnDisk(addr)));
            self.pages.extend(written);
        }
        Ok(())
    }
}

impl WriteGroup<'_> {
    /// Takes in the pages of a draft.
    pub(crate) fn take_in(&mut self, draft: &mut Draft<'_>) {
        let from = self.writer.listed();
        let last = draft.pages.last().map(|(id, _)| *id);
        for (id, word) in draft.pages.drain(..) {
            self.adopt(id, word);
        }
        if let Some(last) = last {
            self.drafts.insert(last, from..self.writer.listed());
        }
    }

    /// Frees the pages of a draft that this group has taken in, identified by its last page. False if
    /// there is no such draft.
    pub(crate) fn free_draft(&mut self, last: PageId) -> bool {
        let Some(listed) = self.drafts.remove(&last) else { return false };
        for at in listed {
            self.free(self.writer.listed_since(at)[0]);
        }
        true
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        let unwritten = self.buffer.iter_mut().flat_map(|(_, ids)| ids.drain(..));
        unwritten.for_each(|id| self.cache.reuse_page_id(id));
        for (id, word) in self.pages.drain(..) {
            match word {
                Word::Resident(frame) => self.cache.arena.give_back(frame),
                Word::OnDisk(addr) => self.cache.space.free(addr.block()),
                Word::Nothing | Word::NotLoaded => {}
            }
            self.cache.reuse_page_id(id);
        }
    }
}
