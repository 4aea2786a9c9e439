//! Page versions that are kept longer than an epoch guard: for one call, or by a user.
//!
//! ```text
//!   PinnedPage   one call reads a page, and may wait for the device meanwhile      pins a frame
//!   Hold         an iterator keeps its current leaf for as long as its user        pins a frame, or
//!                likes, or for ever if it is forgotten                             has a copy
//! ```
//!
//! Users' holds pin at most an eighth of all frames, however many holds there are (CACHE-9). A [`Hold`]
//! beyond that copies its page, which costs only its user memory. A value and an entry are copies from
//! the start: they pin nothing.
//!
//! Left out on purpose: a limit on the number of holds. Copies are the user's memory, as a `Vec` is.

use std::fmt;
use std::sync::Arc;

use super::arena::{Arena, Frame};
use super::reader::PageRef;
use super::state::Cache;

/// A pin: a version of a page stays in memory until this is dropped. For at most one call.
pub(crate) struct PinnedPage<'a> {
    arena: &'a Arena,
    frame: Frame,
}

impl<'a> PinnedPage<'a> {
    /// Pins `frame`, which an epoch guard of the caller protects.
    pub(super) fn new(arena: &'a Arena, frame: Frame) -> Self {
        arena.pin(frame);
        PinnedPage { arena, frame }
    }

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

/// Holds one version of a page, which a user may keep for ever (CACHE-9).
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
    /// An empty hold for pages of `cache`.
    pub(crate) fn new(cache: &Cache) -> Self {
        Hold { arena: Arc::clone(&cache.arena), held: Held::Nothing }
    }

    /// Holds `page`, of the same cache, instead of the former page.
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

    /// The bytes of the page; empty if there is no page.
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
