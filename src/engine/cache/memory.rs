//! The memory under an arena: one mapping, fresh from the system or left by an earlier arena.
//!
//! A simulated run opens thousands of stores per second, each with a small arena. Mapping, page faults
//! and unmapping were a fifth of its time, and threads waited for each other in the kernel. So the memory
//! of a simulated store is cleared and used again by the next store of the same thread.
//!
//! - MEMORY-1 All bytes of a memory are zero at first, wherever it comes from: the bytes that a store
//!   writes must not depend on the stores before it.

use std::cell::RefCell;
use std::ops::Range;

use memmap2::{MmapMut, MmapOptions};

use crate::engine::base::error::{Error, Result};

/// The largest page size of a system: the unit in which it takes memory back.
const SYSTEM_PAGE: usize = 64 << 10;
/// Larger memories are given back to the system.
const SPARE_BYTES: usize = 4 << 20;
/// Spare memories per thread: a crash in a recovery in a recovery has as many stores open at once.
const SPARES: usize = 8;

thread_local! {
    /// Memories of closed arenas, cleared.
    static SPARE: RefCell<Vec<MmapMut>> = const { RefCell::new(Vec::new()) };
}

/// Where memory comes from, and where it goes back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemorySource {
    System,
    /// Earlier arenas of this thread.
    Spare,
}

/// Zeroed memory of a fixed size, aligned to a page of the system.
#[derive(Debug)]
pub(super) struct Memory {
    /// `Some` until this is retired.
    map: Option<MmapMut>,
    /// The size that was asked for; the map may be longer.
    bytes: usize,
    source: MemorySource,
}

impl Memory {
    /// `bytes` zeros, and `more` behind them if the system has enough addresses. Neither takes memory
    /// before its first use.
    pub(super) fn new(bytes: usize, more: usize, source: MemorySource) -> Result<Memory> {
        let spare = match source {
            MemorySource::System => Ok(None),
            // Fails while the thread ends.
            MemorySource::Spare => SPARE.try_with(|spare| {
                let mut spare = spare.borrow_mut();
                let at = spare.iter().position(|map| map.len() == bytes.saturating_add(more))?;
                Some(spare.swap_remove(at))
            }),
        };
        if let Ok(Some(map)) = spare {
            return Ok(Memory { map: Some(map), bytes, source });
        }
        let mut all = MmapOptions::new();
        let all = all.len(bytes.saturating_add(more)).no_reserve_swap();
        let map = all.map_anon().or_else(|_| MmapMut::map_anon(bytes)).map_err(|e| {
            Error::io(format!("map {bytes} bytes"), "cache memory", bytes as u64, e)
        })?;
        #[cfg(target_os = "linux")]
        if bytes >= 4 << 20 {
            // Only a hint: without huge pages the cache is only slower.
            let _ = map.advise(memmap2::Advice::HugePage);
        }
        Ok(Memory { map: Some(map), bytes, source })
    }

    pub(super) fn map(&self) -> &MmapMut {
        self.map.as_ref().expect("not dropped")
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.map.as_mut().expect("not dropped").as_mut_ptr()
    }

    /// Gives the bytes of `range` back to the system; they are zeros again. Nobody refers to them.
    #[allow(unsafe_code)]
    pub(super) fn clear(&self, range: Range<usize>) {
        let Range { start, end } = range;
        assert!(start <= end && end <= self.map().len(), "{range:?} is outside the memory");
        let from = match cfg!(target_os = "linux") {
            true => start.next_multiple_of(SYSTEM_PAGE).min(end),
            false => end, // elsewhere the advice does not guarantee zeros
        };
        // SAFETY: inside the mapping, and nobody refers to the bytes.
        unsafe {
            std::ptr::write_bytes(self.map().as_ptr().cast_mut().add(start), 0, from - start);
        }
        #[cfg(target_os = "linux")]
        if from < end {
            let advice = memmap2::UncheckedAdvice::DontNeed;
            // SAFETY: nobody refers to the bytes, nor to the rest of the last system page. The system
            // replaces them by zeros.
            let _ = unsafe { self.map().unchecked_advise_range(advice, from, end - from) };
        }
    }

    /// Keeps a spare memory for the next arena of this thread, cleared. At most its first `used` bytes
    /// were ever written and not given back.
    pub(super) fn retire(&mut self, used: usize) {
        let Some(mut map) = self.map.take() else { return };
        if self.source == MemorySource::System || self.bytes > SPARE_BYTES {
            return;
        }
        map[..used].fill(0); // MEMORY-1
        // Fails while the thread ends.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() == SPARES {
                spare.remove(0);
            }
            spare.push(map);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spare_memory_is_cleared_and_used_again() {
        let mut first = Memory::new(8192, 1 << 30, MemorySource::Spare).unwrap();
        let base = first.as_mut_ptr();
        first.map.as_mut().unwrap()[..5000].fill(7);
        first.retire(5000);
        let mut second = Memory::new(8192, 1 << 30, MemorySource::Spare).unwrap();
        assert_eq!(second.as_mut_ptr(), base);
        assert!(second.map()[..8192].iter().all(|&byte| byte == 0));
        // Another size, and another source, have memory of their own.
        second.retire(0);
        assert_ne!(Memory::new(4096, 1 << 30, MemorySource::Spare).unwrap().as_mut_ptr(), base);
        assert_ne!(Memory::new(8192, 1 << 30, MemorySource::System).unwrap().as_mut_ptr(), base);
    }
}
