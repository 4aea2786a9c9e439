//! Frames beyond those that the user asked for, for when no page can be written.
//!
//! For each dirty page there is a block on the disk (V12), and yet the disk may refuse to write it: a
//! file system that copies on write needs space to overwrite what is there; a device may fail. A read
//! must go on then, and a batch that is in the log must be applied, although it is larger than its share
//! of the cache and evicts its own pages. They take memory beyond the cache.
//!
//! - V13 Neither a read nor a commit that is in the log fails because no page can be written, and so
//!   none be evicted.
//!
//! A read needs few: what it brings in is clean, and is evicted by the next one. A batch may need one
//! for each page that it changes.
//!
//! Frames beyond are numbered from the last of the others on, and hold pages as those do. The first
//! chunk has as many as the cache, each further one twice as many as the one before. A frame takes
//! memory from its first use on; when all of them are free the system has it back.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::arena::Frame;
use super::memory::{Memory, MemorySource};
use crate::sync::Mutex;

/// Doubled so often, no number of frames has 32 bits.
const CHUNKS: usize = 32;

/// Frames in chunks, which are made as they are needed.
pub(super) struct Beyond {
    /// Frames of the cache itself, and of the first chunk.
    frames: u32,
    /// Bytes from frame to frame.
    stride: usize,
    chunks: [OnceLock<Memory>; CHUNKS],
    spare: Mutex<Spare>,
    /// [`Spare::used`], readable without the lock.
    used: AtomicU32,
}

#[derive(Debug, Default)]
struct Spare {
    /// Those that are free among the used ones.
    list: Vec<Frame>,
    /// How many were used since all were free.
    used: u32,
}

impl Beyond {
    pub(super) fn new(frames: u32, stride: usize) -> Beyond {
        let chunks = [const { OnceLock::new() }; CHUNKS];
        Beyond { frames, stride, chunks, spare: Mutex::default(), used: AtomicU32::new(0) }
    }

    /// A frame, with a header of zeros or of a free frame. None if the system has no memory.
    pub(super) fn take(&self) -> Option<Frame> {
        let mut spare = self.spare.lock();
        if let Some(frame) = spare.list.pop() {
            return Some(frame);
        }
        let frame = Frame(self.frames.checked_add(spare.used)?);
        let (chunk, _) = self.place(frame);
        let slot = self.chunks.get(chunk)?;
        if slot.get().is_none() {
            let frames = (self.frames as usize).checked_shl(chunk as u32)?;
            let memory =
                Memory::new(frames.checked_mul(self.stride)?, MemorySource::System).ok()?;
            assert!(slot.set(memory).is_ok(), "chunks are made under the lock");
        }
        spare.used += 1;
        self.used.store(spare.used, Ordering::Release);
        Some(frame)
    }

    /// Gives frames back.
    pub(super) fn give_back(&self, frame: Frame) {
        let mut spare = self.spare.lock();
        spare.list.push(frame);
        if spare.list.len() < spare.used as usize {
            return;
        }
        // Their headers read as those of free frames before and after.
        *spare = Spare::default();
        self.used.store(0, Ordering::Release);
        for memory in self.chunks.iter().map_while(OnceLock::get) {
            memory.clear();
        }
    }

    /// One more than the number of the last frame that is used, in the cache or beyond.
    pub(super) fn numbered(&self) -> u32 {
        self.frames + self.used.load(Ordering::Acquire)
    }

    /// Where a frame starts.
    pub(super) fn start(&self, frame: Frame) -> *mut u8 {
        let (chunk, at) = self.place(frame);
        let memory = self.chunks.get(chunk).and_then(OnceLock::get);
        let memory = memory.unwrap_or_else(|| panic!("{frame:?} is outside the arena"));
        memory.at(at * self.stride)
    }

    /// The chunk of a frame, and its number there: chunk `n` begins at `frames << n`.
    fn place(&self, frame: Frame) -> (usize, usize) {
        let chunk = (frame.0 / self.frames).ilog2();
        (chunk as usize, (frame.0 - (self.frames << chunk)) as usize)
    }
}

impl fmt::Debug for Beyond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Beyond").field("spare", &self.spare).finish_non_exhaustive()
    }
}
