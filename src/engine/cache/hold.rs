//! Versions of pages that are kept beyond an epoch guard: for one call, or by a user.
//!
//! ```text
//!   PinnedPage   one call reads a page, and may wait for the device meanwhile      pins a frame
//!   Hold         an iterator keeps the leaf that it is in, for as long as its      pins a frame, or
//!                user likes, or for ever if it is forgotten                        has a copy
//! ```
//!
//! What users hold pins at most an eighth of all frames, however much of it there is (CACHE-9): a
//! [`Hold`] beyond that copies its page, so that it costs its user memory and nobody else anything. A
//! value and an entry are copies from the start: they pin nothing.
//!
//! Left out on purpose: a limit to what may be held. Copies are the user's memory, as a `Vec` is.

use std::fmt;
use std::sync::Arc;

use super::arena::{Arena, Frame};
use super::reader::PageRef;
use super::state::Cache;

/// A version of a page, kept in memory until this is dropped. For no longer than one call.
pub(crate) struct PinnedPage<'a> {
    arena: &'a Arena,
    frame: Frame,
}

impl<'a> PinnedPage<'a> {
    /// Pins `frame`, which an epoch guard of the caller keeps from being freed right now.
    pub(super) fn new(arena: &'a Arena, frame: Frame) -> Self {
        arena.pin(frame);
        PinnedPage { arena, frame }
    }

    /// The bytes of the page.
    #[allow(unsafe_code)]
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: only settled frames are pinned (CACHE-1), and the pin outlives the borrow.
        unsafe { self.arena.page(self.frame) }
    }
}

impl Clone for PinnedPage<'_> {
    fn clone(&self) -> Self {
        PinnedPage::new(self.arena, self.frame)
    }
}

impl Drop for PinnedPage<'_> {
    fn drop(&mut self) {
        self.arena.unpin(self.frame);
    }
}

impl fmt::Debug for PinnedPage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.frame.fmt(f)
    }
}

/// A place for one version of a page that a user may keep for ever (CACHE-9).
pub(crate) struct Hold {
    arena: Arc<Arena>,
    held: Held,
}

enum Held {
    Nothing,
    /// Pinned, and counted.
    Frame(Frame),
    Copy(Box<[u8]>),
}

impl Hold {
    /// A place for pages of `cache`, with nothing in it.
    pub(crate) fn new(cache: &Cache) -> Self {
        Hold { arena: Arc::clone(&cache.arena), held: Held::Nothing }
    }

    /// Takes a page of the same cache in, instead of the one that is there.
    pub(crate) fn take(&mut self, page: PageRef<'_>) {
        match &mut self.held {
            Held::Frame(frame) => {
                self.arena.pin(page.frame());
                let former = std::mem::replace(frame, page.frame());
                self.arena.unpin(former);
            }
            Held::Nothing | Held::Copy(_) if self.arena.may_hold() => {
                self.arena.pin(page.frame());
                self.held = Held::Frame(page.frame());
            }
            Held::Copy(copy) => copy.copy_from_slice(page.bytes()),
            Held::Nothing => self.held = Held::Copy(page.bytes().into()),
        }
    }

    /// The bytes of the page; none if there is no page.
    #[allow(unsafe_code)]
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.held {
            // SAFETY: only settled frames are pinned (CACHE-1), and the pin outlives the borrow.
            Held::Frame(frame) => unsafe { self.arena.page(*frame) },
            Held::Copy(copy) => copy,
            Held::Nothing => &[],
        }
    }

    /// Whether the page is a copy.
    #[cfg(test)]
    pub(crate) fn is_copy(&self) -> bool {
        matches!(self.held, Held::Copy(_))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Held::Frame(frame) = self.held {
            self.arena.unpin(frame);
            self.arena.hold_less();
        }
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.held {
            Held::Frame(frame) => frame.fmt(f),
            Held::Copy(_) => f.write_str("a copy"),
            Held::Nothing => f.write_str("nothing"),
        }
    }
}
