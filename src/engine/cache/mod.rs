//! The cache: frames of memory, the page table, page versions, eviction and write-back.
//!
//! ```text
//!            page table: one word per PageId
//!                 |
//!        +--------+-----------+-----------------+
//!        | resident           | on disk         | not loaded yet
//!        v                    v                 v
//!   Frame (lsn 90) --prev--> Frame (lsn 70)     page map (space)
//!     newest version           still needed by readers below 90
//!
//!   history: versions that a registered snapshot needs, in memory or spilled
//! ```
//!
//! A **frame** is the memory of one version of one page. Frames are immutable once visible: the
//! commit path copies a page the first time a commit group touches it, changes the copy and
//! publishes it in the page table. Readers take no lock: they pin the epoch, read the `visible`
//! watermark as their LSN, and walk from the newest version to the one at or below it.
//!
//! A transaction whose leaves nobody can be reading changes them **in place** (CACHE-7): the copy of a
//! leaf that is not in the processor's cache is most of the cost of a small commit. A reader that
//! arrives meanwhile waits until the change is visible: 100 to 300 ns per change, at most 1,024 changes.
//! After a writer has met a reader it backs off and makes copies for a while.
//!
//! Invariants:
//!
//! - CACHE-1 A frame at or below `settled` never changes until it is freed, except under CACHE-7.
//! - CACHE-2 A reader at LSN s uses, of each page, the newest version at or below s.
//! - CACHE-3 A version in `[lsn, until)` stays as long as a snapshot in that range is registered. A version
//!   that no snapshot needs is freed once all readers that had pinned the epoch before have unpinned it.
//! - CACHE-4 Only a page whose newest version is settled is evicted. A dirty page is written first.
//! - CACHE-5 An extent has one owner: the last checkpoint, or the page table's word (or the frame it
//!   names), or the history. The owner that drops it frees it.
//! - CACHE-6 The page table's word of a resident page changes only under a claim on that page.
//! - CACHE-7 A frame changes in place only while nobody can read it. It is claimed and has no pin, and no
//!   snapshot is registered at its LSN or above. No other thread is pinned, and none can pin before
//!   the change is visible ([`epoch`]). A thread is pinned while it registers a snapshot; an
//!   unregistered reader takes its LSN after it has pinned.
//! - CACHE-8 A group that has excluded readers neither reads, loads, changes, makes nor frees a page from
//!   then until it is published: nothing can fail, and nothing waits. The group frees pages before it
//!   excludes readers, or else it makes copies.
//! - CACHE-9 Users' holds pin at most an eighth of all frames ([`hold`]).
//! - CACHE-10 An old version is in the heap of the oldest registered snapshot that needs it ([`history`]).
//! - CACHE-11 A read that needs a frame waits for no write while there is a clean page to evict.
//! - CACHE-12 For each page in memory that has no copy on disk a block of the data file is free ([`room`]).
//! - CACHE-13 Neither a read nor a commit that is in the log fails because pages cannot be written, and
//!   therefore cannot be evicted ([`beyond`]).
//! - CACHE-15 A written copy is recorded only for the page that was copied, not for a later page that has
//!   the same name and the same frame ([`arena`]).
//!
//! An unregistered read at `visible` may find that its version has just been freed. It then starts
//! over at the current `visible`. This never happens to a registered snapshot.
//!
//! Left out on purpose: latches (versions replace them), sibling links (a cursor keeps its path,
//! whose pages cannot change under it), and reference counts on ordinary reads (the epoch protects them).

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
pub(crate) use in_place::BACK_OFF;
pub(crate) use memory::MemorySource;
pub(crate) use reader::{Absent, PageRef};
pub(crate) use room::OtherWriter;
pub(crate) use state::{Cache, CacheOptions, Snapshot};
pub(crate) use writer::{Changes, Readers, WriteGroup, Writer};
