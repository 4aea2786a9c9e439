//! The memory under an arena: one mapping, fresh from the system or left by an earlier arena.
//!
//! A simulated run opens thousands of stores a second, each with a small arena. Mapping and
//! unmapping that, and the page faults in between, were a fifth of its time, and two threads at it
//! kept each other waiting in the kernel. So what a simulated store leaves is cleared and used by
//! the next one of the same thread.
//!
//! - MEMORY-1 All bytes of a memory are zero at first, wherever it comes from: what a store writes must
//!   not depend on the stores before it.

use std::cell::RefCell;
use std::ops::Range;

use memmap2::{MmapMut, MmapOptions};

use crate::engine::base::error::{Error, Result};

/// What the system takes back at a time, at most.
const SYSTEM_PAGE: usize = 64 << 10;
/// Larger memories are given back to the system.
const SPARE_BYTES: usize = 4 << 20;
/// A crash in a recovery in a recovery: so many stores are open at once.
const SPARES: usize = 8;

thread_local! {
    /// Cleared.
    static SPARE: RefCell<Vec<MmapMut>> = const { RefCell::new(Vec::new()) };
}

/// Where memory comes from, and where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemorySource {
    /// The system.
    System,
    /// The arenas that this thread had before.
    Spare,
}

/// Zeroed memory of a fixed size, aligned to a page of the system.
#[derive(Debug)]
pub(super) struct Memory {
    /// There until this is dropped.
    map: Option<MmapMut>,
    /// What was asked for; behind it may be more.
    bytes: usize,
    source: MemorySource,
}

impl Memory {
    /// `bytes` zeros, and `more` behind them if the system has so many addresses. None takes memory
    /// before its first use.
    pub(super) fn new(bytes: usize, more: usize, source: MemorySource) -> Result<Memory> {
        let spare = match source {
            MemorySource::System => Ok(None),
            // Gone when the thread ends, and this may be the end of the thread.
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
            // Only a hint: without huge pages everything works, slower.
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

    /// Gives the bytes of `range` back to the system; they are zeros again. Nobody has a part of them.
    #[allow(unsafe_code)]
    pub(super) fn clear(&self, range: Range<usize>) {
        let Range { start, end } = range;
        assert!(start <= end && end <= self.map().len(), "{range:?} is outside the memory");
        let from = match cfg!(target_os = "linux") {
            true => start.next_multiple_of(SYSTEM_PAGE).min(end),
            false => end, // where advice is only that
        };
        // SAFETY: inside the mapping, and nobody refers to the bytes.
        unsafe {
            std::ptr::write_bytes(self.map().as_ptr().cast_mut().add(start), 0, from - start);
        }
        #[cfg(target_os = "linux")]
        if from < end {
            let advice = memmap2::UncheckedAdvice::DontNeed;
            // SAFETY: nobody refers to the bytes, nor to the rest of the last page of the system. Those
            // that the system gives next are zeros.
            let _ = unsafe { self.map().unchecked_advise_range(advice, from, end - from) };
        }
    }

    /// Nobody uses this any more, of which at most the first `used` bytes were ever written and not given
    /// back.
    pub(super) fn retire(&mut self, used: usize) {
        let Some(mut map) = self.map.take() else { return };
        if self.source == MemorySource::System || self.bytes > SPARE_BYTES {
            return;
        }
        map[..used].fill(0); // MEMORY-1
        // Gone when the thread ends, and this may be the end of the thread.
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
    fn what_was_used_is_cleared_and_used_again() {
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
