//! The memory of all frames: one arena, backed by huge pages where the system has them.
//!
//! A frame is a 64-byte header and one page:
//!
//! | offset | bytes | field | guarded by |
//! |---|---|---|---|
//! | 0 | 4 | pins (28 bits), visited, retired | atomic |
//! | 4 | 4 | the frame of the previous version, plus 1 | set by the writer, read under an epoch |
//! | 8 | 8 | LSN of the version | set before the frame is published |
//! | 16 | 8 | page id, 0 while the frame is free | the same |
//! | 24 | 8 | address of the copy on disk, 0 while dirty | the claim on the page's word |
//! | 32 | 8 | how often the frame was given a page | set before the frame is published |
//! | 64 | page | the page | the writer until it is settled, then nobody (CACHE-1) |
//!
//! A frame is free when nobody can find it any more, the epoch has passed ([`Arena::release`]) and its
//! last pin is gone. A thread pins a page for one call. Users, who may hold pages for any time, pin few
//! frames ([`hold`](super::hold)).
#![allow(unsafe_code)] // owns the frame memory

use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::beyond::{Beyond, bytes_beyond};
use super::memory::{Memory, MemorySource};
use crate::engine::base::error::Result;
use crate::engine::base::lsn::Lsn;
use crate::engine::base::sync::Mutex;
use crate::engine::space::{PageAddr, PageId};

const FRAME_HEADER: usize = 64;
/// Cache lines from the start of a frame that a search will touch.
const PREFETCH_LINES: usize = 8;
/// Memory touched ahead with one system call: a huge page.
#[cfg(target_os = "linux")]
const TOUCH_PIECE: usize = 2 << 20;
const VISITED: u32 = 1 << 28;
const RETIRED: u32 = 1 << 29;
const PINS: u32 = VISITED - 1;
/// Users pin at most one frame in this many.
const HELD_SHARE: u32 = 8;

/// The number of a frame in the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Frame(pub(crate) u32);

#[repr(C)]
struct Header {
    state: AtomicU32,
    previous: AtomicU32,
    lsn: AtomicU64,
    page: AtomicU64,
    addr: AtomicU64,
    tenancy: AtomicU64,
}

const _: () = assert!(size_of::<Header>() <= FRAME_HEADER);

/// All frames of a store.
pub(crate) struct Arena {
    memory: Memory,
    base: *mut u8,
    page_bytes: usize,
    frames: u32,
    /// Frame numbers from here on have no memory.
    end: u32,
    beyond: Beyond,
    free: Mutex<Free>,
    /// The number of frames in `free`, readable without its lock.
    available: AtomicU32,
    /// How many frames users' holds pin (CACHE-9).
    held: AtomicU32,
}

#[derive(Debug)]
struct Free {
    /// Freed frames, the most recently freed last.
    list: Vec<Frame>,
    /// Frames from here on were never used.
    fresh: u32,
}

// SAFETY: `base` points into `memory`, which the arena owns; headers are atomics, and page bytes
// are only handed out under the contracts of `page` and `page_mut`.
unsafe impl Send for Arena {}
// SAFETY: as above.
unsafe impl Sync for Arena {}

impl Arena {
    /// An arena of `frames` frames for pages of `page_bytes`. A frame takes memory at its first use.
    pub(crate) fn new(frames: u32, page_bytes: usize, source: MemorySource) -> Result<Self> {
        let stride = FRAME_HEADER + page_bytes;
        let bytes = frames as usize * stride;
        let mut memory = Memory::new(bytes, bytes_beyond(bytes), source)?;
        let base = memory.as_mut_ptr();
        let end = (memory.map().len() / stride).min(u32::MAX as usize - 1) as u32;
        let beyond = Beyond::new(frames, end);
        let free = Mutex::new(Free { list: Vec::new(), fresh: 0 });
        let (available, held) = (AtomicU32::new(frames), AtomicU32::new(0));
        Ok(Arena { memory, base, page_bytes, frames, end, beyond, free, available, held })
    }

    /// Bytes from one frame to the next.
    fn stride(&self) -> usize {
        FRAME_HEADER + self.page_bytes
    }

    pub(crate) fn page_bytes(&self) -> usize {
        self.page_bytes
    }

    /// How many frames the cache has, without those [beyond](super::beyond) it.
    pub(crate) fn frames(&self) -> u32 {
        self.frames
    }

    /// One more than the number of the last frame in use, those beyond the cache included.
    pub(crate) fn numbered(&self) -> u32 {
        self.beyond.numbered()
    }

    /// How many of the cache's own frames are free.
    pub(crate) fn available(&self) -> u32 {
        self.available.load(Ordering::Relaxed)
    }

    /// A free frame, which now belongs to the caller alone.
    pub(crate) fn take(&self) -> Option<Frame> {
        let mut out = None;
        self.take_many(1, |frame| out = Some(frame));
        out
    }

    /// Up to `count` free frames at once.
    pub(crate) fn take_many(&self, count: usize, mut each: impl FnMut(Frame)) {
        let mut free = self.free.lock();
        let mut taken = 0;
        while taken < count {
            let frame = match free.list.pop() {
                Some(frame) => frame,
                None if free.fresh < self.frames => {
                    free.fresh += 1;
                    Frame(free.fresh - 1)
                }
                None => break,
            };
            taken += 1;
            each(frame);
        }
        self.available.fetch_sub(taken as u32, Ordering::Relaxed);
    }

    pub(super) fn is_beyond(&self, frame: Frame) -> bool {
        frame.0 >= self.frames
    }

    /// A frame beyond those of the cache (CACHE-13). `None` if there are no addresses left.
    pub(super) fn take_beyond(&self) -> Option<Frame> {
        self.beyond.take()
    }

    /// Gives back a frame that was never published.
    pub(crate) fn give_back(&self, frame: Frame) {
        self.forget(frame);
        if self.is_beyond(frame) {
            return self.beyond.give_back(frame, &self.memory, self.stride());
        }
        self.free.lock().list.push(frame);
        self.available.fetch_add(1, Ordering::Relaxed);
    }

    /// Frees frames that nobody can find any more: now, or when their last pin is gone.
    pub(crate) fn release(&self, frames: &[Frame]) {
        let mut free = None;
        let mut count = 0;
        for &frame in frames {
            let state = &self.header(frame).state;
            // Nobody can find the frame, so no pin can be added.
            let mut before = state.load(Ordering::Acquire);
            if before & PINS != 0 {
                before = state.fetch_or(RETIRED, Ordering::AcqRel);
            }
            debug_assert_eq!(before & RETIRED, 0, "{frame:?} is freed twice");
            if before & PINS == 0 {
                self.forget(frame);
                if self.is_beyond(frame) {
                    self.beyond.give_back(frame, &self.memory, self.stride());
                    continue;
                }
                free.get_or_insert_with(|| self.free.lock()).list.push(frame);
                count += 1;
            }
        }
        drop(free);
        self.available.fetch_add(count, Ordering::Relaxed);
    }

    /// In tests, overwrites a freed frame, so that a reader that still uses it fails.
    fn poison(&self, frame: Frame) {
        #[cfg(any(test, syncline_shuttle))]
        // SAFETY: inside the arena; nobody has the frame any more.
        unsafe {
            std::ptr::write_bytes(self.page_start(frame), 0xDD, self.page_bytes);
        }
        #[cfg(not(any(test, syncline_shuttle)))]
        let _ = frame;
    }

    /// Resets the header to that of a free frame.
    fn forget(&self, frame: Frame) {
        self.poison(frame);
        let header = self.header(frame);
        header.state.store(0, Ordering::Relaxed);
        header.page.store(0, Ordering::Relaxed);
    }

    /// Writes the header of a frame that belongs to the caller alone, as a dirty page.
    pub(crate) fn name(&self, frame: Frame, page: PageId, lsn: Lsn, previous: Option<Frame>) {
        let header = self.header(frame);
        header.state.store(0, Ordering::Relaxed);
        header.previous.store(previous.map_or(0, |f| f.0 + 1), Ordering::Relaxed);
        header.lsn.store(lsn.get(), Ordering::Relaxed);
        header.page.store(page.0, Ordering::Relaxed);
        header.addr.store(0, Ordering::Relaxed);
        header.tenancy.store(header.tenancy.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// How often the frame was given a page. It distinguishes a page from an earlier one in the same frame
    /// with the same id and LSN: pages of long values all have LSN 0, and page ids are reused.
    pub(crate) fn tenancy(&self, frame: Frame) -> u64 {
        self.header(frame).tenancy.load(Ordering::Relaxed)
    }

    pub(crate) fn lsn(&self, frame: Frame) -> Lsn {
        Lsn::new(self.header(frame).lsn.load(Ordering::Relaxed))
    }

    /// Makes a frame that is changed in place the version at `lsn`. Nobody reads it.
    pub(crate) fn set_lsn(&self, frame: Frame, lsn: Lsn) {
        self.header(frame).lsn.store(lsn.get(), Ordering::Relaxed);
    }

    pub(crate) fn page_id(&self, frame: Frame) -> PageId {
        PageId(self.header(frame).page.load(Ordering::Relaxed))
    }

    pub(crate) fn previous(&self, frame: Frame) -> Option<Frame> {
        self.header(frame).previous.load(Ordering::Acquire).checked_sub(1).map(Frame)
    }

    /// Cuts the chain of versions. A reader that sees this finds the previous version in the history.
    pub(crate) fn forget_previous(&self, frame: Frame) {
        self.header(frame).previous.store(0, Ordering::Release);
    }

    /// The address of the frame's copy on disk; none while it is dirty.
    pub(crate) fn addr(&self, frame: Frame) -> PageAddr {
        PageAddr::from_word(self.header(frame).addr.load(Ordering::Relaxed)).expect("an address")
    }

    pub(crate) fn set_addr(&self, frame: Frame, addr: PageAddr) {
        self.header(frame).addr.store(addr.word(), Ordering::Relaxed);
    }

    /// Sets the CLOCK mark: the page was read, and the next round of eviction spares it.
    pub(crate) fn visit(&self, frame: Frame) {
        let state = &self.header(frame).state;
        if state.load(Ordering::Relaxed) & VISITED == 0 {
            state.fetch_or(VISITED, Ordering::Relaxed);
        }
    }

    /// Clears the mark of [`Arena::visit`], and returns whether it was set.
    pub(crate) fn unvisit(&self, frame: Frame) -> bool {
        let state = &self.header(frame).state;
        state.load(Ordering::Relaxed) & VISITED != 0
            && state.fetch_and(!VISITED, Ordering::Relaxed) & VISITED != 0
    }

    pub(crate) fn is_pinned(&self, frame: Frame) -> bool {
        // Acquire: all reads under a released pin happened before this.
        self.header(frame).state.load(Ordering::Acquire) & PINS != 0
    }

    /// Pins a frame that an epoch guard of the caller protects, or that only the caller has.
    pub(super) fn pin(&self, frame: Frame) {
        let before = self.header(frame).state.fetch_add(1, Ordering::Relaxed);
        if before & PINS > PINS / 2 {
            // Well before the count reaches the flag bits: other threads may still add pins meanwhile.
            std::process::abort();
        }
    }

    /// Removes a pin. The last pin of a frame that nobody can find any more frees it.
    pub(super) fn unpin(&self, frame: Frame) {
        let before = self.header(frame).state.fetch_sub(1, Ordering::AcqRel);
        if before & RETIRED != 0 && before & PINS == 1 {
            self.give_back(frame);
        }
    }

    /// Counts one more frame that a user holds, if the limit allows it (CACHE-9).
    pub(super) fn may_hold(&self) -> bool {
        let most = self.frames / HELD_SHARE;
        let one_more = |held| (held < most).then_some(held + 1);
        self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    /// Undoes [`Arena::may_hold`].
    pub(super) fn hold_less(&self) {
        let before = self.held.fetch_sub(1, Ordering::Relaxed);
        assert!(
            before > 0 && before <= self.frames / HELD_SHARE,
            "CACHE-9: {before} frames were held, of at most {}",
            self.frames / HELD_SHARE
        );
    }

    /// The bytes of a frame.
    ///
    /// # Safety
    /// For all of `'a` nobody writes to the frame and it is not freed: it is settled (CACHE-1), and an
    /// epoch guard or a pin that outlives `'a` protects it; or it belongs to the caller alone.
    pub(crate) unsafe fn page<'a>(&self, frame: Frame) -> &'a [u8] {
        // SAFETY: inside the arena; the caller guarantees the rest.
        unsafe { std::slice::from_raw_parts(self.page_start(frame), self.page_bytes) }
    }

    /// The bytes of a frame, to be changed.
    ///
    /// # Safety
    /// For all of `'a` the frame belongs to the caller alone: it is not published, or its LSN is
    /// above `settled` and the caller is the writer.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn page_mut<'a>(&self, frame: Frame) -> &'a mut [u8] {
        // SAFETY: inside the arena; the caller guarantees the rest.
        unsafe { std::slice::from_raw_parts_mut(self.page_start(frame), self.page_bytes) }
    }

    /// Prefetches the start of a frame: its header, the page's header, and the slots of a full leaf. A
    /// search then waits for memory twice, once here and once for its cell, rather than at each step.
    #[inline]
    pub(crate) fn prefetch(&self, frame: Frame) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            let start = self.start(frame).cast::<i8>();
            for line in 0..PREFETCH_LINES {
                // A wrapping offset: the last lines of the last frame may be outside the arena.
                let at = start.wrapping_add(line * 64);
                // SAFETY: a prefetch reads nothing and never faults.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(at) };
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = frame;
    }

    /// Prefetches a whole page, which will be read from end to end.
    pub(crate) fn prefetch_page(&self, frame: Frame) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
            let start = self.page_start(frame).cast::<i8>();
            for at in (0..self.page_bytes).step_by(64) {
                // SAFETY: a prefetch reads nothing and never faults.
                unsafe { _mm_prefetch::<_MM_HINT_T1>(start.wrapping_add(at)) };
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = frame;
    }

    fn page_start(&self, frame: Frame) -> *mut u8 {
        // SAFETY: `start` checks that the frame lies inside the arena, header and page.
        unsafe { self.start(frame).add(FRAME_HEADER) }
    }

    fn header(&self, frame: Frame) -> &Header {
        crate::engine::base::sync::step();
        // SAFETY: inside the arena, aligned (the stride is a multiple of 64 and the base of a
        // mapping is page-aligned), zero bytes are a valid header, and all fields are atomics.
        unsafe { &*self.start(frame).cast::<Header>() }
    }

    fn start(&self, frame: Frame) -> *mut u8 {
        assert!(frame.0 < self.end, "{frame:?} is outside the arena");
        // SAFETY: below the arena's end by the check above.
        unsafe { self.base.add(frame.0 as usize * self.stride()) }
    }

    /// Faults in frames that were never used, ahead of their first use. Returns how many bytes.
    pub(crate) fn touch_ahead(&self, bytes: usize, touched: &mut usize) -> usize {
        let stride = self.stride();
        let fresh = self.free.lock().fresh as usize * stride;
        let until = (fresh + bytes).min(self.frames as usize * stride);
        let from = (*touched).max(fresh);
        if from >= until {
            return 0;
        }
        *touched = until;
        #[cfg(target_os = "linux")]
        {
            // A piece at a time: each call holds the lock of the process's address space. A thread whose
            // allocator grows its heap waits for that lock, and other threads wait for that thread.
            for start in (from & !4095..until).step_by(TOUCH_PIECE) {
                // If the advice fails, the first use takes the page fault: only slower.
                let _ = self.memory.map().advise_range(
                    memmap2::Advice::PopulateWrite,
                    start,
                    TOUCH_PIECE.min(until - start),
                );
            }
        }
        until - from
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        let used = self.free.lock().fresh as usize * self.stride();
        let [own, all] = [self.frames, self.numbered()].map(|end| end as usize * self.stride());
        self.memory.clear(own..all);
        self.memory.retire(used);
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arena").field("frames", &self.frames).field("free", &self.free).finish()
    }
}
