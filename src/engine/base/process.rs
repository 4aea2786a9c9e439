//! The process that a store belongs to: the one that opened it, and not a fork of it.
//!
//! A forked process shares the mapped log and the descriptors, but it has none of the threads and its
//! own copy of the memory. A record that it appended would be replayed as if the store had acknowledged
//! it. A lock that another thread held at the fork would stay locked for ever. So:
//!
//! - FORK-1 nothing that a forked process does with a store reaches its files, its locks or its
//!   threads: every call is refused ([`Error::Forked`]), and dropping a handle does nothing.
//!
//! Each commit checks this, so on Linux the check costs no system call: it looks at a page of memory
//! that the kernel fills with zeros in a forked process (`MADV_WIPEONFORK`). On other Unix systems, and
//! on kernels before 4.14, it compares the process id. Windows has no fork.

// `madvise` has no safe interface.
#![cfg_attr(target_os = "linux", allow(unsafe_code))]

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::engine::base::error::{Error, Result};

/// The process that something belongs to.
#[derive(Clone)]
pub(crate) struct Process(Arc<Mark>);

enum Mark {
    /// The first byte is 1 in the process that made the page.
    #[cfg(target_os = "linux")]
    Page(memmap2::MmapMut),
    #[cfg(unix)]
    Number(u32),
    #[cfg(not(unix))]
    Only,
}

/// The last process that called [`Process::current`].
static CURRENT: Mutex<Option<Process>> = Mutex::new(None);

impl Process {
    /// The calling process.
    pub(crate) fn current() -> Process {
        let mut current = CURRENT.lock();
        match &*current {
            Some(process) if process.is_here() => process.clone(),
            _ => current.insert(Process(Arc::new(Mark::new()))).clone(),
        }
    }

    /// Whether this is the calling process.
    #[inline]
    pub(crate) fn is_here(&self) -> bool {
        match &*self.0 {
            #[cfg(target_os = "linux")]
            Mark::Page(page) => page[0] == 1,
            #[cfg(unix)]
            Mark::Number(number) => *number == std::process::id(),
            #[cfg(not(unix))]
            Mark::Only => true,
        }
    }

    /// Fails in a forked process (FORK-1).
    #[inline]
    pub(crate) fn check(&self) -> Result<()> {
        if self.is_here() { Ok(()) } else { Err(Error::Forked) }
    }
}

impl Mark {
    #[cfg(target_os = "linux")]
    fn new() -> Mark {
        Self::page().unwrap_or_else(|_| Mark::Number(std::process::id()))
    }

    #[cfg(all(unix, not(target_os = "linux")))]
    fn new() -> Mark {
        Mark::Number(std::process::id())
    }

    #[cfg(not(unix))]
    fn new() -> Mark {
        Mark::Only
    }

    #[cfg(target_os = "linux")]
    fn page() -> std::io::Result<Mark> {
        use rustix::mm::{Advice, madvise};
        let mut page = memmap2::MmapMut::map_anon(1)?; // the kernel rounds up
        // SAFETY: the range is a whole mapping that nothing else uses, and the advice changes nothing
        // that this process sees.
        unsafe { madvise(page.as_mut_ptr().cast(), page.len(), Advice::LinuxWipeOnFork) }?;
        page[0] = 1;
        Ok(Mark::Page(page))
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("is_here", &self.is_here()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_one_mark_and_is_here() {
        let (first, second) = (Process::current(), Process::current());
        assert!(Arc::ptr_eq(&first.0, &second.0));
        first.check().unwrap();
        #[cfg(target_os = "linux")]
        assert!(matches!(*first.0, Mark::Page(_)), "no system call at each commit");
    }

    #[cfg(unix)]
    #[test]
    fn the_mark_of_another_process_is_refused() {
        let other = Process(Arc::new(Mark::Number(std::process::id() ^ 1)));
        assert!(matches!(other.check(), Err(Error::Forked)));
    }
}
