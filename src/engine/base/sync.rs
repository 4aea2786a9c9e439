//! The locks and atomics of the code that is tested under shuttle.
//!
//! With `--cfg syncline_shuttle` these names are [shuttle]'s types, so that its scheduler explores the
//! interleavings of the group flush and of the page versions.
//!
//! [shuttle]: https://docs.rs/shuttle

#[cfg(not(syncline_shuttle))]
pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard};
#[cfg(not(syncline_shuttle))]
pub(crate) use std::{sync::atomic, thread, thread::park_timeout};

#[cfg(not(syncline_shuttle))]
pub(crate) use self::real_time::{Deadline, Stopwatch};

#[cfg(syncline_shuttle)]
pub(crate) use self::under_shuttle::{
    Condvar, Deadline, Mutex, MutexGuard, Stopwatch, park_timeout,
};
#[cfg(syncline_shuttle)]
pub(crate) use shuttle::{sync::atomic, thread};

/// Lets the scheduler switch threads at an atomic that it does not know: one in mapped memory.
#[inline(always)]
pub(crate) fn step() {
    #[cfg(syncline_shuttle)]
    shuttle::sync::atomic::AtomicBool::new(false).load(atomic::Ordering::SeqCst);
}

#[cfg(not(syncline_shuttle))]
mod real_time {
    use std::time::{Duration, Instant};

    /// The time at which a wait ends.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Deadline(Option<Instant>);

    impl Deadline {
        /// A timeout too long to be added to the clock never ends.
        pub(crate) fn after(timeout: Duration) -> Self {
            Deadline(Instant::now().checked_add(timeout))
        }

        /// The time until the deadline, or `None` once it has passed.
        pub(crate) fn remaining(&self) -> Option<Duration> {
            let Some(at) = self.0 else { return Some(Duration::MAX) };
            at.checked_duration_since(Instant::now()).filter(|rest| !rest.is_zero())
        }
    }

    /// Measures a duration.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Stopwatch(Instant);

    impl Stopwatch {
        pub(crate) fn start() -> Self {
            Stopwatch(Instant::now())
        }

        pub(crate) fn elapsed(self) -> Duration {
            self.0.elapsed()
        }
    }
}

#[cfg(syncline_shuttle)]
mod under_shuttle {
    //! parking_lot's interface over shuttle's locks. There is no clock: a timeout has passed as soon
    //! as the scheduler runs its thread again.
    use std::cell::Cell;
    use std::ops::{Deref, DerefMut};
    use std::time::Duration;

    /// The inner guard is `None` only while a condition variable has it.
    pub(crate) struct MutexGuard<'a, T>(Option<shuttle::sync::MutexGuard<'a, T>>);

    impl<T> Deref for MutexGuard<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            self.0.as_ref().expect("no thread uses a guard while it waits")
        }
    }

    impl<T> DerefMut for MutexGuard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            self.0.as_mut().expect("no thread uses a guard while it waits")
        }
    }

    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Mutex(shuttle::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            MutexGuard(Some(self.0.lock().expect("no thread panics with a lock")))
        }

        pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            self.0.try_lock().ok().map(|guard| MutexGuard(Some(guard)))
        }
    }

    #[derive(Debug, Default)]
    pub(crate) struct Condvar(shuttle::sync::Condvar);

    impl Condvar {
        pub(crate) fn new() -> Self {
            Self::default()
        }

        pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
            let inner = guard.0.take().expect("no thread uses a guard while it waits");
            guard.0 = Some(self.0.wait(inner).expect("no thread panics with a lock"));
        }

        pub(crate) fn notify_one(&self) {
            self.0.notify_one();
        }

        pub(crate) fn notify_all(&self) {
            self.0.notify_all();
        }
    }

    /// Every duration is zero.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Stopwatch;

    impl Stopwatch {
        pub(crate) fn start() -> Self {
            Stopwatch
        }

        pub(crate) fn elapsed(self) -> Duration {
            Duration::ZERO
        }
    }

    /// A deadline that has passed once a thread has waited for it.
    #[derive(Debug)]
    pub(crate) struct Deadline(Cell<bool>);

    impl Deadline {
        pub(crate) fn after(_timeout: Duration) -> Self {
            Deadline(Cell::new(false))
        }

        pub(crate) fn remaining(&self) -> Option<Duration> {
            (!self.0.replace(true)).then_some(Duration::ZERO)
        }
    }

    pub(crate) fn park_timeout(_timeout: Duration) {
        shuttle::thread::yield_now();
    }
}
