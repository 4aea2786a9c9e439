//! The memory under an arena: one mapping, fresh from the system or left by an earlier arena.
//!
//! A simulated run opens thousands of stores a second, each with a small arena. Mapping and
//! unmapping that, and the page faults in between, were a fifth of its time, and two threads at it
//! kept each other waiting in the kernel. So what a simulated store leaves is cleared and used by
//! the next one of the same thread.
//!
//! - M1 All bytes of a memory are zero at first, wherever it comes from: what a store writes must
//!   not depend on the stores before it.

use std::cell::RefCell;

use memmap2::MmapMut;

use crate::error::{Error, Result};

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
    source: MemorySource,
}

impl Memory {
    /// `bytes` zeros, none of which takes memory before its first use.
    pub(super) fn new(bytes: usize, source: MemorySource) -> Result<Memory> {
        let spare = match source {
            MemorySource::System => Ok(None),
            // Gone when the thread ends, and this may be the end of the thread.
            MemorySource::Spare => SPARE.try_with(|spare| {
                let mut spare = spare.borrow_mut();
                let at = spare.iter().position(|map| map.len() == bytes)?;
                Some(spare.swap_remove(at))
            }),
        };
        if let Ok(Some(map)) = spare {
            return Ok(Memory { map: Some(map), source });
        }
        let map = MmapMut::map_anon(bytes).map_err(|e| {
            Error::io(format!("map {bytes} bytes"), "cache memory", bytes as u64, e)
        })?;
        #[cfg(target_os = "linux")]
        if bytes >= 4 << 20 {
            // Only a hint: without huge pages everything works, slower.
            let _ = map.advise(memmap2::Advice::HugePage);
        }
        Ok(Memory { map: Some(map), source })
    }

    pub(super) fn map(&self) -> &MmapMut {
        self.map.as_ref().expect("not dropped")
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.map.as_mut().expect("not dropped").as_mut_ptr()
    }

    /// Where byte `offset` is, for whoever has that part of it.
    pub(super) fn at(&self, offset: usize) -> *mut u8 {
        assert!(offset < self.map().len(), "byte {offset} is outside the memory");
        self.map().as_ptr().cast_mut().wrapping_add(offset)
    }

    /// Gives what was used back to the system. Nobody has a part of it.
    #[allow(unsafe_code)]
    pub(super) fn clear(&self) {
        #[cfg(unix)]
        // SAFETY: nobody refers to the bytes, and those that the system gives next are as good.
        let _ = unsafe { self.map().unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
    }

    /// Nobody uses this any more, of which at most the first `used` bytes were ever written.
    pub(super) fn retire(&mut self, used: usize) {
        let Some(mut map) = self.map.take() else { return };
        if self.source == MemorySource::System || map.len() > SPARE_BYTES {
            return;
        }
        map[..used].fill(0); // M1
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
        let mut first = Memory::new(8192, MemorySource::Spare).unwrap();
        let base = first.as_mut_ptr();
        first.map.as_mut().unwrap()[..5000].fill(7);
        first.retire(5000);
        let mut second = Memory::new(8192, MemorySource::Spare).unwrap();
        assert_eq!(second.as_mut_ptr(), base);
        assert!(second.map().iter().all(|&byte| byte == 0));
        // Another size, and another source, have memory of their own.
        second.retire(0);
        assert_ne!(Memory::new(4096, MemorySource::Spare).unwrap().as_mut_ptr(), base);
        assert_ne!(Memory::new(8192, MemorySource::System).unwrap().as_mut_ptr(), base);
    }
}
