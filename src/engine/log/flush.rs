//! The group flush: one flush of the device for everybody who waits.
//!
//! Whoever waits for durability and finds no flush running leads one: it takes the `appended` of
//! that moment as its target, flushes up to there with no lock held, moves the sync line, and
//! wakes those that it has passed. Whoever finds one running queues up in LSN order. A leader
//! that leaves waiters behind chooses the first of them as the next leader and wakes it before
//! all others, so that the device is not idle while threads wake up; but it may wait a little for
//! those who were answered, if they come back soon ([`Company`]).
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

use std::mem;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use super::appender::Log;
use super::company::Company;
use super::waiter::{Fate, Queue, Waiter, Wakers, park};
use crate::engine::base::error::{Error, Result};
use crate::engine::base::lsn::Lsn;
use crate::engine::base::sync::atomic::{AtomicBool, Ordering};
use crate::engine::base::sync::{Deadline, Mutex, Stopwatch, thread};
use crate::engine::mutants::mutant;

/// Who leads a flush waits for it as well; or it is the flusher, who then counts in each flush.
const LEADER: usize = 1;

/// Who flushes and who waits.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) state: Mutex<State>,
    /// Set with `State::poison`, to be read without the lock.
    poisoned: AtomicBool,
    /// Since when a flush has been at the device. Held for a moment.
    at_device: Mutex<Option<Stopwatch>>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// Somebody leads (LOG-2).
    leading: bool,
    /// Why the log is poisoned. Never cleared (LOG-4).
    pub(super) poison: Option<Error>,
    /// Tells apart those who wait for the same LSN.
    next_ticket: u64,
    /// Threads that wait and may be made the leader, in LSN order.
    queue: Queue,
    /// Threads that wait for a limited time.
    timed: Queue,
    /// Futures that have asked for a flush.
    pub(super) asking: Wakers,
    /// Futures that wait for one that comes in any case.
    pub(super) quiet: Wakers,
    /// Those of futures that have been answered, to be called.
    pub(super) answered: Vec<Waker>,
    /// Threads that wait for the sync line to move at all.
    watchers: Queue,
    company: Company,
}

/// Those whose fate has been decided under the lock, to be woken after it.
#[derive(Default)]
struct Roused {
    leader: Option<Arc<Waiter>>,
    passed: Vec<Arc<Waiter>>,
    poisoned: Vec<Arc<Waiter>>,
    /// Whether there are wakers to be called.
    has_wakers: bool,
}

impl Roused {
    fn wake(self, log: &Log) {
        if let Some(leader) = self.leader {
            leader.wake(Fate::Lead);
        }
        self.passed.iter().for_each(|waiter| waiter.wake(Fate::Passed));
        self.poisoned.iter().for_each(|waiter| waiter.wake(Fate::Poisoned));
        if self.has_wakers {
            log.flusher.rouse();
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

    /// Takes out everybody whom the sync line at `durable` answers.
    fn pass(&mut self, durable: Lsn) -> Roused {
        let mut passed: Vec<_> = self.queue.take_through(durable).collect();
        passed.extend(self.timed.take_through(durable));
        // Who has seen an LSN waits for more than that.
        passed.extend(self.watchers.take_below(durable));
        let asking = self.asking.take_through(durable);
        self.answered.extend(asking);
        self.answered.extend(self.quiet.take_through(durable));
        let has_wakers = !self.answered.is_empty();
        Roused { passed, has_wakers, ..Roused::default() }
    }

    /// How many wait for a flush to begin, beside who leads it.
    fn waiting(&self) -> usize {
        self.queue.len() + self.timed.len() + self.asking.len()
    }

    /// Passes the leadership on to the first in the queue, or gives it up.
    fn choose_leader(&mut self) -> Option<Arc<Waiter>> {
        assert!(self.leading, "LOG-2: only the leader passes the leadership on");
        let next = self.queue.take_first();
        self.leading = next.is_some();
        next
    }

    /// Takes out everybody.
    fn fail(&mut self) -> Roused {
        let mut poisoned: Vec<_> = self.queue.take_all().collect();
        poisoned.extend(self.timed.take_all());
        poisoned.extend(self.watchers.take_all());
        self.answered.extend(self.asking.take_all());
        self.answered.extend(self.quiet.take_all());
        let has_wakers = !self.answered.is_empty();
        Roused { poisoned, has_wakers, ..Roused::default() }
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
        let waited = self.wait_quietly(lsn, timeout);
        self.deliver_unless_flusher();
        waited
    }

    /// As [`Log::wait_durable`], for those who hold locks: calls no waker.
    pub(crate) fn wait_quietly(&self, lsn: Lsn, timeout: Option<Duration>) -> Result<bool> {
        if self.durable.load() >= lsn {
            return Ok(true);
        }
        self.process.check()?;
        assert!(lsn <= self.appended.load(), "nobody waits for {lsn}, which is not published");
        match timeout {
            Some(timeout) if self.flusher.ask() => self.wait_timed(lsn, timeout),
            _ => self.wait_or_lead(lsn).map(|()| true),
        }
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
        let flushed = self.flush_quietly();
        self.deliver_unless_flusher();
        flushed
    }

    /// As [`Log::flush`], but calls no waker.
    pub(super) fn flush_quietly(&self) -> Result<Lsn> {
        self.wait_or_lead(self.appended.load())?;
        Ok(self.durable.load())
    }

    /// Declares the log unfit: nothing more is appended, nothing more becomes durable, and
    /// everybody who waits is told. Only the first cause counts.
    pub(crate) fn poison(&self, cause: Error) {
        let roused = self.poison_locked(&mut self.group.state.lock(), cause);
        roused.wake(self);
    }

    /// The error that everybody gets who needs the log, if it is poisoned.
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

    /// How long the flush that is at the device has been there.
    #[cfg_attr(not(feature = "server"), allow(dead_code))]
    pub(crate) fn flushing_for(&self) -> Option<Duration> {
        self.group.at_device.lock().map(Stopwatch::elapsed)
    }

    /// How long the longest flush took that has ended since this was asked last.
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
        self.wait_for_company();
        let begun = Stopwatch::start();
        *self.group.at_device.lock() = Some(begun);
        let target = self.appended.load();
        let flushed = mutant!(FailedFlushRetried: self.flush_up_to(target) =>
            self.flush_up_to(target).or_else(|_| self.flush_up_to(target)));
        *self.group.at_device.lock() = None;
        mem::forget(abandoned);

        let mut state = self.group.state.lock();
        let roused = match flushed {
            Ok(()) if state.poison.is_none() => {
                self.durable.advance(mutant!(DurableBeyondTarget: target => self.appended.load()));
                let asking = state.waiting();
                let mut roused = state.pass(target);
                let waiting = state.waiting();
                state.company.flushed(asking - waiting + LEADER, waiting, begun.elapsed());
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
        roused.wake(self);
    }

    /// Waits for those who are likely to come, as long as that is worth it. The caller leads.
    fn wait_for_company(&self) {
        let (before, (expected, patience)) = {
            let mut state = self.group.state.lock();
            let here = state.waiting() + LEADER;
            match state.company.invite(here) {
                Some(invited) if self.appended.load() > self.durable.load() => (here, invited),
                _ => return,
            }
        };
        let begun = Stopwatch::start();
        let (mut here, mut waited) = (before, Duration::ZERO);
        while here < expected && waited < patience {
            thread::yield_now();
            here = self.group.state.lock().waiting() + LEADER;
            waited = begun.elapsed();
        }
        self.group.state.lock().company.judge(before, here, waited);
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
        self.witness.get().map_or(Ok(()), |witness| witness.check_named())?;
        self.counters.flushes.fetch_add(1, Ordering::Relaxed);
        self.counters.flush_durations.add(begun.elapsed());
        self.counters.bytes_flushed.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    fn poison_locked(&self, state: &mut State, cause: Error) -> Roused {
        if state.poison.is_none() {
            state.poison = Some(cause);
            self.group.poisoned.store(true, Ordering::SeqCst);
            mutant!(CommitsAfterPoison: self.withdraw_limit() => ());
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
        roused.wake(self.0);
    }
}

/// What everybody is told after `cause`.
pub(super) fn poisoned_by(cause: &Error) -> Error {
    match cause {
        Error::Poisoned { .. } => cause.clone(),
        _ => Error::Poisoned { source: Arc::new(cause.clone()), appended: None },
    }
}

#[cfg(test)]
#[cfg(not(syncline_shuttle))]
mod tests {
    use super::super::tests::Rig;
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
            state.asking.add(Lsn::new(lsn), Waker::noop().clone());
        }
        state
    }

    fn left(state: &State) -> [usize; 4] {
        let State { queue, timed, watchers, asking, .. } = state;
        [queue.len(), timed.len(), watchers.len(), asking.len()]
    }

    /// A log with something to flush, whose next leader expects so many, and has the leadership;
    /// the last wait was in vain.
    fn expecting(expected: usize) -> Rig {
        let mut rig = Rig::new();
        rig.append(b"something");
        let mut state = rig.log.group.state.lock();
        state.leading = true;
        state.company = in_vain(Company::default());
        state.company.expected = expected;
        drop(state);
        rig
    }

    /// After a wait in vain, and the rest that followed it.
    fn in_vain(mut company: Company) -> Company {
        company.flush_took = Duration::from_secs(1);
        company.judge(1, 1, Duration::from_secs(1));
        company.expected = usize::MAX;
        while company.invite(1).is_none() {}
        company
    }

    fn last_rest(log: &Log) -> u32 {
        log.group.state.lock().company.last_rest
    }

    #[test]
    fn a_leader_waits_for_those_it_expects() {
        let rig = expecting(100);
        let before = last_rest(&rig.log);
        rig.log.lead();
        assert_eq!(last_rest(&rig.log), 2 * before, "nobody came");
        // It is not expected to be more than itself.
        let rig = expecting(LEADER);
        rig.log.lead();
        assert_eq!(last_rest(&rig.log), before, "it has not waited");
        // There is nothing to flush.
        let rig = expecting(100);
        rig.log.flush_up_to(rig.log.appended()).unwrap();
        rig.log.durable.advance(rig.log.appended());
        rig.log.lead();
        assert_eq!(last_rest(&rig.log), before, "it has not waited");
    }

    #[test]
    fn a_leader_goes_on_once_they_have_come() {
        // Whoever comes may come before it begins to wait, or be too late.
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
            last_rest(&rig.log) == 0
        };
        assert!((0..10_000).any(has_met), "nobody was ever worth waiting for");
    }

    #[test]
    fn those_who_were_answered_and_those_who_wait_are_expected_next() {
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
        assert_eq!(rig.log.group.state.lock().company.expected, 3 + LEADER + 2);
    }

    #[test]
    fn tickets_tell_apart_who_waits_for_the_same() {
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
    fn the_sync_line_answers_those_at_it_and_watchers_below_it() {
        let mut state = waiting();
        let roused = state.pass(Lsn::new(20));
        assert_eq!((roused.passed.len(), state.answered.len()), (3 + 3 + 1, 2));
        assert!(roused.leader.is_none() && roused.poisoned.is_empty());
        assert_eq!(left(&state), [1, 1, 3, 1]);
        assert!(state.choose_leader().is_some() && state.leading);
        assert!(state.choose_leader().is_none() && !state.leading);
        let roused = state.pass(Lsn::MAX);
        assert_eq!((roused.passed.len(), state.answered.len()), (4, 2 + 1));
        assert_eq!(left(&state), [0; 4]);
    }

    #[test]
    fn poison_answers_all() {
        let mut state = waiting();
        let roused = state.fail();
        assert_eq!((roused.poisoned.len(), state.answered.len()), (12, 3));
        assert!(roused.leader.is_none() && roused.passed.is_empty());
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
