//! The background threads of the log: the preallocator and the flusher.
//!
//! Neither holds state that the log depends on: a simulated store runs without them and calls
//! [`Log::preallocate`] and [`Log::flush`] itself.
//!
//! The flusher bounds what an asynchronous commit can lose. Its states:
//!
//! ```text
//!             first append after all was durable
//!      Idle ------------------------------------> Timing
//!       ^   all durable           flush interval   |  |
//!       '----------------- flushes <---------------'  | a waiter asked, or
//!                             ^                       | half of max_unsynced_bytes is unsynced
//!                             '--------- Asked <------'
//! ```
//!
//! After a second without appends an idle flusher has the sync line noted once: then all of the log is
//! proved to have been durable, and its loss cannot go unnoticed. After that it sleeps without a timer.
//! Only the change from `Idle`, and the first change to `Asked`, cost the appender a system call.
//!
//! The flusher also calls the wakers of futures that any flush has answered. A waker may block, or close
//! the store. So the thread that stops the flusher waits until it has ended, or is in a waker
//! ([`FlusherStatus`]); in a waker it is detached (CALLBACK-3).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::appender::{Log, LogOptions};
use crate::engine::base::error::{Error, Result};
use crate::engine::base::foreign;
use crate::engine::base::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use crate::engine::base::sync::thread::{self, JoinHandle, Thread};
use crate::engine::base::sync::{Condvar, Deadline, Mutex};

/// After an error the preallocator retries after this time.
const PREALLOCATE_RETRY: Duration = Duration::from_millis(100);

/// After this time without appends the sync line is noted.
const IDLE_TIME: Duration = Duration::from_secs(1);
const IDLE_PARTS: u32 = 4;

/// No flusher: each waiter flushes.
const ABSENT: u8 = 0;
/// Everything was durable when the flusher last looked.
const IDLE: u8 = 1;
/// The flusher flushes at the end of the interval.
const TIMING: u8 = 2;
/// The flusher was asked to flush at once.
const ASKED: u8 = 3;

/// The flusher's state, and its thread.
#[derive(Debug, Default)]
pub(super) struct FlusherState {
    state: AtomicU8,
    thread: OnceLock<Thread>,
}

impl FlusherState {
    /// Tells the flusher of an append, which it should flush at once if `urgent`.
    #[inline]
    pub(super) fn note_append(&self, urgent: bool) {
        // The append was published before this load. The flusher looks at published appends after it
        // has stored `IDLE`. In the one total order of `SeqCst` one of the two sees the other.
        match self.state.load(Ordering::SeqCst) {
            IDLE if !urgent => self.change(IDLE, TIMING),
            IDLE | TIMING if urgent => {
                self.ask();
            }
            _ => {}
        }
    }

    /// Asks for a flush at once. Returns whether there is a flusher to ask.
    pub(super) fn ask(&self) -> bool {
        loop {
            match self.state.load(Ordering::SeqCst) {
                ABSENT => return false,
                ASKED => return true,
                state => self.change(state, ASKED),
            }
        }
    }

    /// Whether there is no flusher.
    pub(super) fn is_absent(&self) -> bool {
        self.state.load(Ordering::SeqCst) == ABSENT
    }

    /// Lets the flusher, if there is one, look for wakers to call.
    pub(super) fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    #[cold]
    fn change(&self, from: u8, to: u8) {
        if self.state.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst).is_ok()
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }
}

/// The phases of the flusher.
///
/// ```text
///             calls wakers               is stopped meanwhile
///   Running --------------> InCallback -----------------------> Detached
///     |     <--------------
///     |        they return
///     '--(is stopped, or the log is poisoned)--> Ended
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Running,
    /// In a waker, which is foreign code.
    InCallback,
    /// In a waker, and touches nothing of the log after it.
    Detached,
    /// Touches nothing of the log any more.
    Ended,
}

/// The flusher's phase, for the thread that stops it.
#[derive(Debug, Default)]
struct FlusherStatus {
    phase: Mutex<Phase>,
    changed: Condvar,
}

impl FlusherStatus {
    fn set(&self, to: Phase) {
        *self.phase.lock() = to;
        self.changed.notify_all();
    }

    /// Leaves the phase `InCallback`; false if the flusher was detached.
    fn end_callback(&self) -> bool {
        let mut phase = self.phase.lock();
        if *phase == Phase::InCallback {
            *phase = Phase::Running;
        }
        *phase == Phase::Running
    }

    /// Waits until the flusher touches nothing of the log any more. Returns whether its thread ends soon.
    fn stop(&self) -> bool {
        let mut phase = self.phase.lock();
        while *phase == Phase::Running {
            self.changed.wait(&mut phase);
        }
        if *phase == Phase::InCallback {
            *phase = Phase::Detached;
        }
        *phase == Phase::Ended
    }
}

/// Sets the phase `Ended` when dropped, also by a panic.
struct EndGuard<'a>(&'a FlusherStatus);

impl Drop for EndGuard<'_> {
    fn drop(&mut self) {
        if *self.0.phase.lock() != Phase::Detached {
            self.0.set(Phase::Ended);
        }
    }
}

/// The running threads. They end when this is dropped, after a last flush.
#[derive(Debug)]
pub(crate) struct LogThreads {
    log: Arc<Log>,
    stop: Arc<AtomicBool>,
    flusher: Option<JoinHandle<()>>,
    preallocator: Option<JoinHandle<()>>,
    status: Arc<FlusherStatus>,
}

impl Log {
    /// Starts the background threads. To be called once per log.
    ///
    /// # Errors
    /// The operating system starts no thread. The log works without, but `spawn` must not be called again.
    pub(crate) fn spawn(self: &Arc<Self>) -> Result<LogThreads> {
        let mut threads = LogThreads {
            log: Arc::clone(self),
            stop: Arc::new(AtomicBool::new(false)),
            flusher: None,
            preallocator: None,
            status: Arc::default(),
        };
        let before = self.flusher.state.swap(IDLE, Ordering::SeqCst);
        assert_eq!(before, ABSENT, "the threads of a log are started once");
        let status = Arc::clone(&threads.status);
        let flush = move |log: &Log, stop: &AtomicBool| {
            let _guard = EndGuard(&status);
            run_flusher(log, stop, &status);
        };
        let flusher = threads.flusher.insert(threads.start("syncline-flush", flush)?);
        self.flusher.thread.set(flusher.thread().clone()).expect("started once");
        // The state may have changed when there was no thread to wake.
        flusher.thread().unpark();
        let preallocator =
            threads.preallocator.insert(threads.start("syncline-keep", run_preallocator)?);
        self.preallocator_wake.set_thread(preallocator.thread().clone());
        Ok(threads)
    }
}

impl LogThreads {
    fn start(
        &self,
        name: &str,
        run: impl FnOnce(&Log, &AtomicBool) + Send + 'static,
    ) -> Result<JoinHandle<()>> {
        let (log, stop) = (Arc::clone(&self.log), Arc::clone(&self.stop));
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || run(&log, &stop))
            .map_err(|error| Error::io("start a thread", name, 0, error))
    }
}

impl Drop for LogThreads {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let (preallocator, flusher) = (self.preallocator.take(), self.flusher.take());
        preallocator.iter().chain(&flusher).for_each(|handle| handle.thread().unpark());
        let gone = flusher.filter(|_| self.status.stop());
        for handle in preallocator.into_iter().chain(gone) {
            // The logger may drop the last handle of a store.
            let is_this = handle.thread().id() == thread::current().id();
            if !is_this && handle.join().is_err() {
                foreign::error!("a background thread of the log panicked");
            }
        }
        // From now on no waiter asks the flusher. The last flush comes after that, and answers all that
        // have asked; the thread that closes the store calls their wakers.
        self.log.flusher.state.store(ABSENT, Ordering::SeqCst);
        let _ = self.log.flush_quietly();
    }
}

fn run_flusher(log: &Log, stop: &AtomicBool, status: &FlusherStatus) {
    let state = &log.flusher.state;
    let stops = || stop.load(Ordering::SeqCst) || log.is_poisoned();
    let (mut noted, mut idle_parts) = (log.durable.load(), 0);
    while !stops() {
        // 1. Wakers of answered futures.
        if !call_wakers(log, status) {
            return; // detached
        }
        // 2. Sleep until something is appended. If the state is not `TIMING`, a waiter has asked
        //    meanwhile.
        let _ = state.compare_exchange(TIMING, IDLE, Ordering::SeqCst, Ordering::SeqCst);
        if log.appended.load() == log.durable.load() && state.load(Ordering::SeqCst) == IDLE {
            let is_noted = log.registry.get().is_none() || noted == log.durable.load();
            if stops() {
                continue;
            } else if is_noted {
                thread::park();
            } else if idle_parts < IDLE_PARTS {
                // In parts: an unrelated unpark may cut one short.
                idle_parts += 1;
                crate::engine::base::sync::park_timeout(IDLE_TIME / IDLE_PARTS);
            } else {
                (noted, idle_parts) = (log.durable.load(), 0);
                if let Err(error) = log.note_sync_line() {
                    foreign::error!("the sync line of the log could not be noted: {error}");
                }
            }
            continue;
        }
        idle_parts = 0;
        let _ = state.compare_exchange(IDLE, TIMING, Ordering::SeqCst, Ordering::SeqCst);
        // 3. Wait for the interval, or until asked.
        let deadline = flush_by(&log.options);
        while state.load(Ordering::SeqCst) == TIMING && !stops() {
            let Some(rest) = deadline.remaining() else { break };
            crate::engine::base::sync::park_timeout(rest);
            if !call_wakers(log, status) {
                return;
            }
        }
        // 4. Flush. A request from here on is not covered by it.
        state.swap(TIMING, Ordering::SeqCst);
        if let Err(error) = flush_once(log) {
            foreign::error!("the log's flusher ends: {error}");
        }
    }
    // The last flush covers every request before this; no request can follow it.
    state.swap(ABSENT, Ordering::SeqCst);
    let _ = flush_once(log);
    call_wakers(log, status);
}

/// When an append of this moment is flushed at the latest.
fn flush_by(options: &LogOptions) -> Deadline {
    Deadline::after(options.flush_interval)
}

/// Flushes. The flusher does not end silently: a panic poisons the log.
fn flush_once(log: &Log) -> Result<()> {
    let panic = match catch_unwind(AssertUnwindSafe(|| log.flush_quietly())) {
        Ok(flushed) => return flushed.map(|_| ()),
        Err(panic) => panic,
    };
    let message = format!("the flusher panicked: {}", foreign::message(&*panic));
    foreign::discard(panic);
    log.poison(Error::io("flush", "the log", 0, std::io::Error::other(message)));
    log.check_poison()
}

/// Calls the wakers of answered futures. False if the flusher was detached meanwhile.
fn call_wakers(log: &Log, status: &FlusherStatus) -> bool {
    if !log.has_answered() {
        return true;
    }
    status.set(Phase::InCallback);
    log.deliver();
    status.end_callback()
}

fn run_preallocator(log: &Log, stop: &AtomicBool) {
    let mut failed = false;
    while !stop.load(Ordering::SeqCst) && !log.is_poisoned() {
        log.preallocator_wake.clear();
        match log.preallocate() {
            Ok(()) => failed = false,
            Err(error) => {
                if !failed {
                    foreign::warning!("the log's preallocator will retry: {error}");
                }
                failed = true;
            }
        }
        if failed {
            crate::engine::base::sync::park_timeout(PREALLOCATE_RETRY);
        } else if !log.preallocator_wake.is_set() && !stop.load(Ordering::SeqCst) {
            thread::park();
        }
    }
}

#[cfg(test)]
#[cfg(not(syncline_shuttle))]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::engine::base::lsn::{Incarnation, Life, Lsn, StoreId};
    use crate::engine::disk::SimDisk;
    use crate::engine::log::LogRegistry;

    fn after(state: u8, act: impl FnOnce(&FlusherState)) -> u8 {
        let flusher = FlusherState::default();
        flusher.state.store(state, Ordering::SeqCst);
        act(&flusher);
        flusher.state.load(Ordering::SeqCst)
    }

    /// The picture in the header.
    #[test]
    fn flusher_changes_state_as_pictured() {
        for (from, calm, urgent) in [
            (ABSENT, ABSENT, ABSENT),
            (IDLE, TIMING, ASKED),
            (TIMING, TIMING, ASKED),
            (ASKED, ASKED, ASKED),
        ] {
            assert_eq!(after(from, |flusher| flusher.note_append(false)), calm, "from {from}");
            assert_eq!(after(from, |flusher| flusher.note_append(true)), urgent, "from {from}");
            let asked = after(from, |flusher| assert_eq!(flusher.ask(), from != ABSENT));
            assert_eq!(asked, if from == ABSENT { ABSENT } else { ASKED }, "from {from}");
        }
    }

    /// Checks the deadline that is set, not a clock.
    #[test]
    fn a_flush_is_due_after_the_interval_at_the_latest_which_is_10_ms() {
        let default = LogOptions::default();
        assert_eq!(default.flush_interval, Duration::from_millis(10));
        assert_eq!(crate::engine::options::Options::new().flush_interval, default.flush_interval);
        for millis in [0, 10, 3_600_000] {
            let flush_interval = Duration::from_millis(millis);
            let by = flush_by(&LogOptions { flush_interval, ..default.clone() });
            assert!(by.remaining().is_none_or(|rest| rest <= flush_interval), "{millis}");
        }
    }

    /// Remembers the last sync line that was noted.
    #[derive(Debug, Default)]
    struct Notes(crate::engine::base::sync::atomic::AtomicU64);

    impl LogRegistry for Notes {
        fn note_log(
            &self,
            _: &Life,
            _: u64,
            durable: Lsn,
        ) -> crate::engine::base::error::Result<()> {
            self.0.store(durable.get(), Ordering::SeqCst);
            Ok(())
        }

        fn check_named(&self) -> crate::engine::base::error::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_idle_log_notes_its_sync_line() {
        let life = Life::of_version_1(StoreId([7; 16]), Incarnation::new(1));
        let options = LogOptions { segment_bytes: 64 << 10, ..LogOptions::default() };
        let disk = Arc::new(SimDisk::new());
        let (log, mut appender) = Log::begin(disk, options, life, 2, &[]).unwrap();
        let (log, notes) = (Arc::new(log), Arc::new(Notes::default()));
        log.set_registry(Arc::clone(&notes) as _);
        let _threads = log.spawn().unwrap();
        log.reserve(10).unwrap();
        let end = log.append(&mut appender, 1, &[7; 10], crc32fast::hash(&[7; 10])).unwrap();
        log.publish(end);
        let before = Instant::now();
        while notes.0.load(Ordering::SeqCst) < end.get() {
            assert!(before.elapsed() < Duration::from_secs(60), "the sync line is not noted");
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn the_threads_of_a_poisoned_log_end() {
        let (log, _appender) = Log::begin(
            Arc::new(SimDisk::new()),
            LogOptions { segment_bytes: 64 << 10, ..LogOptions::default() },
            Life::of_version_1(StoreId([7; 16]), Incarnation::new(1)),
            2,
            &[],
        )
        .unwrap();
        let log = Arc::new(log);
        let threads = log.spawn().unwrap();
        assert!(log.flusher.ask(), "there is a flusher to ask");
        log.poison(Error::Closed);
        let before = Instant::now();
        let handles = || threads.flusher.iter().chain(&threads.preallocator);
        while !handles().all(|handle| handle.is_finished()) {
            handles().for_each(|handle| handle.thread().unpark());
            assert!(before.elapsed() < Duration::from_secs(5), "the threads go on");
            thread::sleep(Duration::from_millis(1));
        }
        assert!(!log.flusher.ask(), "the flusher has ended");
    }
}
