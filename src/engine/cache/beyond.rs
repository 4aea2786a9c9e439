//! Overflow frames beyond the configured cache, for the time when no page can be written.
//!
//! Each dirty page has a free block on the disk (CACHE-12), and yet its write may fail: a copy-on-write
//! file system needs space even to overwrite a block, and a device may fail. Reads must go on then, and a
//! batch that is in the log must be applied, even if it is larger than its share of the cache and evicts
//! its own pages. They take memory beyond the cache.
//!
//! So neither a read nor such a commit fails because pages cannot be written, and therefore cannot be
//! evicted (CACHE-13). Failed reads are handled too:
//!
//! - CACHE-14 A commit that is in the log repeats a read that failed
//!   ([`Cache::load_surely`](super::Cache)): a device that fails for a moment fails no commit.
//!
//! Reads need few overflow frames: a loaded page is clean, and the next read evicts it. A batch may need
//! one per page that it changes. The overflow frames follow the cache's own, in number and in memory. They
//! have [`TIMES`] the addresses of the cache, and at least [`LEAST_BYTES`], unless the system refuses
//! that. A frame takes memory when it is used; the system gets it back as soon as all of them are free.

use super::arena::Frame;
use super::memory::Memory;
use crate::engine::base::sync::Mutex;
use crate::engine::base::sync::atomic::{AtomicU32, Ordering};

/// Addresses beyond the cache, as a multiple of the cache's size; and their minimum in bytes.
const TIMES: usize = 15;
const LEAST_BYTES: usize = 1 << 30;

/// How many bytes of addresses to reserve behind a cache of `bytes`.
pub(super) fn bytes_beyond(bytes: usize) -> usize {
    bytes.saturating_mul(TIMES).max(LEAST_BYTES)
}

/// The overflow frames, and which of them are free.
#[derive(Debug)]
pub(super) struct Beyond {
    /// How many frames the cache itself has.
    frames: u32,
    /// One more than the highest possible frame number.
    end: u32,
    /// Free frames below `numbered`, which changes only with this locked.
    spare: Mutex<Vec<Frame>>,
    /// One more than the number of the last frame in use, readable without the lock.
    numbered: AtomicU32,
}

impl Beyond {
    /// Of the frames below `end` the first `frames` are the cache's own.
    pub(super) fn new(frames: u32, end: u32) -> Beyond {
        Beyond { frames, end, spare: Mutex::default(), numbered: AtomicU32::new(frames) }
    }

    /// A frame, whose header is zero or that of a free frame. `None` if all are used.
    pub(super) fn take(&self) -> Option<Frame> {
        let mut spare = self.spare.lock();
        if let Some(frame) = spare.pop() {
            return Some(frame);
        }
        let frame = Frame(self.numbered());
        if frame.0 == self.end {
            return None;
        }
        self.numbered.store(frame.0 + 1, Ordering::Release);
        Some(frame)
    }

    /// Gives back a frame, `stride` bytes of `memory`.
    pub(super) fn give_back(&self, frame: Frame, memory: &Memory, stride: usize) {
        let mut spare = self.spare.lock();
        spare.push(frame);
        let end = self.numbered();
        if spare.len() == (end - self.frames) as usize {
            // A header reads as that of a free frame before and after it is cleared.
            self.numbered.store(self.frames, Ordering::Release);
            memory.clear(self.frames as usize * stride..end as usize * stride);
            *spare = Vec::new();
        }
    }

    /// One more than the number of the last frame in use, in the cache or beyond.
    pub(super) fn numbered(&self) -> u32 {
        self.numbered.load(Ordering::Acquire)
    }
}
