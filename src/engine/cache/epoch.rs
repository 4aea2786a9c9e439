//! Epoch-based reclamation: a reader pins the epoch, and a retired frame is freed once all readers that
//! could see it have unpinned.
//!
//! The scheme and its implementation are crossbeam-epoch's (Fraser, "Practical lock-freedom",
//! 2004). Each store has a collector of its own, so that a reader of one store never delays
//! another, and so that a simulated run depends on nothing outside it.
//!
//! In addition, a writer can exclude readers for a moment, if nobody is pinned ([`Epoch::exclude`]):
//! then it may change published frames. Each thread has a slot in which it counts its pins. The writer
//! raises a flag, and then looks at all slots:
//!
//! ```text
//!   reader   slot = 1;     barrier;  flag?    raised: slot = 0, wait, begin anew
//!   writer   flag = true;  barrier;  slots?   one is not 0: flag = false, no exclusion
//! ```
//!
//! With a full barrier on both sides at least one sees the other (Dekker). The reader's barrier is the
//! one in crossbeam's `pin`, which must order the pin before all later reads of its thread. A second
//! barrier took 3 % of a get.
//!
//! Invariant:
//!
//! - EPOCH-1 A thread that has an [`Exclusion`] keeps its guard, and pins nothing anew: it would wait for
//!   its own flag. It panics instead.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64 as Numbers;

use crossbeam_epoch::{Collector, LocalHandle};

use crate::engine::base::sync::Mutex;
use crate::engine::base::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

/// A thread keeps handles to at most this many stores.
const HANDLES: usize = 8;
/// The number of slots, of 128 bytes each. Threads that find none free share the last one.
const SLOTS: usize = 512;
const SHARED: usize = SLOTS - 1;
/// The slot of no thread.
const NOBODY: usize = usize::MAX;
/// How often a reader looks at the flag before it lets others run.
const SPINS: usize = 64;

static NEXT: Numbers = Numbers::new(1);

// Under shuttle all tasks run on one thread of the system, and each must have a handle.
#[cfg(syncline_shuttle)]
use shuttle::{thread::AccessError, thread_local};
#[cfg(not(syncline_shuttle))]
use std::thread::AccessError;

thread_local! {
    static LOCAL: RefCell<Vec<Local>> = const { RefCell::new(Vec::new()) };
}

/// A thread's handle to a store, and its slot there.
struct Local {
    number: u64,
    handle: LocalHandle,
    slot: usize,
    slots: Arc<EpochSlots>,
}

impl Drop for Local {
    fn drop(&mut self) {
        if self.slot != SHARED {
            self.slots.give_back(self.slot);
        }
    }
}

/// The pins of all threads, and the flag that excludes readers.
struct EpochSlots {
    flag: Flag,
    /// The slot of the thread that raised the flag.
    excluder: AtomicUsize,
    /// Whether a reader had to wait until the flag was down.
    has_waited: AtomicBool,
    /// Slots from here on are free. Changed with `taking` held.
    used: AtomicUsize,
    taking: Mutex<()>,
    all: Box<[EpochSlot]>,
}

#[repr(align(128))]
struct Flag(AtomicBool);

#[derive(Default)]
#[repr(align(128))]
struct EpochSlot {
    /// How many guards its thread has. Changed only by that thread, except in the shared slot.
    pins: AtomicUsize,
    is_taken: AtomicBool,
}

/// The epochs of one store.
pub(crate) struct Epoch {
    collector: Collector,
    number: u64,
    slots: Arc<EpochSlots>,
}

/// While a thread holds a guard, no frame that it can find is freed. Hold it briefly, and never
/// while waiting for a device.
pub(crate) struct Guard<'e> {
    inner: crossbeam_epoch::Guard,
    pin: Pin<'e>,
}

/// Until this is dropped, no other thread is pinned, and none can pin.
#[derive(Debug)]
pub(crate) struct Exclusion<'e>(&'e Epoch);

/// A pin that is counted in its thread's slot.
struct Pin<'e> {
    slots: &'e EpochSlots,
    slot: usize,
    /// Whether its thread had no other pin.
    is_first: bool,
}

impl Epoch {
    pub(crate) fn new() -> Self {
        let slots = EpochSlots {
            flag: Flag(AtomicBool::new(false)),
            excluder: AtomicUsize::new(NOBODY),
            has_waited: AtomicBool::new(false),
            used: AtomicUsize::new(0),
            taking: Mutex::new(()),
            all: (0..SLOTS).map(|_| EpochSlot::default()).collect(),
        };
        Epoch {
            collector: Collector::new(),
            number: NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
            slots: Arc::new(slots),
        }
    }

    /// Pins the current epoch. Waits while another thread has an [`Exclusion`].
    ///
    /// # Panics
    /// If this thread has the exclusion, and has dropped its guard: it would wait for itself for ever.
    #[inline]
    pub(crate) fn pin(&self) -> Guard<'_> {
        let pinned = self.with_local(|local| self.pin_with(&local.handle, local.slot));
        pinned.unwrap_or_else(|_| self.pin_at_the_end())
    }

    #[inline]
    fn pin_with(&self, handle: &LocalHandle, slot: usize) -> Guard<'_> {
        let pin = self.slots.note(slot);
        let inner = handle.pin();
        // A nested pin has had no barrier, and needs none.
        if pin.is_first && self.slots.is_closed() {
            pin.wait();
        }
        Guard { inner, pin }
    }

    /// For a thread that is ending and has lost its [`Local`]: a destructor may still read, and close the
    /// store. The guard keeps the handle alive.
    #[cold]
    fn pin_at_the_end(&self) -> Guard<'_> {
        self.slots.used.fetch_max(SHARED + 1, Ordering::SeqCst);
        self.pin_with(&self.collector.register(), SHARED)
    }

    /// Whether a reader has had to wait for an [`Exclusion`] since the last call.
    pub(crate) fn has_kept_waiting(&self) -> bool {
        let has_waited = &self.slots.has_waited;
        has_waited.load(Ordering::Relaxed) && has_waited.swap(false, Ordering::Relaxed)
    }

    /// Keeps other threads from pinning, if none is pinned. The caller is pinned, holds the lock that
    /// serialises these calls, and keeps the exclusion for a fraction of a millisecond.
    pub(crate) fn exclude(&self, guard: &Guard<'_>) -> Option<Exclusion<'_>> {
        let slots = &*self.slots;
        let mine = guard.pin.slot;
        if mine == SHARED || slots.all[mine].pins.load(Ordering::Relaxed) != 1 {
            return None;
        }
        assert!(!slots.flag.0.load(Ordering::Relaxed), "there is one exclusion at a time");
        slots.excluder.store(mine, Ordering::Relaxed);
        slots.flag.0.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let exclusion = Exclusion(self);
        let used = slots.used.load(Ordering::Acquire);
        let mut others = slots.all[..used].iter().enumerate().filter(|(at, _)| *at != mine);
        let is_free = |(_, slot): (usize, &EpochSlot)| slot.pins.load(Ordering::Acquire) == 0;
        others.all(is_free).then_some(exclusion)
    }

    #[inline]
    fn with_local<T>(&self, act: impl FnOnce(&Local) -> T) -> Result<T, AccessError> {
        LOCAL.try_with(|local| {
            if let Some(first) = local.borrow().first()
                && first.number == self.number
            {
                return act(first);
            }
            self.find_local(&mut local.borrow_mut());
            act(&local.borrow()[0])
        })
    }

    /// Finds or makes this thread's [`Local`], and moves it to the front.
    #[cold]
    fn find_local(&self, local: &mut Vec<Local>) {
        match local.iter().position(|local| local.number == self.number) {
            Some(at) => local.swap(0, at),
            None => {
                let slots = Arc::clone(&self.slots);
                let slot = slots.take();
                let (number, handle) = (self.number, self.collector.register());
                local.insert(0, Local { number, handle, slot, slots });
                local.truncate(HANDLES);
            }
        }
    }
}

impl EpochSlot {
    /// Call with `taking` held.
    fn is_free(&self) -> bool {
        self.pins.load(Ordering::SeqCst) == 0 && !self.is_taken.load(Ordering::Relaxed)
    }
}

impl EpochSlots {
    /// A slot for a thread.
    fn take(&self) -> usize {
        let _turn = self.taking.lock();
        let slot = self.all[..SHARED].iter().position(EpochSlot::is_free).unwrap_or(SHARED);
        self.all[slot].is_taken.store(true, Ordering::Relaxed);
        // Before the first pin: a writer that does not look at this slot raised its flag before.
        self.used.fetch_max(slot + 1, Ordering::SeqCst);
        slot
    }

    /// Gives a slot back. Remaining guards still count in it: no thread takes it until they are dropped.
    fn give_back(&self, slot: usize) {
        let _turn = self.taking.lock();
        self.all[slot].is_taken.store(false, Ordering::Relaxed);
        // A writer need not look at slots behind the last one in use.
        let used = self.used.load(Ordering::Relaxed);
        if used <= SHARED {
            let last = self.all[..used].iter().rposition(|slot| !slot.is_free());
            self.used.store(last.map_or(0, |last| last + 1), Ordering::SeqCst);
        }
    }

    /// Counts a pin. It is valid after a full barrier, if the flag is not raised then.
    #[inline]
    fn note(&self, slot: usize) -> Pin<'_> {
        let pins = &self.all[slot].pins;
        let before = if slot == SHARED {
            pins.fetch_add(1, Ordering::SeqCst);
            0 // nobody knows which pins are this thread's
        } else {
            let before = pins.load(Ordering::Relaxed);
            pins.store(before + 1, Ordering::Relaxed);
            before
        };
        Pin { slots: self, slot, is_first: before == 0 }
    }

    #[inline]
    fn is_closed(&self) -> bool {
        self.flag.0.load(Ordering::Acquire)
    }
}

impl Pin<'_> {
    /// Takes the pin back until the flag is down.
    #[cold]
    fn wait(&self) {
        let pins = &self.slots.all[self.slot].pins;
        // If `excluder` names this slot, this very thread has stored it: Relaxed is enough.
        let is_own = self.slots.excluder.load(Ordering::Relaxed) == self.slot;
        assert!(!is_own, "EPOCH-1: a thread that keeps all others from pinning pins anew");
        self.slots.has_waited.store(true, Ordering::Relaxed);
        while self.slots.is_closed() {
            pins.fetch_sub(1, Ordering::SeqCst);
            let mut spins = 0;
            while self.slots.is_closed() {
                spins += 1;
                if spins < SPINS && cfg!(not(syncline_shuttle)) {
                    std::hint::spin_loop();
                } else {
                    crate::engine::base::sync::thread::yield_now();
                }
            }
            pins.fetch_add(1, Ordering::SeqCst);
            fence(Ordering::SeqCst);
        }
    }
}

impl Guard<'_> {
    /// Calls `act` once all threads that are pinned now have unpinned.
    pub(crate) fn defer(&self, act: impl FnOnce() + Send + 'static) {
        self.inner.defer(act);
    }

    /// Advances the epoch if possible, and makes the deferred calls that are due.
    pub(crate) fn flush(&self) {
        self.inner.flush();
    }
}

impl Drop for Pin<'_> {
    #[inline]
    fn drop(&mut self) {
        let pins = &self.slots.all[self.slot].pins;
        if self.slot == SHARED {
            pins.fetch_sub(1, Ordering::Release);
        } else {
            pins.store(pins.load(Ordering::Relaxed) - 1, Ordering::Release);
        }
    }
}

impl Drop for Exclusion<'_> {
    fn drop(&mut self) {
        self.0.slots.excluder.store(NOBODY, Ordering::Relaxed);
        self.0.slots.flag.0.store(false, Ordering::Release);
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Epoch").field("number", &self.number).finish_non_exhaustive()
    }
}

impl fmt::Debug for Guard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("slot", &self.pin.slot).finish_non_exhaustive()
    }
}

impl Drop for Epoch {
    /// Drops this thread's handle. A simulation opens and drops many stores in one thread: they must not
    /// push out the handle to a store that stays, or the time at which its frames are freed would change.
    fn drop(&mut self) {
        let _ = LOCAL.try_with(|local| {
            if let Ok(mut local) = local.try_borrow_mut() {
                local.retain(|local| local.number != self.number);
            }
        });
    }
}

#[cfg(test)]
#[cfg(not(syncline_shuttle))]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    /// On real processors, since no test scheduler models their barriers. If the flag is read before the
    /// barrier, this fails at once.
    #[test]
    fn an_excluder_meets_no_reader() {
        let (epoch, inside, done) = (Epoch::new(), AtomicU64::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let guard = epoch.pin();
                    let (first, second) = (inside.load(Ordering::Relaxed), epoch.pin());
                    assert_eq!((first, inside.load(Ordering::Relaxed)), (0, 0));
                    drop(second);
                    drop(guard);
                    std::thread::yield_now();
                }
            });
            let (mut attempts, mut times) = (0, 0);
            while attempts < 200_000 || times == 0 {
                attempts += 1;
                let guard = epoch.pin();
                if let Some(exclusion) = epoch.exclude(&guard) {
                    inside.store(1, Ordering::Relaxed);
                    std::hint::black_box(&inside);
                    inside.store(0, Ordering::Relaxed);
                    drop(exclusion);
                    times += 1;
                }
            }
            done.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    #[should_panic(expected = "EPOCH-1: a thread that keeps all others from pinning pins anew")]
    fn an_excluder_does_not_wait_for_itself() {
        let epoch = Epoch::new();
        let guard = epoch.pin();
        let _exclusion = epoch.exclude(&guard).expect("no other thread is pinned");
        drop(guard);
        let _guard = epoch.pin();
    }

    #[test]
    fn slots_of_ended_threads_are_not_looked_at() {
        let epoch = Epoch::new();
        drop(epoch.pin());
        let barrier = std::sync::Barrier::new(200);
        std::thread::scope(|scope| {
            for _ in 0..200 {
                scope.spawn(|| {
                    drop(epoch.pin());
                    barrier.wait();
                    let slots: usize = LOCAL.with(|local| local.borrow()[0].slot);
                    assert!(slots != SHARED, "the thread has a slot of its own");
                });
            }
        });
        // Thread-local destructors may run after the scope has ended.
        while epoch.slots.used.load(Ordering::SeqCst) > 1 {
            std::thread::yield_now();
        }
        assert!(epoch.exclude(&epoch.pin()).is_some());
    }

    #[test]
    fn many_threads_share_the_last_slot() {
        let epoch = Epoch::new();
        let can_exclude = |epoch: &Epoch| epoch.exclude(&epoch.pin()).is_some();
        assert!(can_exclude(&epoch));
        let barrier = std::sync::Barrier::new(SLOTS + 1);
        std::thread::scope(|scope| {
            for _ in 0..SLOTS {
                scope.spawn(|| {
                    drop(epoch.pin());
                    barrier.wait();
                    let guard = epoch.pin();
                    barrier.wait();
                    barrier.wait();
                    drop(guard);
                    barrier.wait();
                });
            }
            barrier.wait();
            barrier.wait();
            assert!(!can_exclude(&epoch), "all are pinned");
            barrier.wait();
            barrier.wait();
        });
        assert!(can_exclude(&epoch), "all have unpinned");
    }
}
