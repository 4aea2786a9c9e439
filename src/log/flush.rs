//! The group flush: one flush of the device for everybody who waits.
//!
//! Whoever waits for durability and finds no flush running leads one: it takes the `appended` of
//! that moment as its target, flushes up to there with no lock held, moves the sync line, and
//! wakes those that it has passed. Whoever finds one running queues up in LSN order. A leader
//! that leaves waiters behind chooses the first of them as the next leader and wakes it before
//! all others, so that the device is never idle while threads wake up.
//!
//! The states of a waiter ([`Fate`]):
//!
//! ```text
//!             the sync line passed it           .--> Passed
//!   Waiting --+ it is to flush for the others --+--> Lead --(flush)--> looks again
//!             | the log was poisoned            '--> Poisoned
//!             '-- its time is over: leaves the queue (only those who never lead)
//! ```
//!
//! The leadership is the flag `leading`. It goes from hand to hand without ever being free in
//! between, so a newcomer cannot overtake the queue.
//!
//! Who has a time limit must not be held up by a flush of its own, and who awaits a future must
//! not block: if there is a flusher thread they ask it to flush at once, and never lead.
//! Otherwise they flush themselves.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::appender::Log;
use crate::error::{Error, Result};
use crate::lsn::Lsn;
use crate::mutants::{Mutant, broken};
use crate::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use crate::sync::thread::{self, Thread};
use crate::sync::{Deadline, Mutex};

/// Who flushes and who waits.
#[derive(Debug, Default)]
pub(super) struct Group {
    state: Mutex<State>,
    /// Set with `State::poison`, to be read without the lock.
    poisoned: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// Somebody leads (L2).
    leading: bool,
    /// Why the log is poisoned. Never cleared (L4).
    poison: Option<Error>,
    /// Tells apart those who wait for the same LSN.
    next_ticket: u64,
    /// Threads that wait and may be made the leader, in LSN order.
    queue: Queue,
    /// Threads that wait for a limited time.
    timed: Queue,
    /// Futures that wait.
    wakers: BTreeMap<Lsn, Vec<Waker>>,
    /// Threads that wait for the sync line to move at all.
    watchers: Queue,
}

/// Threads that wait, by what they wait for and then by ticket.
#[derive(Debug, Default)]
struct Queue(BTreeMap<(Lsn, u64), Arc<Waiter>>);

impl Queue {
    /// Takes out those who wait for `durable` or less.
    fn take_through(&mut self, durable: Lsn) -> impl Iterator<Item = Arc<Waiter>> {
        let later = self.0.split_off(&(Lsn::new(durable.get().saturating_add(1)), 0));
        mem::replace(&mut self.0, later).into_values()
    }

    /// Takes out those who wait for less than `durable`.
    fn take_below(&mut self, durable: Lsn) -> impl Iterator<Item = Arc<Waiter>> {
        let later = self.0.split_off(&(durable, 0));
        mem::replace(&mut self.0, later).into_values()
    }

    fn take_first(&mut self) -> Option<Arc<Waiter>> {
        self.0.pop_first().map(|(_, waiter)| waiter)
    }

    fn take_all(&mut self) -> impl Iterator<Item = Arc<Waiter>> {
        mem::take(&mut self.0).into_values()
    }

    /// Takes out the one with this ticket, unless somebody else has.
    fn leave(&mut self, lsn: Lsn, ticket: u64) {
        self.0.remove(&(lsn, ticket));
    }
}

/// What has become of a waiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Fate {
    Waiting,
    Passed,
    Lead,
    Poisoned,
}

/// A thread that waits. Its fate is decided under the lock of the group, by whoever takes it out
/// of its queue.
#[derive(Debug)]
struct Waiter {
    thread: Thread,
    fate: AtomicU8,
}

impl Waiter {
    fn new() -> Arc<Self> {
        Arc::new(Waiter { thread: thread::current(), fate: AtomicU8::new(Fate::Waiting as u8) })
    }

    fn fate(&self) -> Fate {
        match self.fate.load(Ordering::Acquire) {
            0 => Fate::Waiting,
            1 => Fate::Passed,
            2 => Fate::Lead,
            _ => Fate::Poisoned,
        }
    }

    /// Decides its fate and wakes it.
    fn wake(&self, fate: Fate) {
        self.fate.store(fate as u8, Ordering::Release);
        self.thread.unpark();
    }
}

/// Those whose fate has been decided under the lock, to be woken after it.
#[derive(Default)]
struct Roused {
    leader: Option<Arc<Waiter>>,
    passed: Vec<Arc<Waiter>>,
    poisoned: Vec<Arc<Waiter>>,
    wakers: Vec<Waker>,
}

impl Roused {
    fn wake(self) {
        if let Some(leader) = self.leader {
            leader.wake(Fate::Lead);
        }
        self.passed.iter().for_each(|waiter| waiter.wake(Fate::Passed));
        self.poisoned.iter().for_each(|waiter| waiter.wake(Fate::Poisoned));
        self.wakers.into_iter().for_each(Waker::wake);
    }
}

impl State {
    fn enqueue(&mut self, lsn: Lsn, pick: fn(&mut State) -> &mut Queue) -> (u64, Arc<Waiter>) {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let waiter = Waiter::new();
        pick(self).0.insert((lsn, ticket), Arc::clone(&waiter));
        (ticket, waiter)
    }

    /// Takes out everybody whom the sync line at `durable` answers.
    fn pass(&mut self, durable: Lsn) -> Roused {
        let mut passed: Vec<_> = self.queue.take_through(durable).collect();
        passed.extend(self.timed.take_through(durable));
        // Who has seen an LSN waits for more than that.
        passed.extend(self.watchers.take_below(durable));
        let later = self.wakers.split_off(&Lsn::new(durable.get().saturating_add(1)));
        let wakers = mem::replace(&mut self.wakers, later).into_values().flatten().collect();
        Roused { passed, wakers, ..Roused::default() }
    }

    /// Passes the leadership on to the first in the queue, or gives it up.
    fn choose_leader(&mut self) -> Option<Arc<Waiter>> {
        assert!(self.leading, "L2: only the leader passes the leadership on");
        let next = self.queue.take_first();
        self.leading = next.is_some();
        next
    }

    /// Takes out everybody.
    fn fail(&mut self) -> Roused {
        let mut poisoned: Vec<_> = self.queue.take_all().collect();
        poisoned.extend(self.timed.take_all());
        poisoned.extend(self.watchers.take_all());
        let wakers = mem::take(&mut self.wakers).into_values().flatten().collect();
        Roused { poisoned, wakers, ..Roused::default() }
    }
}

impl Log {
    /// Blocks until the sync line is at or above `lsn`, which must have been published. Leads a
    /// flush itself if none is running. Returns whether it got there before `timeout`, which is
    /// for ever if `None`.
    ///
    /// # Errors
    /// [`Error::Poisoned`] if a flush failed and `lsn` is not durable.
    pub(crate) fn wait_durable(&self, lsn: Lsn, timeout: Option<Duration>) -> Result<bool> {
        if self.durable.load() >= lsn {
            return Ok(true);
        }
        assert!(lsn <= self.appended.load(), "nobody waits for {lsn}, which is not published");
        match timeout {
            Some(timeout) if self.flusher.ask() => self.wait_timed(lsn, timeout),
            _ => self.wait_or_lead(lsn).map(|()| true),
        }
    }

    /// `Ready` once the sync line is at or above `lsn`, which must have been published, or the
    /// log is poisoned. Otherwise the task is woken then, and a flush is asked for at once.
    pub(crate) fn poll_durable(&self, lsn: Lsn, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if let Poll::Ready(result) = self.poll_passed(lsn, cx) {
            return Poll::Ready(result);
        }
        if self.flusher.ask() { Poll::Pending } else { Poll::Ready(self.wait_or_lead(lsn)) }
    }

    /// As [`Log::poll_durable`], but asks for no flush.
    pub(crate) fn poll_passed(&self, lsn: Lsn, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.durable.load() >= lsn {
            return Poll::Ready(Ok(()));
        }
        assert!(lsn <= self.appended.load(), "nobody waits for {lsn}, which is not published");
        let mut state = self.group.state.lock();
        if self.durable.load() >= lsn {
            return Poll::Ready(Ok(()));
        }
        if let Some(cause) = &state.poison {
            return Poll::Ready(Err(poisoned_by(cause)));
        }
        let wakers = state.wakers.entry(lsn).or_default();
        if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            wakers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Blocks until the sync line is above `seen`, without asking for a flush. Returns where it
    /// is, which is `seen` or below if `timeout` passed first.
    ///
    /// # Errors
    /// [`Error::Poisoned`] if it will not move any more.
    #[cfg_attr(not(test), expect(dead_code, reason = "for who follows the log, as a feed will"))]
    pub(crate) fn wait_moved(&self, seen: Lsn, timeout: Option<Duration>) -> Result<Lsn> {
        let deadline = timeout.map(Deadline::after);
        let (ticket, waiter) = {
            let mut state = self.group.state.lock();
            if self.durable.load() > seen {
                return Ok(self.durable.load());
            }
            if let Some(cause) = &state.poison {
                return Err(poisoned_by(cause));
            }
            state.enqueue(seen, |state| &mut state.watchers)
        };
        match park(&waiter, deadline) {
            Fate::Waiting => {
                self.group.state.lock().watchers.leave(seen, ticket);
                Ok(self.durable.load())
            }
            Fate::Poisoned => self.check_poison().map(|()| self.durable.load()),
            Fate::Passed | Fate::Lead => Ok(self.durable.load()),
        }
    }

    /// Makes everything durable that has been published. Returns the sync line.
    ///
    /// # Errors
    /// [`Error::Poisoned`] if this flush or an earlier one failed.
    pub(crate) fn flush(&self) -> Result<Lsn> {
        self.wait_or_lead(self.appended.load())?;
        Ok(self.durable.load())
    }

    /// Declares the log unfit: nothing more is appended, nothing more becomes durable, and
    /// everybody who waits is told. Only the first cause counts.
    pub(crate) fn poison(&self, cause: Error) {
        let roused = self.poison_locked(&mut self.group.state.lock(), cause);
        roused.wake();
    }

    /// The error that everybody gets who needs the log, if it is poisoned.
    pub(crate) fn poisoned(&self) -> Option<Error> {
        if !self.is_poisoned() {
            return None;
        }
        self.group.state.lock().poison.as_ref().map(poisoned_by)
    }

    pub(super) fn is_poisoned(&self) -> bool {
        self.group.poisoned.load(Ordering::SeqCst)
    }

    pub(super) fn check_poison(&self) -> Result<()> {
        self.poisoned().map_or(Ok(()), Err)
    }

    /// Waits in the queue, or leads.
    fn wait_or_lead(&self, lsn: Lsn) -> Result<()> {
        loop {
            let waiter = {
                let mut state = self.group.state.lock();
                if self.durable.load() >= lsn {
                    return Ok(());
                }
                if let Some(cause) = &state.poison {
                    let error = poisoned_by(cause);
                    if broken(Mutant::PoisonToldOnce) {
                        state.poison = None;
                        self.group.poisoned.store(false, Ordering::SeqCst);
                    }
                    return Err(error);
                }
                if state.leading {
                    Some(state.enqueue(lsn, |state| &mut state.queue).1)
                } else {
                    state.leading = true;
                    None
                }
            };
            match waiter.map_or(Fate::Lead, |waiter| park(&waiter, None)) {
                Fate::Lead => self.lead(),
                Fate::Passed => return Ok(()),
                Fate::Poisoned | Fate::Waiting => {}
            }
        }
    }

    /// Waits for a flush that somebody else leads.
    fn wait_timed(&self, lsn: Lsn, timeout: Duration) -> Result<bool> {
        let deadline = Deadline::after(timeout);
        let (ticket, waiter) = {
            let mut state = self.group.state.lock();
            if self.durable.load() >= lsn {
                return Ok(true);
            }
            if let Some(cause) = &state.poison {
                return Err(poisoned_by(cause));
            }
            state.enqueue(lsn, |state| &mut state.timed)
        };
        match park(&waiter, Some(deadline)) {
            Fate::Passed | Fate::Lead => Ok(true),
            Fate::Waiting => {
                self.group.state.lock().timed.leave(lsn, ticket);
                Ok(self.durable.load() >= lsn)
            }
            Fate::Poisoned if self.durable.load() >= lsn => Ok(true),
            Fate::Poisoned => self.check_poison().map(|()| false),
        }
    }

    /// Flushes once. The caller has the leadership, and has it no longer afterwards.
    fn lead(&self) {
        // If the disk panics, nobody shall wait for this leader for ever.
        let abandoned = Abandoned(self);
        let target = self.appended.load();
        let mut flushed = self.flush_up_to(target);
        if broken(Mutant::FailedFlushRetried) && flushed.is_err() {
            flushed = self.flush_up_to(target);
        }
        mem::forget(abandoned);

        let mut state = self.group.state.lock();
        let roused = match flushed {
            Ok(()) if state.poison.is_none() => {
                let mut reached = target;
                if broken(Mutant::DurableBeyondTarget) {
                    reached = self.appended.load();
                }
                self.durable.advance(reached);
                let mut roused = state.pass(reached);
                roused.leader = state.choose_leader();
                roused
            }
            Ok(()) => {
                state.leading = false;
                Roused::default()
            }
            Err(cause) => {
                state.leading = false;
                self.poison_locked(&mut state, cause)
            }
        };
        drop(state);
        roused.wake();
    }

    /// Makes the log durable from the sync line to `target` (L3).
    fn flush_up_to(&self, target: Lsn) -> Result<()> {
        let durable = self.durable.load();
        assert!(durable <= target, "I1: the sync line {durable} is above {target}");
        if durable == target || broken(Mutant::FlushSkipped) {
            return Ok(());
        }
        let segments: Vec<_> = self.mapped.lock().iter().cloned().collect();
        let mut bytes = 0;
        for segment in &segments {
            bytes += segment.sync(durable, target)?;
        }
        assert_eq!(bytes, target.get() - durable.get(), "L3: every segment is still mapped");
        self.counters.flushes.fetch_add(1, Ordering::Relaxed);
        self.counters.bytes_flushed.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    fn poison_locked(&self, state: &mut State, cause: Error) -> Roused {
        if state.poison.is_none() {
            state.poison = Some(cause);
            self.group.poisoned.store(true, Ordering::SeqCst);
            if !broken(Mutant::CommitsAfterPoison) {
                self.withdraw_limit();
            }
        }
        state.fail()
    }
}

/// A leader who has not come back.
struct Abandoned<'a>(&'a Log);

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        let mut state = self.0.group.state.lock();
        state.leading = false;
        let cause = Error::Io {
            action: "flush".to_owned(),
            file: "the log".to_owned(),
            source: Arc::new(std::io::Error::other("the flush panicked")),
        };
        let roused = self.0.poison_locked(&mut state, cause);
        drop(state);
        roused.wake();
    }
}

/// What everybody is told after `cause`.
fn poisoned_by(cause: &Error) -> Error {
    match cause {
        Error::Poisoned { .. } => cause.clone(),
        _ => Error::Poisoned { source: Arc::new(cause.clone()) },
    }
}

/// Sleeps until the waiter's fate is decided, or the deadline is over.
fn park(waiter: &Waiter, deadline: Option<Deadline>) -> Fate {
    loop {
        let fate = waiter.fate();
        if fate != Fate::Waiting {
            return fate;
        }
        match &deadline {
            None => thread::park(),
            Some(deadline) => match deadline.remaining() {
                Some(rest) => crate::sync::park_timeout(rest),
                None => return waiter.fate(),
            },
        }
    }
}

#[cfg(test)]
#[cfg(not(syncline_shuttle))]
mod tests {
    use super::*;

    /// Who waits for 10, for 20 twice, and for 30, in each queue; and a future for each.
    fn waiting() -> State {
        let mut state = State { leading: true, ..State::default() };
        let picks: [fn(&mut State) -> &mut Queue; 3] =
            [|state| &mut state.queue, |state| &mut state.timed, |state| &mut state.watchers];
        for pick in picks {
            for lsn in [10, 20, 20, 30] {
                state.enqueue(Lsn::new(lsn), pick);
            }
        }
        for lsn in [10, 20, 30] {
            state.wakers.insert(Lsn::new(lsn), vec![Waker::noop().clone()]);
        }
        state
    }

    fn left(state: &State) -> [usize; 4] {
        let State { queue, timed, watchers, wakers, .. } = state;
        [queue.0.len(), timed.0.len(), watchers.0.len(), wakers.len()]
    }

    #[test]
    fn tickets_tell_apart_who_waits_for_the_same() {
        let mut state = waiting();
        assert_eq!(left(&state), [4, 4, 4, 3]);
        let (ticket, _) = state.enqueue(Lsn::new(20), |state| &mut state.timed);
        assert_eq!(ticket, 12);
        state.timed.leave(Lsn::new(20), ticket);
        state.timed.leave(Lsn::new(20), ticket);
        assert_eq!(left(&state), [4, 4, 4, 3]);
    }

    #[test]
    fn the_sync_line_answers_those_at_it_and_watchers_below_it() {
        let mut state = waiting();
        let roused = state.pass(Lsn::new(20));
        assert_eq!((roused.passed.len(), roused.wakers.len()), (3 + 3 + 1, 2));
        assert!(roused.leader.is_none() && roused.poisoned.is_empty());
        assert_eq!(left(&state), [1, 1, 3, 1]);
        assert!(state.choose_leader().is_some() && state.leading);
        assert!(state.choose_leader().is_none() && !state.leading);
        let roused = state.pass(Lsn::MAX);
        assert_eq!((roused.passed.len(), roused.wakers.len()), (4, 1));
        assert_eq!(left(&state), [0; 4]);
    }

    #[test]
    fn poison_answers_all() {
        let mut state = waiting();
        let roused = state.fail();
        assert_eq!((roused.poisoned.len(), roused.wakers.len()), (12, 3));
        assert!(roused.leader.is_none() && roused.passed.is_empty());
        assert_eq!(left(&state), [0; 4]);
    }

    #[test]
    fn a_waiter_learns_its_fate() {
        for fate in [Fate::Waiting, Fate::Passed, Fate::Lead, Fate::Poisoned] {
            let waiter = Waiter::new();
            assert_eq!(waiter.fate(), Fate::Waiting);
            waiter.wake(fate);
            assert_eq!(waiter.fate(), fate);
        }
    }

    #[test]
    fn poison_is_not_wrapped_twice() {
        let once = poisoned_by(&Error::Closed);
        assert!(matches!(&once, Error::Poisoned { source } if matches!(**source, Error::Closed)));
        let twice = poisoned_by(&once);
        assert!(matches!(&twice, Error::Poisoned { source } if matches!(**source, Error::Closed)));
    }
}
