//! The page table: maps a page id to the location of the newest version.
//!
//! One word per page, in three levels of arrays that only grow:
//!
//! ```text
//!   bit 63 set      resident: the frame in bits 0 to 31; bit 61: claimed (CACHE-6)
//!   bit 62 set      not loaded: the page map on disk knows
//!   otherwise       the address on disk, 0 if there is no such page
//! ```
//!
//! A second word per page has its address in the last checkpoint. It tells who owns an extent
//! (CACHE-5) and which extents the next checkpoint releases.

use std::sync::OnceLock;

use super::arena::Frame;
use crate::engine::base::sync::atomic::{AtomicU64, Ordering};
use crate::engine::space::{PageAddr, PageId};

const RESIDENT: u64 = 1 << 63;
const NOT_LOADED: u64 = 1 << 62;
const CLAIMED: u64 = 1 << 61;

const CHUNK: usize = 512;
const MIDDLE: usize = 1024;
const ROOT: usize = 1024;
/// Page ids are below this: 4 TiB of pages of 8 KiB.
pub(crate) const PAGE_IDS: u64 = (CHUNK * MIDDLE * ROOT) as u64;

/// Where the newest version of a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// There is no such page.
    Nothing,
    Resident(Frame),
    OnDisk(PageAddr),
    /// The page's leaf of the page map has not been read yet.
    NotLoaded,
}

struct Chunk {
    newest: [AtomicU64; CHUNK],
    checkpointed: [AtomicU64; CHUNK],
}

type Middle = [OnceLock<Box<Chunk>>];

pub(crate) struct PageTable {
    root: Box<[OnceLock<Box<Middle>>]>,
}

impl PageTable {
    /// A table in which nothing is loaded.
    pub(crate) fn new() -> Self {
        PageTable { root: (0..ROOT).map(|_| OnceLock::new()).collect() }
    }

    /// Where the newest version of `id` is.
    #[inline]
    pub(crate) fn newest(&self, id: PageId) -> Word {
        self.chunk_if_any(id).map_or(Word::NotLoaded, |chunk| {
            decode(chunk.newest[id.0 as usize % CHUNK].load(Ordering::Acquire))
        })
    }

    /// The address of `id` in the last checkpoint.
    pub(crate) fn checkpointed(&self, id: PageId) -> PageAddr {
        let word = self.chunk(id).checkpointed[id.0 as usize % CHUNK].load(Ordering::Relaxed);
        assert_ne!(word, NOT_LOADED, "page {id} is not loaded");
        PageAddr::from_word(word).expect("an address")
    }

    /// Sets the address of `id` in the checkpoint that has just completed.
    pub(crate) fn set_checkpointed(&self, id: PageId, addr: PageAddr) {
        let at = id.0 as usize % CHUNK;
        self.chunk(id).checkpointed[at].store(addr.word(), Ordering::Relaxed);
    }

    /// Fills in the page map's address of `id`, unless another thread has done so.
    pub(crate) fn load(&self, id: PageId, addr: PageAddr) {
        let chunk = self.chunk(id);
        let at = id.0 as usize % CHUNK;
        // The checkpointed word first: a thread that sees the newest word loaded sees this one too.
        // Never over a loaded word: the address from the map may be out of date by now.
        for word in [&chunk.checkpointed[at], &chunk.newest[at]] {
            let _ =
                word.compare_exchange(NOT_LOADED, addr.word(), Ordering::AcqRel, Ordering::Acquire);
        }
    }

    /// Changes the word of a page that is not resident. Returns whether it still was `from`.
    pub(crate) fn replace(&self, id: PageId, from: Word, to: Word) -> bool {
        let at = id.0 as usize % CHUNK;
        self.chunk(id).newest[at]
            .compare_exchange(encode(from), encode(to), Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Claims a resident page (CACHE-6). `None` if its newest version is not in `frame`, or another
    /// thread has claimed it.
    pub(crate) fn try_claim(&self, id: PageId, frame: Frame) -> Option<Claim<'_>> {
        let word = &self.chunk(id).newest[id.0 as usize % CHUNK];
        let resident = encode(Word::Resident(frame));
        let claimed = resident | CLAIMED;
        word.compare_exchange(resident, claimed, Ordering::AcqRel, Ordering::Relaxed).ok()?;
        // Made only after success: dropping a claim writes the word.
        Some(Claim { word, frame })
    }

    #[inline]
    fn chunk_if_any(&self, id: PageId) -> Option<&Chunk> {
        let at = id.0 as usize / CHUNK;
        Some(self.root[at / MIDDLE].get()?[at % MIDDLE].get()?)
    }

    fn chunk(&self, id: PageId) -> &Chunk {
        assert!(id.0 < PAGE_IDS, "page {id} is beyond the page table");
        let at = id.0 as usize / CHUNK;
        self.root[at / MIDDLE].get_or_init(|| (0..MIDDLE).map(|_| OnceLock::new()).collect())
            [at % MIDDLE]
            .get_or_init(|| {
                Box::new(Chunk {
                    newest: std::array::from_fn(|_| AtomicU64::new(NOT_LOADED)),
                    checkpointed: std::array::from_fn(|_| AtomicU64::new(NOT_LOADED)),
                })
            })
    }
}

impl std::fmt::Debug for PageTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PageTable")
    }
}

/// The right to change a resident page's word: a latch that is held for a few instructions, or while
/// the writer copies the page. Dropping it leaves the page where it was.
pub(crate) struct Claim<'a> {
    word: &'a AtomicU64,
    frame: Frame,
}

impl Claim<'_> {
    /// Ends the claim: from now on the page is at `to`.
    pub(crate) fn set(self, to: Word) {
        self.word.store(encode(to), Ordering::Release);
        std::mem::forget(self);
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.word.store(encode(Word::Resident(self.frame)), Ordering::Release);
    }
}

#[inline]
fn decode(word: u64) -> Word {
    if word & RESIDENT != 0 {
        Word::Resident(Frame(word as u32))
    } else if word == 0 {
        Word::Nothing
    } else if word & NOT_LOADED != 0 {
        Word::NotLoaded
    } else {
        Word::OnDisk(PageAddr::from_word(word).expect("an address"))
    }
}

fn encode(word: Word) -> u64 {
    match word {
        Word::Nothing => 0,
        Word::Resident(frame) => RESIDENT | u64::from(frame.0),
        Word::OnDisk(addr) => addr.word(),
        Word::NotLoaded => NOT_LOADED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_that_fails_leaves_the_page_where_it_is() {
        let (table, id) = (PageTable::new(), PageId(7));
        table.load(id, PageAddr::NONE);
        assert!(table.replace(id, Word::Nothing, Word::Resident(Frame(2))));
        assert!(table.try_claim(id, Frame(1)).is_none());
        assert_eq!(table.newest(id), Word::Resident(Frame(2)));

        let claim = table.try_claim(id, Frame(2)).expect("free");
        assert!(table.try_claim(id, Frame(2)).is_none(), "claimed already");
        claim.set(Word::Resident(Frame(3)));
        assert_eq!(table.newest(id), Word::Resident(Frame(3)));
        drop(table.try_claim(id, Frame(3)).expect("the claim has ended"));
        assert_eq!(table.newest(id), Word::Resident(Frame(3)));
    }
}
