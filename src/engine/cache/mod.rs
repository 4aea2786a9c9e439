//! The cache: frames of memory, the page table, page versions, eviction and write-back.
//!
//! ```text
//!            page table: one word for each PageId
//!                 |
//!        +--------+-----------+-----------------+
//!        | resident           | on disk         | not loaded yet
//!        v                    v                 v
//!   Frame (lsn 90) --prev--> Frame (lsn 70)     page map (space)
//!     newest version           still needed by whoever reads below 90
//!
//!   history: versions that a registered snapshot needs, in memory or spilled
//! ```
//!
//! A **frame** is the memory of one version of one page. Frames are immutable once visible: the
//! commit path copies a page the first time a commit group touches it, changes the copy and
//! publishes it in the page table. Readers take no lock: they pin the epoch, read the `visible`
//! watermark as their LSN, and walk from the newest version to the one at or below it.
//!
//! A transaction whose leaves nobody can be reading changes them **in place** (CACHE-7): most of what a
//! small commit costs is the copy of a leaf that is not in the processor's cache. A reader that
//! comes meanwhile waits for the end: 100 to 300 ns for one change, that for each change of a batch,
//! of at most 1,024. After a writer has met a reader it makes copies for a while, so that
//! the two seldom meet.
//!
//! Invariants:
//!
//! - CACHE-1 A frame at or below `settled` never changes until it is freed, but for CACHE-7.
//! - CACHE-2 A reader at LSN s uses, of each page, the newest version at or below s.
//! - CACHE-3 A version in `[lsn, until)` stays as long as a snapshot in that range is registered; one
//!   that no snapshot needs is freed once no reader that pinned the epoch before can hold it.
//! - CACHE-4 Only a page whose newest version is settled is evicted; a dirty one is written before.
//! - CACHE-5 An extent has one owner: the last checkpoint, or the page table's word (or the frame it
//!   names), or the history. Whoever drops it frees it.
//! - CACHE-6 Whoever changes the page table's word of a resident page has claimed it.
//! - CACHE-7 A frame changes in place only while nobody can read it: it is claimed and has no pin, no
//!   snapshot is registered at its LSN or above, and no other thread is pinned or comes to be
//!   before the change is visible ([`epoch`]). A thread that registers a snapshot is pinned meanwhile;
//!   one that reads without having registered takes its LSN after it was pinned.
//! - CACHE-8 A group that has excluded readers neither reads, loads, changes, makes nor frees a page from
//!   then until it is published: nothing can fail, and nothing waits. Whatever the group must free
//!   it frees before, or it makes copies.
//! - CACHE-9 What users hold pins at most an eighth of all frames ([`hold`]).
//! - CACHE-10 An old version is in the heap of the oldest registered snapshot that needs it ([`history`]).
//! - CACHE-11 A read that needs a frame waits for no write while there is a clean page to evict.
//! - CACHE-12 For each page in memory that has no copy on disk a block of the data file is free ([`room`]).
//! - CACHE-13 Neither a read nor a commit that is in the log fails because no page can be written, and so
//!   none be evicted ([`beyond`]).
//! - CACHE-15 A copy that was written is noted only of the page that was copied, not of another that has got
//!   its name and its frame meanwhile ([`arena`]).
//!
//! A read at `visible` that is not registered may find that its version has just gone: then it
//! starts over at the present `visible`. A registered snapshot never finds that.
//!
//! Left out on purpose: latches (versions replace them), sibling links (a cursor keeps its path,
//! whose pages cannot change under it), and reference counts on ordinary reads (the epoch serves).

mod arena;
mod beyond;
mod checkpoint;
mod counters;
mod draft;
mod epoch;
mod evict;
mod heaps;
mod history;
mod hold;
mod in_place;
mod load;
mod memory;
mod reader;
mod registry;
mod room;
mod spill;
mod state;
mod table;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use checkpoint::Placed;
pub(crate) use draft::Draft;
pub(crate) use epoch::Guard;
pub(crate) use hold::{Hold, PinnedPage};
pub(crate) use in_place::PATIENCE;
pub(crate) use memory::MemorySource;
pub(crate) use reader::{Absent, PageRef};
pub(crate) use room::Others;
pub(crate) use state::{Cache, CacheOptions, Snapshot};
pub(crate) use writer::{Changes, Readers, WriteGroup, Writer};
