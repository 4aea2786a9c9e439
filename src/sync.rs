//! The locks and atomics of what is checked under a scheduler.
//!
//! Built with `--cfg syncline_shuttle`, the same names stand for [shuttle]'s, so that its
//! scheduler explores the interleavings of the group flush and of the page versions.
//!
//! [shuttle]: https://docs.rs/shuttle

#[cfg(not(syncline_shuttle))]
pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard};
#[cfg(not(syncline_shuttle))]
pub(crate) use std::{sync::atomic, thread};

#[cfg(syncline_shuttle)]
pub(crate) use self::under_shuttle::{Condvar, Mutex, MutexGuard};
#[cfg(syncline_shuttle)]
pub(crate) use shuttle::{sync::atomic, thread};

#[cfg(syncline_shuttle)]
mod under_shuttle {
    //! parking_lot's interface over shuttle's locks.
    use std::time::{Duration, Instant};

    pub(crate) use shuttle::sync::MutexGuard;

    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Mutex(shuttle::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().expect("no thread panics with a lock")
        }

        pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            self.0.try_lock().ok()
        }
    }
}
