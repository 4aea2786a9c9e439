//! Eviction and write-back.
//!
//! CLOCK with second chances (Corbató 1968): a hand goes round the frames; a page read since it
//! last came by is spared once. A page comes in without the mark, so one pass over more data than
//! fits evicts itself and not what is read often.
//!
//! Dirty pages on the way are collected, sorted by name, and written together to a fresh run of
//! blocks; only then are they evicted (CACHE-4). Nothing waits for a flush here: what a checkpoint
//! refers to, the checkpoint flushes.
//!
//! Writing may take long: the system makes a thread wait that writes more than the device takes.
//! So the hand is no lock, and is moved by anybody; one thread at a time writes, mostly the cleaner
//! ([`Cache::on_short_of_frames`]); and a read takes a clean page, wherever the hand finds one, and
//! waits for a writer only where there is none (CACHE-11).

use std::fmt;

use super::arena::Frame;
use super::room::{Counted, Others};
use super::state::Cache;
use super::table::{Claim, Word};
use crate::engine::base::error::Result;
use crate::engine::base::lsn::Lsn;
use crate::engine::base::sync::atomic::{AtomicU32, Ordering};
use crate::engine::mutants::mutant;
use crate::engine::space::{PageAddr, PageId, header};

/// Dirty pages written in one go.
const WRITE_BATCH: usize = 128;

/// Where the hand stands. Anybody may move it on.
#[derive(Debug, Default)]
pub(crate) struct Hand(AtomicU32);

impl Hand {
    /// The frame that it is at, past which it is moved.
    fn next(&self, frames: u32) -> Frame {
        // Where the number begins anew, the hand jumps; it goes round from there.
        Frame(self.0.fetch_add(1, Ordering::Relaxed) % frames)
    }
}

/// Which pages are to be evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pages {
    /// Those that have a copy on disk. Dirty ones are passed over.
    Clean,
    /// Any, until so many dirty ones are found.
    Any(usize),
}

/// What the hand makes of a frame.
enum Verdict {
    Spared,
    Evicted,
    Dirty(PageId, Lsn),
}

/// Whoever evicts ahead is called so.
pub(super) struct Cleaner(Box<dyn Fn() + Send + Sync>);

impl fmt::Debug for Cleaner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cleaner")
    }
}

/// A version of a page that was copied, to be written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Copied {
    pub(super) id: PageId,
    pub(super) frame: Frame,
    pub(super) lsn: Lsn,
    /// See [`Arena::tenancy`](super::arena::Arena::tenancy).
    pub(super) tenancy: u64,
}

/// Copies of pages on their way to the disk.
#[derive(Debug)]
pub(crate) struct PageBuffer {
    bytes: Vec<u8>,
    ids: Vec<PageId>,
    page_bytes: usize,
}

impl PageBuffer {
    /// Appends a copy of a page.
    pub(crate) fn push(&mut self, id: PageId, page: &[u8]) {
        debug_assert_eq!(header::page_id(page), id);
        self.bytes.extend_from_slice(page);
        self.ids.push(id);
    }

    /// Appends a page to be filled in.
    pub(crate) fn push_new(&mut self, id: PageId) -> &mut [u8] {
        let at = self.bytes.len();
        self.bytes.resize(at + self.page_bytes, 0);
        self.ids.push(id);
        &mut self.bytes[at..]
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ids.clear();
    }
}

impl Cache {
    /// From now on `call` is called where few frames are free, to evict ahead. It must not wait.
    pub(crate) fn on_short_of_frames(&self, call: impl Fn() + Send + Sync + 'static) {
        assert!(self.cleaner.set(Cleaner(Box::new(call))).is_ok(), "one cleaner for a cache");
    }

    /// Calls the cleaner if few frames are free. Returns whether there is one.
    pub(super) fn call_cleaner(&self) -> bool {
        let Some(Cleaner(call)) = self.cleaner.get() else { return false };
        if self.is_short_of_frames() {
            call();
        }
        true
    }

    /// Evicts about `want` pages, and frees what frames the epoch allows. Returns how many were
    /// evicted.
    pub(crate) fn evict(&self, want: usize) -> Result<usize> {
        let evicted = self.sweep(self.settled.load(), want)?;
        self.pin().flush();
        Ok(evicted)
    }

    /// Evicts about `want` pages at or below `upto`, writing dirty ones first. Returns how many
    /// frames were retired; they come free when the epoch has passed.
    pub(crate) fn sweep(&self, upto: Lsn, want: usize) -> Result<usize> {
        let _writing = match self.writing.try_lock() {
            Some(writing) => writing,
            None => match self.sweep_clean(upto, want) {
                0 => self.writing.lock(),
                count => return Ok(count),
            },
        };
        self.partial.store(true, Ordering::Relaxed);
        let (mut count, dirty) = self.turn(upto, want, Pages::Any(WRITE_BATCH));
        if count < want {
            match self.write_back(dirty) {
                Ok(written) => count += written,
                Err(error) => {
                    // Reads must go on while nothing can be written: clean pages will do.
                    count += self.sweep_clean(upto, want);
                    return if count > 0 { Ok(count) } else { Err(error) };
                }
            }
        }
        let too_many_old = self.history.resident() > self.arena.frames() as usize / 8;
        if self.history.resident() > 0 && (count == 0 || too_many_old) {
            count += self.write_alone_if_full(Others::Checkpoint, || self.spill())?;
        }
        Ok(count)
    }

    /// Whether somebody writes dirty pages now, to evict them.
    pub(crate) fn is_evicting(&self) -> bool {
        self.writing.try_lock().is_none()
    }

    /// Evicts about `want` clean pages at or below `upto`, without waiting for anybody. Returns how
    /// many frames were retired.
    pub(crate) fn sweep_clean(&self, upto: Lsn, want: usize) -> usize {
        self.partial.store(true, Ordering::Relaxed);
        self.turn(upto, want, Pages::Clean).0
    }

    /// Moves the hand on, at most two rounds, until `want` clean pages are evicted or enough dirty
    /// ones found. Returns how many were evicted, and the dirty ones.
    fn turn(&self, upto: Lsn, want: usize, pages: Pages) -> (usize, Vec<(PageId, Frame, Lsn)>) {
        let limit = match pages {
            Pages::Clean => usize::MAX,
            Pages::Any(limit) => limit,
        };
        let mut evicted = Vec::new();
        let mut dirty = Vec::new();
        let frames = self.arena.numbered();
        for _ in 0..2 * frames {
            if evicted.len() >= want || dirty.len() >= limit {
                break;
            }
            let frame = self.hand.next(frames);
            match self.consider(frame, upto) {
                Verdict::Evicted => evicted.push(frame),
                Verdict::Dirty(id, lsn) if pages != Pages::Clean => dirty.push((id, frame, lsn)),
                Verdict::Spared | Verdict::Dirty(..) => {}
            }
        }
        let count = evicted.len();
        self.retire(evicted);
        (count, dirty)
    }

    fn consider(&self, frame: Frame, upto: Lsn) -> Verdict {
        let id = self.arena.page_id(frame);
        if id == PageId::NONE
            || self.table.newest(id) != Word::Resident(frame)
            || self.arena.unvisit(frame)
            || self.arena.is_pinned(frame)
        {
            return Verdict::Spared;
        }
        let Some(claim) = self.table.try_claim(id, frame) else { return Verdict::Spared };
        // Only now: the frame may have got another version of the page since it was looked at.
        if self.arena.lsn(frame) > upto {
            return Verdict::Spared;
        }
        let addr = mutant!(DirtyPageDropped: self.arena.addr(frame) => {
            let addr = self.arena.addr(frame);
            if addr.is_none() { self.table.checkpointed(id) } else { addr }
        });
        if addr.is_none() {
            return Verdict::Dirty(id, self.arena.lsn(frame));
        }
        claim.set(Word::OnDisk(addr));
        self.counters.evicted();
        Verdict::Evicted
    }

    /// Writes dirty pages to fresh blocks and evicts those that nobody changed meanwhile.
    fn write_back(&self, mut dirty: Vec<(PageId, Frame, Lsn)>) -> Result<usize> {
        dirty.sort_unstable();
        dirty.dedup(); // the hand may have gone round twice
        self.write_alone_if_full(Others::Checkpoint, || self.try_write_back(dirty.clone()))
    }

    /// [`Cache::write_back`], once.
    fn try_write_back(&self, dirty: Vec<(PageId, Frame, Lsn)>) -> Result<usize> {
        let mut pages = self.page_buffer();
        let mut copied = Vec::with_capacity(dirty.len());
        let guard = self.pin();
        for (id, frame, lsn) in dirty {
            if self.is_newest(id, frame, lsn) {
                pages.push(id, self.page_ref(frame, &guard).bytes());
                copied.push(Copied { id, frame, lsn, tenancy: self.arena.tenancy(frame) });
            }
        }
        drop(guard);
        let addrs = self.write_pages(&mut pages, Counted::Homeless)?;
        let mut evicted = Vec::new();
        for (copied, addr) in copied.into_iter().zip(addrs) {
            self.space.landed(1);
            let Some(claim) = self.claim_written(copied, addr) else {
                self.space.free(addr.block());
                continue;
            };
            if !self.arena.is_pinned(copied.frame) {
                claim.set(Word::OnDisk(addr));
                self.counters.evicted();
                evicted.push(copied.frame);
            }
        }
        let count = evicted.len();
        self.retire(evicted);
        Ok(count)
    }

    fn is_newest(&self, id: PageId, frame: Frame, lsn: Lsn) -> bool {
        self.table.newest(id) == Word::Resident(frame)
            && self.arena.lsn(frame) == lsn
            && self.arena.addr(frame).is_none()
    }

    /// Notes that what was copied, the newest version of its page, is at `addr`. False if it is
    /// not the newest any more, or has a copy already: then `addr` is the caller's to free.
    pub(super) fn note_written(&self, copied: Copied, addr: PageAddr) -> bool {
        self.claim_written(copied, addr).is_some()
    }

    /// [`Cache::note_written`], with the claim under which it was noted. Whatever follows from it
    /// must happen under that same claim: a frame that is claimed anew may have been freed and
    /// hold a newer version of the same page.
    fn claim_written(&self, copied: Copied, addr: PageAddr) -> Option<Claim<'_>> {
        let Copied { id, frame, lsn, tenancy } = copied;
        let claim = self.claim(id, frame)?;
        // A page that was freed meanwhile may have given its name and its frame to another (CACHE-15).
        let is_same = self.arena.tenancy(frame) == tenancy && self.arena.lsn(frame) == lsn;
        if !is_same || !self.arena.addr(frame).is_none() {
            return None;
        }
        self.arena.set_addr(frame, addr);
        self.dirty.fetch_sub(1, Ordering::Relaxed);
        Some(claim)
    }

    /// Claims a page whose newest version is in `frame`, waiting for a claim that somebody else
    /// has for an instant.
    pub(super) fn claim(&self, id: PageId, frame: Frame) -> Option<Claim<'_>> {
        loop {
            if let Some(claim) = self.table.try_claim(id, frame) {
                return Some(claim);
            }
            if self.table.newest(id) != Word::Resident(frame) {
                return None;
            }
            crate::engine::base::sync::thread::yield_now();
        }
    }

    /// An empty buffer for pages to be written.
    pub(crate) fn page_buffer(&self) -> PageBuffer {
        PageBuffer { bytes: Vec::new(), ids: Vec::new(), page_bytes: self.page_bytes() }
    }

    /// Seals the pages in `buffer`, writes them to fresh blocks, in order and in runs as long as
    /// there are, and empties the buffer. On an error all those blocks are free again. Pages that
    /// are [`Counted::Homeless`] are in flight from then on, until the caller says that they landed.
    pub(super) fn write_pages(
        &self,
        buffer: &mut PageBuffer,
        counted: Counted,
    ) -> Result<Vec<PageAddr>> {
        let size = buffer.page_bytes;
        let mut addrs: Vec<PageAddr> = Vec::with_capacity(buffer.ids.len());
        let store = self.space.store_id();
        let mut result = Ok(());
        while addrs.len() < buffer.ids.len() {
            let left = buffer.ids.len() - addrs.len();
            let run = match self.take_blocks(left as u32, counted) {
                Ok(run) => run,
                Err(error) => {
                    result = Err(error);
                    break;
                }
            };
            let count = run.count as usize;
            let at = addrs.len() * size;
            let pages = &mut buffer.bytes[at..at + count * size];
            for (nth, page) in pages.chunks_exact_mut(size).enumerate() {
                let crc = header::seal(page, store);
                addrs.push(PageAddr::new(run.block + nth as u64, crc));
            }
            result = self.space.write_run(run.block, pages);
            mutant!(PageWriteErrorIgnored => result = Ok(()));
            if result.is_err() {
                break;
            }
        }
        self.counters.wrote(buffer.ids.len() as u64);
        buffer.clear();
        if let Err(error) = result {
            if counted == Counted::Homeless {
                self.space.landed(addrs.len() as u64);
            }
            addrs.iter().for_each(|addr| self.space.free(addr.block()));
            return Err(error);
        }
        Ok(addrs)
    }
}
