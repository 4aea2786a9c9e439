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
//! | 24 | 8 | where a copy lies on disk, 0 while it is dirty | the claim on the page's word |
//! | 32 | 8 | how often the frame was given a page | set before the frame is published |
//! | 64 | page | the page | the writer until it is settled, then nobody (CACHE-1) |
//!
//! A frame is freed in two steps: nobody can find it any more and the epoch has passed
//! ([`Arena::release`]), and the last pin has gone. A thread pins a page for as long as one call
//! takes; what a user may hold for ever pins few frames ([`hold`](super::hold)).
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
/// Cache lines from the start of a frame that a search is about to touch.
const PREFETCH_LINES: usize = 8;
/// Memory touched ahead with one system call: a huge page.
#[cfg(target_os = "linux")]
const TOUCH_PIECE: usize = 2 << 20;
const VISITED: u32 = 1 << 28;
const RETIRED: u32 = 1 << 29;
const PINS: u32 = VISITED - 1;
/// What users hold pins at most this part of all frames.
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
    /// Frames from here on are outside of the memory.
    end: u32,
    beyond: Beyond,
    free: Mutex<Free>,
    /// How many frames are free: what `free` holds, readable without its lock.
    available: AtomicU32,
    /// How many frames are pinned by what a user holds (CACHE-9).
    held: AtomicU32,
}

#[derive(Debug)]
struct Free {
    /// Freed frames, the warmest last.
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
    /// An arena of `frames` frames for pages of `page_bytes`. Memory is taken as frames are first
    /// used.
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

    /// Bytes from frame to frame.
    fn stride(&self) -> usize {
        FRAME_HEADER + self.page_bytes
    }

    pub(crate) fn page_bytes(&self) -> usize {
        self.page_bytes
    }

    /// How many frames there are, without those beyond.
    pub(crate) fn frames(&self) -> u32 {
        self.frames
    }

    /// One more than the number of the last frame that is used, those beyond included.
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

    /// Whether a frame is not one of the cache's own.
    pub(super) fn is_beyond(&self, frame: Frame) -> bool {
        frame.0 >= self.frames
    }

    /// A frame beyond those of the cache (CACHE-13). None if there are no more addresses for any.
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

    /// Frees frames that nobody can find any more: at once, or with their last pin.
    pub(crate) fn release(&self, frames: &[Frame]) {
        let mut free = None;
        let mut count = 0;
        for &frame in frames {
            let state = &self.header(frame).state;
            // Nobody can find it, so that a frame without pins gets none any more.
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

    /// Makes whoever still reads a frame that was freed notice.
    fn poison(&self, frame: Frame) {
        #[cfg(any(test, syncline_shuttle))]
        // SAFETY: inside the arena; nobody has the frame any more.
        unsafe {
            std::ptr::write_bytes(self.page_start(frame), 0xDD, self.page_bytes);
        }
        #[cfg(not(any(test, syncline_shuttle)))]
        let _ = frame;
    }

    /// Makes the header that of a free frame.
    fn forget(&self, frame: Frame) {
        self.poison(frame);
        let header = self.header(frame);
        header.state.store(0, Ordering::Relaxed);
        header.page.store(0, Ordering::Relaxed);
    }

    /// Writes the header of a frame that belongs to the caller alone, a dirty one.
    pub(crate) fn name(&self, frame: Frame, page: PageId, lsn: Lsn, previous: Option<Frame>) {
        let header = self.header(frame);
        header.state.store(0, Ordering::Relaxed);
        header.previous.store(previous.map_or(0, |f| f.0 + 1), Ordering::Relaxed);
        header.lsn.store(lsn.get(), Ordering::Relaxed);
        header.page.store(page.0, Ordering::Relaxed);
        header.addr.store(0, Ordering::Relaxed);
        header.tenancy.store(header.tenancy.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// How often the frame was given a page: tells its content from what it held before, also where page
    /// id and LSN are the same. The pages of long values all have LSN 0, and names are given again.
    pub(crate) fn tenancy(&self, frame: Frame) -> u64 {
        self.header(frame).tenancy.load(Ordering::Relaxed)
    }

    pub(crate) fn lsn(&self, frame: Frame) -> Lsn {
        Lsn::new(self.header(frame).lsn.load(Ordering::Relaxed))
    }

    /// Gives a frame that nobody reads, and that is changed in place, to a later version.
    pub(crate) fn set_lsn(&self, frame: Frame, lsn: Lsn) {
        self.header(frame).lsn.store(lsn.get(), Ordering::Relaxed);
    }

    pub(crate) fn page_id(&self, frame: Frame) -> PageId {
        PageId(self.header(frame).page.load(Ordering::Relaxed))
    }

    pub(crate) fn previous(&self, frame: Frame) -> Option<Frame> {
        self.header(frame).previous.load(Ordering::Acquire).checked_sub(1).map(Frame)
    }

    /// Cuts the chain: the version before is in the history, where whoever sees this finds it.
    pub(crate) fn forget_previous(&self, frame: Frame) {
        self.header(frame).previous.store(0, Ordering::Release);
    }

    /// Where a copy of the frame lies on disk; none while it is dirty.
    pub(crate) fn addr(&self, frame: Frame) -> PageAddr {
        PageAddr::from_word(self.header(frame).addr.load(Ordering::Relaxed)).expect("an address")
    }

    pub(crate) fn set_addr(&self, frame: Frame, addr: PageAddr) {
        self.header(frame).addr.store(addr.word(), Ordering::Relaxed);
    }

    /// Notes that a page was read, which saves it from the next round of eviction.
    pub(crate) fn visit(&self, frame: Frame) {
        let state = &self.header(frame).state;
        if state.load(Ordering::Relaxed) & VISITED == 0 {
            state.fetch_or(VISITED, Ordering::Relaxed);
        }
    }

    /// Takes the mark of [`Arena::visit`] away, and tells whether it was there.
    pub(crate) fn unvisit(&self, frame: Frame) -> bool {
        let state = &self.header(frame).state;
        state.load(Ordering::Relaxed) & VISITED != 0
            && state.fetch_and(!VISITED, Ordering::Relaxed) & VISITED != 0
    }

    pub(crate) fn is_pinned(&self, frame: Frame) -> bool {
        // Acquire: what was read under a pin that has gone was read before this.
        self.header(frame).state.load(Ordering::Acquire) & PINS != 0
    }

    /// Pins a frame, which an epoch guard of the caller keeps from being freed right now, or
    /// which nobody but the caller has.
    pub(super) fn pin(&self, frame: Frame) {
        let before = self.header(frame).state.fetch_add(1, Ordering::Relaxed);
        if before & PINS > PINS / 2 {
            // Long before they would be taken for marks: others may count on while this one ends.
            std::process::abort();
        }
    }

    /// Takes a pin away. The last pin of a frame that nobody can find any more frees it.
    pub(super) fn unpin(&self, frame: Frame) {
        let before = self.header(frame).state.fetch_sub(1, Ordering::AcqRel);
        if before & RETIRED != 0 && before & PINS == 1 {
            self.give_back(frame);
        }
    }

    /// Counts one more frame that a user holds, if there may be one more (CACHE-9).
    pub(super) fn may_hold(&self) -> bool {
        let most = self.frames / HELD_SHARE;
        let one_more = |held| (held < most).then_some(held + 1);
        self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    /// Counts one less.
    pub(super) fn hold_less(&self) {
        let before = self.held.fetch_sub(1, Ordering::Relaxed);
        assert!(
            before > 0 && before <= self.frames / HELD_SHARE,
            "CACHE-9: {before} frames were held"
        );
    }

    /// The bytes of a frame.
    ///
    /// # Safety
    /// For all of `'a` nobody writes to the frame and it is not freed: it is settled (CACHE-1), and an
    /// epoch guard or a pin that outlives `'a` keeps it; or it belongs to the caller alone.
    pub(crate) unsafe fn page<'a>(&self, frame: Frame) -> &'a [u8] {
        // SAFETY: inside the arena; the caller vouches for the rest.
        unsafe { std::slice::from_raw_parts(self.page_start(frame), self.page_bytes) }
    }

    /// The bytes of a frame, to be changed.
    ///
    /// # Safety
    /// For all of `'a` the frame belongs to the caller alone: it is not published, or its LSN is
    /// above `settled` and the caller is the writer.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn page_mut<'a>(&self, frame: Frame) -> &'a mut [u8] {
        // SAFETY: inside the arena; the caller vouches for the rest.
        unsafe { std::slice::from_raw_parts_mut(self.page_start(frame), self.page_bytes) }
    }

    /// Asks the processor to fetch the start of a frame: its header, the page's, and the slots of
    /// a full leaf. A search then waits for memory once, and once more for the cell that it finds,
    /// rather than at each of its steps.
    #[inline]
    pub(crate) fn prefetch(&self, frame: Frame) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            let start = self.start(frame).cast::<i8>();
            for line in 0..PREFETCH_LINES {
                // A wrapping offset: the last lines of the arena's last frame may lie outside.
                let at = start.wrapping_add(line * 64);
                // SAFETY: a prefetch reads nothing and never faults.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(at) };
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = frame;
    }

    /// Asks the processor to fetch a whole page that will be read from end to end, while another
    /// one is being read.
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

    /// Brings frames that were never used into memory, ahead of their first use. Returns how
    /// many bytes that were.
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
            // A piece at a time: each holds the lock of the process's address space, for which a
            // thread waits whose allocator grows its heap, and everybody else behind that one.
            for start in (from & !4095..until).step_by(TOUCH_PIECE) {
                // Without this advice the first use takes the page fault: slower, nothing else.
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
