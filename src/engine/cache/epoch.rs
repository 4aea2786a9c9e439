//! Epochs: readers pin one, and what was retired is freed once nobody who could see it is pinned.
//!
//! The scheme and its implementation are crossbeam-epoch's (Fraser, "Practical lock-freedom",
//! 2004). Each store has a collector of its own, so that a reader of one store never delays
//! another, and so that a simulated run depends on nothing outside it.
//!
//! Beside that, a writer can find out that nobody is pinned, and keep it so for a moment
//! ([`Epoch::exclude`]): then it may change what otherwise nobody may. Each thread has a place
//! where it notes that it is pinned; the writer raises a flag, and then looks at all places:
//!
//! ```text
//!   reader   place = 1;    barrier;  flag?    raised: place = 0, wait, begin anew
//!   writer   flag = true;  barrier;  places?  one is not 0: flag = false, no exclusion
//! ```
//!
//! With a full barrier on both sides at least one sees the other (Dekker). The reader's is the one
//! that crossbeam's `pin` has anyway: what a thread notes there must be seen before whatever it
//! reads afterwards, or no epoch would be safe. A second one was 3 % of a get.
//!
//! Invariant:
//!
//! - EPOCH-1 A thread that is [`Alone`] keeps the guard that it had, and pins nothing anew: the flag that
//!   it would wait for is its own. It panics instead.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64 as Numbers;

use crossbeam_epoch::{Collector, LocalHandle};

use crate::engine::base::sync::Mutex;
use crate::engine::base::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

/// Handles of more stores than this in one thread are made anew at each change.
const HANDLES: usize = 8;
/// So many threads have a place of their own, of 128 bytes; all others share the last one.
const PLACES: usize = 512;
const SHARED: usize = PLACES - 1;
/// The place of nobody.
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

/// What a thread has of a store.
struct Local {
    number: u64,
    handle: LocalHandle,
    place: usize,
    places: Arc<Places>,
}

impl Drop for Local {
    fn drop(&mut self) {
        if self.place != SHARED {
            self.places.give_back(self.place);
        }
    }
}

/// Who is pinned, and whether nobody may be.
struct Places {
    flag: Flag,
    /// The place of the thread that raised the flag.
    alone: AtomicUsize,
    /// Somebody had to wait until the flag was down.
    has_waited: AtomicBool,
    /// Those from here on are nobody's. Changed with `taking` held.
    used: AtomicUsize,
    taking: Mutex<()>,
    all: Box<[Place]>,
}

#[repr(align(128))]
struct Flag(AtomicBool);

#[derive(Default)]
#[repr(align(128))]
struct Place {
    /// How many guards its thread has. Changed by that thread alone, but for the shared place.
    pins: AtomicUsize,
    is_taken: AtomicBool,
}

/// The epochs of one store.
pub(crate) struct Epoch {
    collector: Collector,
    number: u64,
    places: Arc<Places>,
}

/// While a thread holds one, nothing that it can still find is freed. Hold it briefly, and never
/// while waiting for a device.
pub(crate) struct Guard<'e> {
    inner: crossbeam_epoch::Guard,
    pin: Pin<'e>,
}

/// Nobody but this thread is pinned, or comes to be, until this is dropped.
#[derive(Debug)]
pub(crate) struct Alone<'e>(&'e Epoch);

/// A pin that is noted in its thread's place.
struct Pin<'e> {
    places: &'e Places,
    place: usize,
    /// Whether its thread had no other.
    is_first: bool,
}

impl Epoch {
    pub(crate) fn new() -> Self {
        let places = Places {
            flag: Flag(AtomicBool::new(false)),
            alone: AtomicUsize::new(NOBODY),
            has_waited: AtomicBool::new(false),
            used: AtomicUsize::new(0),
            taking: Mutex::new(()),
            all: (0..PLACES).map(|_| Place::default()).collect(),
        };
        Epoch {
            collector: Collector::new(),
            number: NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
            places: Arc::new(places),
        }
    }

    /// Pins the current epoch. Waits for a moment if somebody is [`Alone`].
    ///
    /// # Panics
    /// The thread itself is, and has let go of its guard: it would wait for itself for ever.
    #[inline]
    pub(crate) fn pin(&self) -> Guard<'_> {
        let pinned = self.with_local(|local| self.pin_with(&local.handle, local.place));
        pinned.unwrap_or_else(|_| self.pin_at_the_end())
    }

    #[inline]
    fn pin_with(&self, handle: &LocalHandle, place: usize) -> Guard<'_> {
        let pin = self.places.note(place);
        let inner = handle.pin();
        // Nested in another pin of its thread it has had no barrier and needs none.
        if pin.is_first && self.places.is_closed() {
            pin.wait();
        }
        Guard { inner, pin }
    }

    /// For a thread that is ending and has nothing of its own any more: a destructor may read, and
    /// close the store. The guard keeps its handle.
    #[cold]
    fn pin_at_the_end(&self) -> Guard<'_> {
        self.places.used.fetch_max(SHARED + 1, Ordering::SeqCst);
        self.pin_with(&self.collector.register(), SHARED)
    }

    /// Whether somebody had to wait since this was asked last, because the caller was [`Alone`].
    pub(crate) fn has_kept_waiting(&self) -> bool {
        let has_waited = &self.places.has_waited;
        has_waited.load(Ordering::Relaxed) && has_waited.swap(false, Ordering::Relaxed)
    }

    /// Keeps everybody else from pinning, if nobody else is pinned. The caller is, holds the lock
    /// that makes it the only one who calls this, and keeps this for a fraction of a millisecond.
    pub(crate) fn exclude(&self, guard: &Guard<'_>) -> Option<Alone<'_>> {
        let places = &*self.places;
        let mine = guard.pin.place;
        if mine == SHARED || places.all[mine].pins.load(Ordering::Relaxed) != 1 {
            return None;
        }
        assert!(!places.flag.0.load(Ordering::Relaxed), "only one is alone");
        places.alone.store(mine, Ordering::Relaxed);
        places.flag.0.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let alone = Alone(self);
        let used = places.used.load(Ordering::Acquire);
        let mut others = places.all[..used].iter().enumerate().filter(|(at, _)| *at != mine);
        let is_free = |(_, place): (usize, &Place)| place.pins.load(Ordering::Acquire) == 0;
        others.all(is_free).then_some(alone)
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

    /// Finds or makes what this thread has, and moves it to the front.
    #[cold]
    fn find_local(&self, local: &mut Vec<Local>) {
        match local.iter().position(|local| local.number == self.number) {
            Some(at) => local.swap(0, at),
            None => {
                let places = Arc::clone(&self.places);
                let place = places.take();
                let (number, handle) = (self.number, self.collector.register());
                local.insert(0, Local { number, handle, place, places });
                local.truncate(HANDLES);
            }
        }
    }
}

impl Place {
    /// Whether it is nobody's. With `taking` held.
    fn is_free(&self) -> bool {
        self.pins.load(Ordering::SeqCst) == 0 && !self.is_taken.load(Ordering::Relaxed)
    }
}

impl Places {
    /// A place for a thread.
    fn take(&self) -> usize {
        let _turn = self.taking.lock();
        let place = self.all[..SHARED].iter().position(Place::is_free).unwrap_or(SHARED);
        self.all[place].is_taken.store(true, Ordering::Relaxed);
        // Before the first pin: a writer that does not look there has raised the flag before.
        self.used.fetch_max(place + 1, Ordering::SeqCst);
        place
    }

    /// Gives a place back. Guards that are left still count in it: nobody takes it until they are gone.
    fn give_back(&self, place: usize) {
        let _turn = self.taking.lock();
        self.all[place].is_taken.store(false, Ordering::Relaxed);
        // A writer need not look at those behind the last that is somebody's.
        let used = self.used.load(Ordering::Relaxed);
        if used <= SHARED {
            let last = self.all[..used].iter().rposition(|place| !place.is_free());
            self.used.store(last.map_or(0, |last| last + 1), Ordering::SeqCst);
        }
    }

    /// Notes a pin. It counts after a full barrier, and if the flag is not raised then.
    #[inline]
    fn note(&self, place: usize) -> Pin<'_> {
        let pins = &self.all[place].pins;
        let before = if place == SHARED {
            pins.fetch_add(1, Ordering::SeqCst);
            0 // of this thread's pins, for all that is known
        } else {
            let before = pins.load(Ordering::Relaxed);
            pins.store(before + 1, Ordering::Relaxed);
            before
        };
        Pin { places: self, place, is_first: before == 0 }
    }

    #[inline]
    fn is_closed(&self) -> bool {
        self.flag.0.load(Ordering::Acquire)
    }
}

impl Pin<'_> {
    /// Steps back until the flag is down.
    #[cold]
    fn wait(&self) {
        let pins = &self.places.all[self.place].pins;
        // Its own thread's store, or a later one: nobody else's names this place.
        let is_alone = self.places.alone.load(Ordering::Relaxed) == self.place;
        assert!(!is_alone, "EPOCH-1: a thread that keeps all others from pinning pins anew");
        self.places.has_waited.store(true, Ordering::Relaxed);
        while self.places.is_closed() {
            pins.fetch_sub(1, Ordering::SeqCst);
            let mut spins = 0;
            while self.places.is_closed() {
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
    /// Calls `act` once nobody is pinned who is now.
    pub(crate) fn defer(&self, act: impl FnOnce() + Send + 'static) {
        self.inner.defer(act);
    }

    /// Moves the epoch on if possible, and does what was deferred long enough.
    pub(crate) fn flush(&self) {
        self.inner.flush();
    }
}

impl Drop for Pin<'_> {
    #[inline]
    fn drop(&mut self) {
        let pins = &self.places.all[self.place].pins;
        if self.place == SHARED {
            pins.fetch_sub(1, Ordering::Release);
        } else {
            pins.store(pins.load(Ordering::Relaxed) - 1, Ordering::Release);
        }
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.0.places.alone.store(NOBODY, Ordering::Relaxed);
        self.0.places.flag.0.store(false, Ordering::Release);
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Epoch").field("number", &self.number).finish_non_exhaustive()
    }
}

impl fmt::Debug for Guard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("place", &self.pin.place).finish_non_exhaustive()
    }
}

impl Drop for Epoch {
    /// Whoever opens and drops many stores in one thread, as a simulation does, keeps the handle
    /// to the one that stays: when what it retired is freed depends on that one alone.
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

    /// On real processors, whose barriers no scheduler of a test knows: with the flag looked at
    /// before the barrier this fails at once.
    #[test]
    fn who_is_alone_meets_nobody() {
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
                if let Some(alone) = epoch.exclude(&guard) {
                    inside.store(1, Ordering::Relaxed);
                    std::hint::black_box(&inside);
                    inside.store(0, Ordering::Relaxed);
                    drop(alone);
                    times += 1;
                }
            }
            done.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    #[should_panic(expected = "EPOCH-1: a thread that keeps all others from pinning pins anew")]
    fn a_thread_that_is_alone_cannot_wait_for_itself() {
        let epoch = Epoch::new();
        let guard = epoch.pin();
        let _alone = epoch.exclude(&guard).expect("nobody else is there");
        drop(guard);
        let _guard = epoch.pin();
    }

    #[test]
    fn places_of_threads_that_ended_are_not_looked_at() {
        let epoch = Epoch::new();
        drop(epoch.pin());
        let barrier = std::sync::Barrier::new(200);
        std::thread::scope(|scope| {
            for _ in 0..200 {
                scope.spawn(|| {
                    drop(epoch.pin());
                    barrier.wait();
                    let places: usize = LOCAL.with(|local| local.borrow()[0].place);
                    assert!(places != SHARED, "a place of its own");
                });
            }
        });
        // The destructors of a thread's own values may run after the scope has ended.
        while epoch.places.used.load(Ordering::SeqCst) > 1 {
            std::thread::yield_now();
        }
        assert!(epoch.exclude(&epoch.pin()).is_some());
    }

    #[test]
    fn threads_share_the_last_place_when_there_are_many() {
        let epoch = Epoch::new();
        let alone = |epoch: &Epoch| epoch.exclude(&epoch.pin()).is_some();
        assert!(alone(&epoch));
        let barrier = std::sync::Barrier::new(PLACES + 1);
        std::thread::scope(|scope| {
            for _ in 0..PLACES {
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
            assert!(!alone(&epoch), "all are pinned");
            barrier.wait();
            barrier.wait();
        });
        assert!(alone(&epoch), "all have gone");
    }
}
