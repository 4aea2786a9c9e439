//! The background threads of the log: the keeper and the flusher.
//!
//! Neither holds any state that the log depends on: a simulated store runs without them and calls
//! [`Log::keep`] and [`Log::flush`] by hand.
//!
//! The flusher bounds what an asynchronous commit can lose. Its states:
//!
//! ```text
//!             first append after all was durable
//!      Idle ------------------------------------> Timing
//!       ^   all durable           flush interval   |  |
//!       '----------------- flushes <---------------'  | asked by somebody who waits, or
//!                             ^                       | half of max_unsynced_bytes is unsynced
//!                             '--------- Asked <------'
//! ```
//!
//! An idle flusher sleeps without a timer. Only the change from `Idle`, and the first one to
//! `Asked`, cost the appender a system call.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::appender::Log;
use crate::error::{Error, Result};
use crate::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use crate::sync::thread::{self, JoinHandle, Thread};

/// The keeper tries again after this time if something stood in its way.
const KEEPER_RETRY: Duration = Duration::from_millis(100);

/// No flusher: whoever waits flushes.
const ABSENT: u8 = 0;
/// All was durable when the flusher looked.
const IDLE: u8 = 1;
/// The flusher will flush when the interval is over.
const TIMING: u8 = 2;
/// The flusher shall flush at once.
const ASKED: u8 = 3;

/// What the flusher is about to do.
#[derive(Debug, Default)]
pub(super) struct FlusherState {
    state: AtomicU8,
    thread: OnceLock<Thread>,
}

impl FlusherState {
    /// Something has been appended, so much that it should be flushed at once if `urgent`.
    #[inline]
    pub(super) fn note_append(&self, urgent: bool) {
        // The append was published before this load, and the flusher looks at what is published
        // after it has stored `IDLE`, both in the one total order of `SeqCst`. So one of the two
        // sees the other.
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

    #[cold]
    fn change(&self, from: u8, to: u8) {
        if self.state.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst).is_ok()
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }
}

/// The running threads. They end when this is dropped, after a last flush.
#[derive(Debug)]
pub(crate) struct LogThreads {
    log: Arc<Log>,
    stop: Arc<AtomicBool>,
    handles: Vec<JoinHandle<()>>,
}

impl Log {
    /// Starts the background threads. To be called once for each log.
    ///
    /// # Errors
    /// The operating system starts no thread. The log works without, but must not be spawned
    /// again.
    pub(crate) fn spawn(self: &Arc<Self>) -> Result<LogThreads> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = LogThreads { log: Arc::clone(self), stop, handles: Vec::new() };
        let before = self.flusher.state.swap(IDLE, Ordering::SeqCst);
        assert_eq!(before, ABSENT, "the threads of a log are started once");
        let flusher = threads.start("syncline-flush", run_flusher)?;
        self.flusher.thread.set(flusher.clone()).expect("started once");
        // Whoever changed the state before had nobody to wake.
        flusher.unpark();
        let keeper = threads.start("syncline-keep", run_keeper)?;
        self.keeper_bell.hang(keeper);
        Ok(threads)
    }
}

impl LogThreads {
    fn start(&mut self, name: &str, run: fn(&Log, &AtomicBool)) -> Result<Thread> {
        let (log, stop) = (Arc::clone(&self.log), Arc::clone(&self.stop));
        let handle = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || run(&log, &stop))
            .map_err(|error| Error::io("start a thread", name, 0, error))?;
        let thread = handle.thread().clone();
        self.handles.push(handle);
        Ok(thread)
    }
}

impl Drop for LogThreads {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for handle in self.handles.drain(..) {
            handle.thread().unpark();
            if handle.join().is_err() {
                log::error!("a background thread of the log panicked");
            }
        }
        // Also after a panic there is nobody to ask any more.
        self.log.flusher.state.store(ABSENT, Ordering::SeqCst);
    }
}

fn run_flusher(log: &Log, stop: &AtomicBool) {
    let state = &log.flusher.state;
    while !stop.load(Ordering::SeqCst) && !log.is_poisoned() {
        // 1. Without a timer until something is appended. If the state is not `TIMING`, somebody
        //    has asked meanwhile.
        let _ = state.compare_exchange(TIMING, IDLE, Ordering::SeqCst, Ordering::SeqCst);
        if log.appended.load() == log.durable.load() && state.load(Ordering::SeqCst) == IDLE {
            thread::park();
            continue;
        }
        let _ = state.compare_exchange(IDLE, TIMING, Ordering::SeqCst, Ordering::SeqCst);
        // 2. For the interval, or until asked. Waking early does no harm.
        if state.load(Ordering::SeqCst) == TIMING && !stop.load(Ordering::SeqCst) {
            crate::sync::park_timeout(log.options.flush_interval);
        }
        // 3. What is asked for from here on is not covered by this flush.
        state.swap(TIMING, Ordering::SeqCst);
        if let Err(error) = log.flush() {
            log::error!("the log's flusher ends: {error}");
        }
    }
    // Whoever asked before this is covered by the last flush, and nobody can ask after it.
    state.swap(ABSENT, Ordering::SeqCst);
    let _ = log.flush();
}

fn run_keeper(log: &Log, stop: &AtomicBool) {
    let mut failed = false;
    while !stop.load(Ordering::SeqCst) && !log.is_poisoned() {
        log.keeper_bell.answer();
        match log.keep() {
            Ok(()) => failed = false,
            Err(error) => {
                if !failed {
                    log::warn!("the log's keeper will try again: {error}");
                }
                failed = true;
            }
        }
        if failed {
            crate::sync::park_timeout(KEEPER_RETRY);
        } else if !log.keeper_bell.is_rung() && !stop.load(Ordering::SeqCst) {
            thread::park();
        }
    }
}

#[cfg(test)]
#[cfg(not(syncline_shuttle))]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::disk::SimDisk;
    use crate::log::LogOptions;
    use crate::lsn::{Incarnation, StoreId};

    fn after(state: u8, act: impl FnOnce(&FlusherState)) -> u8 {
        let flusher = FlusherState::default();
        flusher.state.store(state, Ordering::SeqCst);
        act(&flusher);
        flusher.state.load(Ordering::SeqCst)
    }

    /// The picture in the header.
    #[test]
    fn the_states_of_the_flusher() {
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

    #[test]
    fn the_threads_of_a_poisoned_log_end() {
        let (log, _appender) = Log::begin(
            Arc::new(SimDisk::new()),
            LogOptions { segment_bytes: 64 << 10, ..LogOptions::default() },
            StoreId([7; 16]),
            Incarnation::new(1),
            2,
            &[],
        )
        .unwrap();
        let log = Arc::new(log);
        let threads = log.spawn().unwrap();
        assert!(log.flusher.ask(), "there is somebody to ask");
        log.poison(Error::Closed);
        let before = Instant::now();
        while !threads.handles.iter().all(|handle| handle.is_finished()) {
            threads.handles.iter().for_each(|handle| handle.thread().unpark());
            assert!(before.elapsed() < Duration::from_secs(5), "they go on");
            thread::sleep(Duration::from_millis(1));
        }
        assert!(!log.flusher.ask(), "whoever waits is on its own");
    }
}
