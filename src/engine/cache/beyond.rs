//! Frames beyond those that the user asked for, for when no page can be written.
//!
//! For each dirty page there is a block on the disk (CACHE-12), and yet the disk may refuse to write it: a
//! file system that copies on write needs space to overwrite what is there; a device may fail. A read
//! must go on then, and a batch that is in the log must be applied, although it is larger than its share
//! of the cache and evicts its own pages. They take memory beyond the cache.
//!
//! So neither a read nor such a commit fails because no page can be written, and so none be evicted
//! (CACHE-13). A device that does not read for a moment is another matter, and has the same end:
//!
//! - CACHE-14 A commit that is in the log repeats a read that failed
//!   ([`Cache::load_surely`](super::Cache)): a device that fails for a moment fails no commit.
//!
//! A read needs few: what it brings in is clean, and is evicted by the next one. A batch may need one
//! for each page that it changes. The frames beyond are numbered from the last of the others on and lie
//! behind them: of addresses there are [`TIMES`] as many as for the cache, or [`LEAST_BYTES`], unless the
//! system refuses that. They take memory when they are used, and the system has it back as soon as all of
//! them are free.

use super::arena::Frame;
use super::memory::Memory;
use crate::engine::base::sync::Mutex;
use crate::engine::base::sync::atomic::{AtomicU32, Ordering};

/// Addresses beyond the cache, in sizes of that; and at least so many bytes of them.
const TIMES: usize = 15;
const LEAST_BYTES: usize = 1 << 30;

/// How many bytes of addresses there should be behind a cache of `bytes`.
pub(super) fn bytes_beyond(bytes: usize) -> usize {
    bytes.saturating_mul(TIMES).max(LEAST_BYTES)
}

/// Which frames beyond are free.
#[derive(Debug)]
pub(super) struct Beyond {
    /// Frames of the cache itself.
    frames: u32,
    /// One more than the number of the last frame that there can be.
    end: u32,
    /// Those that are free among the used ones. `numbered` changes with this locked.
    spare: Mutex<Vec<Frame>>,
    /// One more than the number of the last frame that is used, readable without the lock.
    numbered: AtomicU32,
}

impl Beyond {
    /// Of the frames below `end` the first `frames` are the cache's own.
    pub(super) fn new(frames: u32, end: u32) -> Beyond {
        Beyond { frames, end, spare: Mutex::default(), numbered: AtomicU32::new(frames) }
    }

    /// A frame, with a header of zeros or of a free frame. None if all are used.
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

    /// Gives a frame back, whose memory is a part of `memory`, of `stride` bytes.
    pub(super) fn give_back(&self, frame: Frame, memory: &Memory, stride: usize) {
        let mut spare = self.spare.lock();
        spare.push(frame);
        let end = self.numbered();
        if spare.len() == (end - self.frames) as usize {
            // Their headers read as those of free frames before and after.
            self.numbered.store(self.frames, Ordering::Release);
            memory.clear(self.frames as usize * stride..end as usize * stride);
            *spare = Vec::new();
        }
    }

    /// One more than the number of the last frame that is used, in the cache or beyond.
    pub(super) fn numbered(&self) -> u32 {
        self.numbered.load(Ordering::Acquire)
    }
}
