//! Requests of the backlog that a thread of the pool looked at and left, since their answers are long.
//!
//! | why | the backlog goes on when |
//! |---|---|
//! | unread | an answer has come from the pool, or the client has read all there is |
//! | memory | a moment has gone, again and again, for as long as the server's limits say |
//!
//! Nothing of that takes a thread, and others go on meanwhile (BUDGET-5).

use std::time::Duration;

use tokio::time::Instant;

use crate::net::server::budget::Wanted;

/// The memory is asked for again after this time.
const MOMENT: Duration = Duration::from_millis(50);
/// Why an answer was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The client has yet to read as much as it may have.
    Unread,
    /// All clients together have.
    Memory,
}

/// Until when the backlog waits.
#[derive(Debug, Default)]
pub(super) struct PutOff {
    unread: bool,
    is_freed: bool,
    until: Option<Instant>,
    /// Says to others that somebody waits for memory.
    wanted: Option<Wanted>,
}

impl PutOff {
    pub(super) fn unread(&mut self) {
        self.unread = true;
    }

    pub(super) fn memory(&mut self, wanted: Wanted, now: Instant) {
        self.until = Some(now + MOMENT);
        self.wanted = Some(wanted);
    }

    /// An answer has come, or all was read.
    pub(super) fn has_room(&mut self) {
        self.is_freed |= std::mem::take(&mut self.unread);
    }

    /// Whether that has ended a wait since this was last asked.
    pub(super) fn is_freed(&mut self) -> bool {
        std::mem::take(&mut self.is_freed)
    }

    /// Nothing waits for memory any more.
    pub(super) fn is_content(&mut self) {
        (self.until, self.wanted) = (None, None);
    }

    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Whether it may go on now.
    pub(super) fn goes_on(&mut self, now: Instant) -> bool {
        if self.until.is_some_and(|until| until <= now) {
            self.until = None;
        }
        !self.unread && self.until.is_none()
    }
}
