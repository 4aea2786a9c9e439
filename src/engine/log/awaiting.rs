//! Futures that wait for the sync line, and their wakers.
//!
//! Wakers are foreign code: they are cloned, dropped and called with no lock held
//! ([`crate::engine::base::foreign`]). A leader only sets them aside and the flusher calls them, so that
//! a waker that blocks holds up no other commit. Without a flusher, threads that have waited or
//! flushed and hold no lock of any layer call them: [`Log::deliver`].

use std::mem;
use std::task::{Context, Poll};

use super::appender::Log;
use super::flush::{State, poisoned_by};
use super::waiter::Wakers;
use crate::engine::base::error::Result;
use crate::engine::base::foreign;
use crate::engine::base::lsn::Lsn;

impl Log {
    /// `Ready` once the sync line is at or above `lsn`, which must have been published, or the
    /// log is poisoned. Otherwise asks for a flush at once and has the task woken.
    pub(crate) fn poll_durable(&self, lsn: Lsn, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if let Poll::Ready(result) = self.poll(lsn, cx, |state| &mut state.asking) {
            return Poll::Ready(result);
        }
        if self.flusher.ask() {
            return Poll::Pending;
        }
        let waited = self.wait_or_lead(lsn);
        self.deliver();
        Poll::Ready(waited)
    }

    /// As [`Log::poll_durable`], without asking for a flush.
    #[cfg(feature = "server")]
    pub(crate) fn poll_passed(&self, lsn: Lsn, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.poll(lsn, cx, |state| &mut state.quiet)
    }

    fn poll(
        &self,
        lsn: Lsn,
        cx: &mut Context<'_>,
        pick: fn(&mut State) -> &mut Wakers,
    ) -> Poll<Result<()>> {
        if self.durable.load() >= lsn {
            return Poll::Ready(Ok(()));
        }
        if let Err(error) = self.process.check() {
            return Poll::Ready(Err(error));
        }
        assert!(lsn <= self.appended.load(), "a wait for LSN {lsn}, which is not published");
        let waker = cx.waker().clone(); // dropped after the lock if not needed
        let mut state = self.group.state.lock();
        if self.durable.load() >= lsn {
            return Poll::Ready(Ok(()));
        }
        if let Some(cause) = &state.poison {
            return Poll::Ready(Err(poisoned_by(cause)));
        }
        let spare = pick(&mut state).add(lsn, waker);
        drop(state);
        drop(spare);
        Poll::Pending
    }

    /// Calls the wakers of answered futures (CALLBACK-1, CALLBACK-2).
    pub(crate) fn deliver(&self) {
        loop {
            let answered = mem::take(&mut self.group.state.lock().answered);
            if answered.is_empty() {
                return;
            }
            for waker in answered {
                foreign::call("a waker", || waker.wake());
            }
        }
    }

    /// Whether there are wakers to call.
    pub(super) fn has_answered(&self) -> bool {
        !self.group.state.lock().answered.is_empty()
    }

    pub(super) fn deliver_unless_flusher(&self) {
        if self.flusher.is_absent() {
            self.deliver();
        }
    }
}
