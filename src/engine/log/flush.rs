//! Group commit: one flush of the device makes the commits of many committers durable.
//!
//! A committer that finds no flush running leads one: it takes the `appended` of that moment as its
//! target, flushes up to there with no lock held, moves the sync line, and wakes the waiters that the
//! line has passed. A committer that finds one running queues up in LSN order. A leader that leaves
//! waiters behind makes the first of them the next leader and wakes it before all others, so that the
//! device is not idle while threads wake up. A leader may wait a little for the committers that were
//! just answered, in case they commit again soon ([`GroupDelay`]).
//!
//! The states of a waiter ([`Fate`]):
//!
//! ```text
//!             the sync line passed it           .--> Passed
//!   Waiting --+ it is to flush for the others --+--> Lead --(flush)--> looks again
//!             | the log was poisoned            '--> Poisoned
//!             '-- its deadline passed: leaves the queue (only waiters that never lead)
//! ```
//!
//! The leadership is the flag `leading`. It is handed from leader to leader without ever being free in
//! between, so a newcomer cannot overtake the queue.
//!
//! A waiter with a deadline must not be held up by a flush that it leads, and a future must not block:
//! if there is a flusher thread, both ask it to flush at once and never lead. Otherwise they flush
//! themselves.

use std::mem;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use super::appender::Log;
use super::group_delay::GroupDelay;
use super::waiter::{Fate, Queue, Waiter, Wakers, park};
use crate::engine::base::error::{Error, Result};
use crate::engine::base::lsn::Lsn;
use crate::engine::base::sync::atomic::{AtomicBool, Ordering};
use crate::engine::base::sync::{Deadline, Mutex, Stopwatch, thread};
use crate::engine::mutants::mutant;

/// The leader counts as one waiter, even if it is the flusher.
const LEADER: usize = 1;

/// The leadership, and the threads and futures that wait for a flush.
#[derive(Debug, Default)]
pub(super) struct GroupCommit {
    pub(super) state: Mutex<State>,
    /// Set with `State::poison`, readable without the lock.
    poisoned: AtomicBool,
    /// Since when a flush has been at the device.
    at_device: Mutex<Option<Stopwatch>>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// Whether a flush has a leader (LOG-2).
    leading: bool,
    /// Why the log is poisoned. Never cleared (LOG-4).
    pub(super) poison: Option<Error>,
    /// Tells waiters for the same LSN apart.
    next_ticket: u64,
    /// Threads that may be made the leader, in LSN order.
    queue: Queue,
    /// Threads that wait with a deadline.
    timed: Queue,
    /// Futures that have asked for a flush.
    pub(super) asking: Wakers,
    /// Futures that wait for whatever flush comes.
    pub(super) quiet: Wakers,
    /// Wakers of answered futures, to be called.
    pub(super) answered: Vec<Waker>,
    /// Threads that wait for the sync line to move at all.
    watchers: Queue,
    group_delay: GroupDelay,
}

/// The waiters whose fate has been decided under the lock, to be woken after it.
#[derive(Default)]
struct Wakeups {
    leader: Option<Arc<Waiter>>,
    passed: Vec<Arc<Waiter>>,
    poisoned: Vec<Arc<Waiter>>,
    /// Whether there are wakers to be called.
    has_wakers: bool,
}

impl Wakeups {
    fn wake(self, log: &Log) {
        if let Some(leader) = self.leader {
            leader.wake(Fate::Lead);
        }
        self.passed.iter().for_each(|waiter| waiter.wake(Fate::Passed));
        self.poisoned.iter().for_each(|waiter| waiter.wake(Fate::Poisoned));
        if self.has_wakers {
            log.flusher.wake();
        }
    }
}

impl State {
    fn enqueue(&mut self, lsn: Lsn, pick: fn(&mut State) -> &mut Queue) -> (u64, Arc<Waiter>) {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let waiter = Waiter::new();
        pick(self).add(lsn, ticket, Arc::clone(&waiter));
        (ticket, waiter)
    }

    /// Takes out every waiter that a sync line at `durable` answers.
    fn pass(&mut self, durable: Lsn) -> Wakeups {
        let mut passed: Vec<_> = self.queue.take_through(durable).collect();
        passed.extend(self.timed.take_through(durable));
        // A watcher waits for a sync line above the one that it has seen.
        passed.extend(self.watchers.take_below(durable));
        let asking = self.asking.take_through(durable);
        self.answered.extend(asking);
        self.answered.extend(self.quiet.take_through(durable));
        let has_wakers = !self.answered.is_empty();
        Wakeups { passed, has_wakers, ..Wakeups::default() }
    }

    /// How many wait for a flush to begin, without its leader.
    fn waiting(&self) -> usize {
        self.queue.len() + self.timed.len() + self.asking.len()
    }

    /// Hands the leadership to the first in the queue, or gives it up.
    fn choose_leader(&mut self) -> Option<Arc<Waiter>> {
        assert!(self.leading, "LOG-2: only the leader hands the leadership over");
        let next = self.queue.take_first();
        self.leading = next.is_some();
        next
    }

    /// Takes out every waiter.
    fn fail(&mut self) -> Wakeups {
        let mut poisoned: Vec<_> = self.queue.take_all().collect();
        poisoned.extend(self.timed.take_all());
        poisoned.extend(self.watchers.take_all());
        self.answered.extend(self.asking.take_all());
        self.answered.extend(self.quiet.take_all());
        let has_wakers = !self.answered.is_empty();
        Wakeups { poisoned, has_wakers, ..Wakeups::default() }
    }
}

impl Log {
    /// Blocks until the sync line is at or above `lsn`, which must have been published. Leads a
    /// flush itself if none is running. Returns whether the line got there within `timeout`, if any.
    ///
    /// # Errors
    /// [`Error::Poisoned`] if a flush failed and `lsn` is not durable.
    pub(crate) fn wait_durable(&self, lsn: Lsn, timeout: Option<Duration>) -> Result<bool> {
        let waited = self.wait_quietly(lsn, timeout);
        self.deliver_unless_flusher();
        waited
    }

    /// As [`Log::wait_durable`], for callers that hold locks: calls no waker.
    pub(crate) fn wait_quietly(&self, lsn: Lsn, timeout: Option<Duration>) -> Result<bool> {
        if self.durable.load() >= lsn {
            return Ok(true);
        }
        self.process.check()?;
        assert!(lsn <= self.appended.load(), "a wait for LSN {lsn}, which is not published");
        match timeout {
            Some(timeout) if self.flusher.ask() => self.wait_timed(lsn, timeout),
            _ => self.wait_or_lead(lsn).map(|()| true),
        }
    }

    /// Blocks until the sync line is above `seen`, without asking for a flush. Returns the line, which
    /// is `seen` or below if `timeout` passed first.
    ///
    /// # Errors
    /// [`Error::Poisoned`] if it will never move again.
    #[cfg_attr(not(test), expect(dead_code, reason = "for a change feed that follows the log"))]
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

    /// Makes everything published durable. Returns the sync line.
    ///
    /// # Errors
    /// [`Error::Poisoned`] if this flush or an earlier one failed.
    pub(crate) fn flush(&self) -> Result<Lsn> {
        let flushed = self.flush_quietly();
        self.deliver_unless_flusher();
        flushed
    }

    /// As [`Log::flush`], but calls no waker.
    pub(super) fn flush_quietly(&self) -> Result<Lsn> {
        self.wait_or_lead(self.appended.load())?;
        Ok(self.durable.load())
    }

    /// Poisons the log: nothing more is appended or becomes durable, and every waiter gets the
    /// error. Only the first cause counts.
    pub(crate) fn poison(&self, cause: Error) {
        let wakeups = self.poison_locked(&mut self.group.state.lock(), cause);
        wakeups.wake(self);
    }

    /// The error of every call that needs the log, if it is poisoned.
    pub(crate) fn poisoned(&self) -> Option<Error> {
        if !self.is_poisoned() {
            return None;
        }
        self.group.state.lock().poison.as_ref().map(poisoned_by)
    }

    /// Whether a flush is at the device.
    pub(crate) fn is_flushing(&self) -> bool {
        self.group.state.lock().leading
    }

    /// How long the current flush has been at the device.
    #[cfg_attr(not(feature = "server"), allow(dead_code))]
    pub(crate) fn flushing_for(&self) -> Option<Duration> {
        self.group.at_device.lock().map(Stopwatch::elapsed)
    }

    /// Duration of the longest flush that ended since the last call.
    #[cfg_attr(not(feature = "server"), allow(dead_code))]
    pub(crate) fn take_longest_flush(&self) -> Duration {
        self.counters.flush_durations.take_longest()
    }

    pub(super) fn is_poisoned(&self) -> bool {
        self.group.poisoned.load(Ordering::SeqCst)
    }

    pub(crate) fn check_poison(&self) -> Result<()> {
        self.poisoned().map_or(Ok(()), Err)
    }

    /// Waits in the queue, or leads.
    pub(super) fn wait_or_lead(&self, lsn: Lsn) -> Result<()> {
        loop {
            let waiter = {
                let mut state = self.group.state.lock();
                if self.durable.load() >= lsn {
                    return Ok(());
                }
                if let Some(cause) = &state.poison {
                    mutant!(PoisonToldOnce => {
                        let error = poisoned_by(cause);
                        state.poison = None;
                        self.group.poisoned.store(false, Ordering::SeqCst);
                        return Err(error);
                    });
                    return Err(poisoned_by(cause));
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

    /// Waits for a flush that another thread leads.
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

    /// Flushes once. The caller has the leadership, and gives it up.
    fn lead(&self) {
        // If the disk panics, no waiter may wait for this leader for ever.
        let abandoned = Abandoned(self);
        self.wait_for_group();
        let begun = Stopwatch::start();
        *self.group.at_device.lock() = Some(begun);
        let target = self.appended.load();
        let flushed = mutant!(FailedFlushRetried: self.flush_up_to(target) =>
            self.flush_up_to(target).or_else(|_| self.flush_up_to(target)));
        *self.group.at_device.lock() = None;
        mem::forget(abandoned);

        let mut state = self.group.state.lock();
        let wakeups = match flushed {
            Ok(()) if state.poison.is_none() => {
                let reached = mutant!(DurableBeyondTarget: target => self.appended.load());
                self.durable.advance(reached);
                let asking = state.waiting();
                let mut wakeups = state.pass(reached);
                let waiting = state.waiting();
                state.group_delay.record_flush(asking - waiting + LEADER, waiting, begun.elapsed());
                wakeups.leader = state.choose_leader();
                wakeups
            }
            Ok(()) => {
                state.leading = false;
                Wakeups::default()
            }
            Err(cause) => {
                state.leading = false;
                self.poison_locked(&mut state, cause)
            }
        };
        drop(state);
        wakeups.wake(self);
    }

    /// The group-commit delay. The caller leads.
    fn wait_for_group(&self) {
        let (before, (expected, delay)) = {
            let mut state = self.group.state.lock();
            let here = state.waiting() + LEADER;
            match state.group_delay.delay_for(here) {
                Some(awaited) if self.appended.load() > self.durable.load() => (here, awaited),
                _ => return,
            }
        };
        let begun = Stopwatch::start();
        let (mut here, mut waited) = (before, Duration::ZERO);
        while here < expected && waited < delay {
            thread::yield_now();
            here = self.group.state.lock().waiting() + LEADER;
            waited = begun.elapsed();
        }
        self.group.state.lock().group_delay.record_delay(before, here, waited);
    }

    /// Makes the log durable from the sync line to `target` (LOG-3).
    fn flush_up_to(&self, target: Lsn) -> Result<()> {
        let durable = self.durable.load();
        assert!(durable <= target, "LOG-14: the sync line {durable} is above {target}");
        if durable == target {
            return Ok(());
        }
        mutant!(FlushSkipped => return Ok(()));
        let begun = Stopwatch::start();
        let segments: Vec<_> = self.mapped.lock().iter().cloned().collect();
        let mut bytes = 0;
        for segment in &segments {
            bytes += segment.sync(durable, target)?;
        }
        assert_eq!(bytes, target.get() - durable.get(), "LOG-3: every segment is still mapped");
        self.registry.get().map_or(Ok(()), |registry| registry.check_named())?;
        self.counters.flushes.fetch_add(1, Ordering::Relaxed);
        self.counters.flush_durations.add(begun.elapsed());
        self.counters.bytes_flushed.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    fn poison_locked(&self, state: &mut State, cause: Error) -> Wakeups {
        if state.poison.is_none() {
            state.poison = Some(cause);
            self.group.poisoned.store(true, Ordering::SeqCst);
            mutant!(CommitsAfterPoison: self.withdraw_limit() => ());
        }
        state.fail()
    }
}

/// Dropped only if the leader panics: gives up the leadership and poisons the log.
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
        let wakeups = self.0.poison_locked(&mut state, cause);
        drop(state);
        wakeups.wake(self.0);
    }
}

/// The error of every call after `cause`.
pub(super) fn poisoned_by(cause: &Error) -> Error {
    match cause {
        Error::Poisoned { .. } => cause.clone().before_append(),
        _ => Error::Poisoned { source: Arc::new(cause.clone()), appended: None },
    }
}

#[cfg(test)]
#[cfg(not(syncline_shuttle))]
mod tests {
    use super::super::tests::Rig;
    use super::*;

    /// Waiters for 10, for 20 twice and for 30 in each queue, and a future for each position.
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
            state.asking.add(Lsn::new(lsn), Waker::noop().clone());
        }
        state
    }

    fn left(state: &State) -> [usize; 4] {
        let State { queue, timed, watchers, asking, .. } = state;
        [queue.len(), timed.len(), watchers.len(), asking.len()]
    }

    /// A log with something to flush, whose next leader expects `expected` committers and has the
    /// leadership; the last delay was useless.
    fn expecting(expected: usize) -> Rig {
        let mut rig = Rig::new();
        rig.append(b"something");
        let mut state = rig.log.group.state.lock();
        state.leading = true;
        state.group_delay = after_useless_delay(GroupDelay::default());
        state.group_delay.expected = expected;
        drop(state);
        rig
    }

    /// After a useless delay, and the flushes without one that follow it.
    fn after_useless_delay(mut group_delay: GroupDelay) -> GroupDelay {
        group_delay.flush_took = Duration::from_secs(1);
        group_delay.record_delay(1, 1, Duration::from_secs(1));
        group_delay.expected = usize::MAX;
        while group_delay.delay_for(1).is_none() {}
        group_delay
    }

    fn last_skips(log: &Log) -> u32 {
        log.group.state.lock().group_delay.last_skips
    }

    #[test]
    fn a_leader_waits_for_expected_committers() {
        let rig = expecting(100);
        let before = last_skips(&rig.log);
        rig.log.lead();
        assert_eq!(last_skips(&rig.log), 2 * before, "no committer came");
        // It expects only itself.
        let rig = expecting(LEADER);
        rig.log.lead();
        assert_eq!(last_skips(&rig.log), before, "it has not waited");
        // There is nothing to flush.
        let rig = expecting(100);
        rig.log.flush_up_to(rig.log.appended()).unwrap();
        rig.log.durable.advance(rig.log.appended());
        rig.log.lead();
        assert_eq!(last_skips(&rig.log), before, "it has not waited");
    }

    #[test]
    fn a_leader_flushes_once_the_expected_committers_have_come() {
        // The committer may come before the leader begins to wait, or too late.
        let has_met = |_| {
            let rig = expecting(2);
            let begun = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !begun.load(Ordering::SeqCst) {
                        std::hint::spin_loop();
                    }
                    let mut state = rig.log.group.state.lock();
                    state.asking.add(Lsn::MAX, Waker::noop().clone());
                });
                begun.store(true, Ordering::SeqCst);
                rig.log.lead();
            });
            last_skips(&rig.log) == 0
        };
        assert!((0..10_000).any(has_met), "no delay was ever worth it");
    }

    #[test]
    fn answered_and_waiting_committers_are_expected_next() {
        let rig = expecting(0);
        let appended = rig.log.appended();
        {
            let mut state = rig.log.group.state.lock();
            for _ in 0..3 {
                state.enqueue(appended, |state| &mut state.timed);
            }
            state.enqueue(Lsn::MAX, |state| &mut state.timed);
            state.asking.add(Lsn::MAX, Waker::noop().clone());
        }
        rig.log.lead();
        assert_eq!(rig.log.group.state.lock().group_delay.expected, 3 + LEADER + 2);
    }

    #[test]
    fn tickets_tell_waiters_for_the_same_lsn_apart() {
        let mut state = waiting();
        assert_eq!(left(&state), [4, 4, 4, 3]);
        assert_eq!(state.waiting(), 4 + 4 + 3, "watchers wait for no flush");
        let (ticket, _) = state.enqueue(Lsn::new(20), |state| &mut state.timed);
        assert_eq!(ticket, 12);
        state.timed.leave(Lsn::new(20), ticket);
        state.timed.leave(Lsn::new(20), ticket);
        assert_eq!(left(&state), [4, 4, 4, 3]);
    }

    #[test]
    fn the_sync_line_answers_waiters_up_to_it_and_watchers_below_it() {
        let mut state = waiting();
        let wakeups = state.pass(Lsn::new(20));
        assert_eq!((wakeups.passed.len(), state.answered.len()), (3 + 3 + 1, 2));
        assert!(wakeups.leader.is_none() && wakeups.poisoned.is_empty());
        assert_eq!(left(&state), [1, 1, 3, 1]);
        assert!(state.choose_leader().is_some() && state.leading);
        assert!(state.choose_leader().is_none() && !state.leading);
        let wakeups = state.pass(Lsn::MAX);
        assert_eq!((wakeups.passed.len(), state.answered.len()), (4, 2 + 1));
        assert_eq!(left(&state), [0; 4]);
    }

    #[test]
    fn poison_answers_every_waiter() {
        let mut state = waiting();
        let wakeups = state.fail();
        assert_eq!((wakeups.poisoned.len(), state.answered.len()), (12, 3));
        assert!(wakeups.leader.is_none() && wakeups.passed.is_empty());
        assert_eq!(left(&state), [0; 4]);
    }

    #[test]
    fn poison_is_not_wrapped_twice() {
        let once = poisoned_by(&Error::Closed);
        assert!(
            matches!(&once, Error::Poisoned { source, .. } if matches!(**source, Error::Closed))
        );
        let twice = poisoned_by(&once);
        assert!(
            matches!(&twice, Error::Poisoned { source, .. } if matches!(**source, Error::Closed))
        );
    }
}
