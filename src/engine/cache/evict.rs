//! Eviction and write-back.
//!
//! CLOCK with second chances (Corbató 1968): a hand goes round the frames, and spares once a page that
//! was read since its last round. A page is loaded without that mark, so a scan of more data than fits
//! evicts its own pages, and not those that are read often.
//!
//! The sweep collects dirty victims, sorts them by page id, and writes them together to a fresh run of
//! blocks. Only then are they evicted (CACHE-4). Eviction waits for no flush: a checkpoint flushes the
//! pages that it refers to.
//!
//! Write-back may take long: the system throttles a thread that writes faster than the device.
//!
//! - The hand is no lock: every thread may move it.
//! - One thread at a time writes, mostly the cleaner ([`Cache::on_short_of_frames`]).
//! - A read takes the next clean page, and waits for a writer only if there is none (CACHE-11).

use std::fmt;

use super::arena::Frame;
use super::room::{Backing, OtherWriter};
use super::state::Cache;
use super::table::{Claim, Word};
use crate::engine::base::error::Result;
use crate::engine::base::lsn::Lsn;
use crate::engine::base::sync::atomic::{AtomicU32, Ordering};
use crate::engine::mutants::mutant;
use crate::engine::space::{PageAddr, PageId, header};

/// Dirty pages written together.
const WRITE_BATCH: usize = 128;

/// The position of the CLOCK hand.
#[derive(Debug, Default)]
pub(crate) struct Hand(AtomicU32);

impl Hand {
    /// The frame under the hand, which is moved past it.
    fn next(&self, frames: u32) -> Frame {
        // Where the counter wraps around, the hand jumps, and goes on from there.
        Frame(self.0.fetch_add(1, Ordering::Relaxed) % frames)
    }
}

/// Which pages a sweep takes as victims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victims {
    /// Pages that have a copy on disk. Dirty ones are skipped.
    Clean,
    /// All, until this many dirty ones are found.
    Any(usize),
}

/// The result of [`Cache::try_evict`].
enum Verdict {
    Spared,
    Evicted,
    Dirty(PageId, Lsn),
}

/// Wakes the thread that evicts ahead.
pub(super) struct Cleaner(Box<dyn Fn() + Send + Sync>);

impl fmt::Debug for Cleaner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cleaner")
    }
}

/// A version of a page that was copied in order to be written.
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

    /// Appends a zeroed page, for the caller to fill in.
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
    /// From now on `call` is called when few frames are free, to wake the cleaner. It must not wait.
    pub(crate) fn on_short_of_frames(&self, call: impl Fn() + Send + Sync + 'static) {
        assert!(self.cleaner.set(Cleaner(Box::new(call))).is_ok(), "a cache has one cleaner");
    }

    /// Wakes the cleaner if few frames are free. Returns whether there is a cleaner.
    pub(super) fn call_cleaner(&self) -> bool {
        let Some(Cleaner(call)) = self.cleaner.get() else { return false };
        if self.is_short_of_frames() {
            call();
        }
        true
    }

    /// Evicts about `want` pages, and frees the frames that the epoch allows. Returns how many it evicted.
    pub(crate) fn evict(&self, want: usize) -> Result<usize> {
        let evicted = self.sweep(self.settled.load(), want)?;
        self.pin().flush();
        Ok(evicted)
    }

    /// Evicts about `want` pages at or below `upto`, dirty ones after writing them. Returns how many
    /// frames it retired; they are free when the epoch has passed.
    pub(crate) fn sweep(&self, upto: Lsn, want: usize) -> Result<usize> {
        let _writing = match self.writing.try_lock() {
            Some(writing) => writing,
            None => match self.sweep_clean(upto, want) {
                0 => self.writing.lock(),
                count => return Ok(count),
            },
        };
        self.partial.store(true, Ordering::Relaxed);
        let (mut count, dirty) = self.advance_hand(upto, want, Victims::Any(WRITE_BATCH));
        if count < want {
            match self.write_back(dirty) {
                Ok(written) => count += written,
                Err(error) => {
                    // Reads must go on while nothing can be written: evict clean pages instead.
                    count += self.sweep_clean(upto, want);
                    return if count > 0 { Ok(count) } else { Err(error) };
                }
            }
        }
        let too_many_old = self.history.resident() > self.arena.frames() as usize / 8;
        if self.history.resident() > 0 && (count == 0 || too_many_old) {
            count += self.write_alone_if_full(OtherWriter::Checkpoint, || self.spill())?;
        }
        Ok(count)
    }

    /// Whether a thread is writing dirty pages now, to evict them.
    #[cfg(feature = "cli")]
    pub(crate) fn is_evicting(&self) -> bool {
        self.writing.try_lock().is_none()
    }

    /// Evicts about `want` clean pages at or below `upto`, without waiting. Returns how many frames it
    /// retired.
    pub(crate) fn sweep_clean(&self, upto: Lsn, want: usize) -> usize {
        self.partial.store(true, Ordering::Relaxed);
        self.advance_hand(upto, want, Victims::Clean).0
    }

    /// Moves the hand, at most two rounds, until it has evicted `want` clean pages or found enough dirty
    /// ones. Returns how many it evicted, and the dirty ones.
    fn advance_hand(
        &self,
        upto: Lsn,
        want: usize,
        victims: Victims,
    ) -> (usize, Vec<(PageId, Frame, Lsn)>) {
        let limit = match victims {
            Victims::Clean => usize::MAX,
            Victims::Any(limit) => limit,
        };
        let mut evicted = Vec::new();
        let mut dirty = Vec::new();
        let frames = self.arena.numbered();
        for _ in 0..2 * frames {
            if evicted.len() >= want || dirty.len() >= limit {
                break;
            }
            let frame = self.hand.next(frames);
            match self.try_evict(frame, upto) {
                Verdict::Evicted => evicted.push(frame),
                Verdict::Dirty(id, lsn) if victims != Victims::Clean => {
                    dirty.push((id, frame, lsn));
                }
                Verdict::Spared | Verdict::Dirty(..) => {}
            }
        }
        let count = evicted.len();
        self.retire(evicted);
        (count, dirty)
    }

    /// Evicts the page in `frame`, if it is a clean victim.
    fn try_evict(&self, frame: Frame, upto: Lsn) -> Verdict {
        let id = self.arena.page_id(frame);
        if id == PageId::NONE
            || self.table.newest(id) != Word::Resident(frame)
            || self.arena.unvisit(frame)
            || self.arena.is_pinned(frame)
        {
            return Verdict::Spared;
        }
        let Some(claim) = self.table.try_claim(id, frame) else { return Verdict::Spared };
        // Under the claim: the frame may have got another version of the page meanwhile.
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

    /// Writes dirty pages to fresh blocks, and evicts those that have not changed meanwhile.
    fn write_back(&self, mut dirty: Vec<(PageId, Frame, Lsn)>) -> Result<usize> {
        dirty.sort_unstable();
        dirty.dedup(); // the hand may have gone round twice
        self.write_alone_if_full(OtherWriter::Checkpoint, || self.try_write_back(dirty.clone()))
    }

    /// One attempt of [`Cache::write_back`].
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
        let addrs = self.write_pages(&mut pages, Backing::Reserved)?;
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

    /// Notes that the copied version, the newest of its page, was written to `addr`. False if it is not
    /// the newest any more, or has a copy already: then the caller frees `addr`.
    pub(super) fn note_written(&self, copied: Copied, addr: PageAddr) -> bool {
        self.claim_written(copied, addr).is_some()
    }

    /// [`Cache::note_written`], with the claim under which it was noted. The caller must act on it under
    /// that same claim: a frame that is claimed anew may have been freed meanwhile, and hold a newer
    /// version of the same page.
    fn claim_written(&self, copied: Copied, addr: PageAddr) -> Option<Claim<'_>> {
        let Copied { id, frame, lsn, tenancy } = copied;
        let claim = self.claim(id, frame)?;
        // If the page was freed meanwhile, another one may have its id and its frame (CACHE-15).
        let is_same = self.arena.tenancy(frame) == tenancy && self.arena.lsn(frame) == lsn;
        if !is_same || !self.arena.addr(frame).is_none() {
            return None;
        }
        self.arena.set_addr(frame, addr);
        self.dirty.fetch_sub(1, Ordering::Relaxed);
        Some(claim)
    }

    /// Claims a page whose newest version is in `frame`; spins while another thread has the claim.
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

    /// Seals the pages in `buffer`, writes them to fresh blocks, in order and in runs that are as long as
    /// possible, and empties the buffer. On an error all those blocks are free again. Pages that are
    /// [`Backing::Reserved`] are in flight from then on, until the caller calls `Space::landed`.
    pub(super) fn write_pages(
        &self,
        buffer: &mut PageBuffer,
        backing: Backing,
    ) -> Result<Vec<PageAddr>> {
        let size = buffer.page_bytes;
        let mut addrs: Vec<PageAddr> = Vec::with_capacity(buffer.ids.len());
        let store = self.space.store_id();
        let mut result = Ok(());
        while addrs.len() < buffer.ids.len() {
            let left = buffer.ids.len() - addrs.len();
            let run = match self.take_blocks(left as u32, backing) {
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
            if backing == Backing::Reserved {
                self.space.landed(addrs.len() as u64);
            }
            addrs.iter().for_each(|addr| self.space.free(addr.block()));
            return Err(error);
        }
        Ok(addrs)
    }
}
