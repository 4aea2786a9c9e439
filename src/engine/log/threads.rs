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
//! An idle flusher has it written down once where the sync line is, after a second: what is proved to
//! have been durable is then all of the log, and its loss cannot go unnoticed. Then it sleeps
//! without a timer. Only the change from `Idle`, and the first one to
//! `Asked`, cost the appender a system call.
//!
//! The flusher also calls the wakers of those whom a flush, its own or another's, has answered. They
//! may block, or close the store. So whoever stops the threads waits until the flusher is done with
//! the log or is away, calling one ([`Whereabouts`]); the latter is left behind (CALLBACK-3).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::appender::{Log, LogOptions};
use crate::engine::base::error::{Error, Result};
use crate::engine::base::foreign;
use crate::engine::base::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use crate::engine::base::sync::thread::{self, JoinHandle, Thread};
use crate::engine::base::sync::{Condvar, Deadline, Mutex};

/// The keeper tries again after this time if something stood in its way.
const KEEPER_RETRY: Duration = Duration::from_millis(100);

/// Once nothing has been appended for this time, it is written down what is durable.
const IDLE_TIME: Duration = Duration::from_secs(1);
const IDLE_PARTS: u32 = 4;

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

    /// Whether there is no flusher.
    pub(super) fn is_absent(&self) -> bool {
        self.state.load(Ordering::SeqCst) == ABSENT
    }

    /// Lets the flusher look for wakers to be called, if there is one.
    pub(super) fn rouse(&self) {
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

/// Where the flusher is.
///
/// ```text
///            calls wakers          is stopped meanwhile
///   AtWork --------------> Away -----------------------> Dismissed
///     |   <--------------
///     |    comes back
///     '--(is stopped, or the log is poisoned)--> Gone
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Where {
    #[default]
    AtWork,
    /// In code that is not ours.
    Away,
    /// The same, and it touches nothing of the log any more.
    Dismissed,
    /// It touches nothing of the log any more.
    Gone,
}

/// Tells where the flusher is to whoever stops it.
#[derive(Debug, Default)]
struct Whereabouts {
    at: Mutex<Where>,
    moved: Condvar,
}

impl Whereabouts {
    fn go(&self, to: Where) {
        *self.at.lock() = to;
        self.moved.notify_all();
    }

    /// Comes back from code that is not ours; false if it was dismissed.
    fn come_back(&self) -> bool {
        let mut at = self.at.lock();
        if *at == Where::Away {
            *at = Where::AtWork;
        }
        *at == Where::AtWork
    }

    /// Waits until it touches nothing of the log any more. Whether its thread ends soon.
    fn dismiss(&self) -> bool {
        let mut at = self.at.lock();
        while *at == Where::AtWork {
            self.moved.wait(&mut at);
        }
        if *at == Where::Away {
            *at = Where::Dismissed;
        }
        *at == Where::Gone
    }
}

/// The flusher, until it is gone, by a panic too.
struct Leaves<'a>(&'a Whereabouts);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        if *self.0.at.lock() != Where::Dismissed {
            self.0.go(Where::Gone);
        }
    }
}

/// The running threads. They end when this is dropped, after a last flush.
#[derive(Debug)]
pub(crate) struct LogThreads {
    log: Arc<Log>,
    stop: Arc<AtomicBool>,
    flusher: Option<JoinHandle<()>>,
    keeper: Option<JoinHandle<()>>,
    whereabouts: Arc<Whereabouts>,
}

impl Log {
    /// Starts the background threads. To be called once for each log.
    ///
    /// # Errors
    /// The operating system starts no thread. The log works without, but must not be spawned
    /// again.
    pub(crate) fn spawn(self: &Arc<Self>) -> Result<LogThreads> {
        let mut threads = LogThreads {
            log: Arc::clone(self),
            stop: Arc::new(AtomicBool::new(false)),
            flusher: None,
            keeper: None,
            whereabouts: Arc::default(),
        };
        let before = self.flusher.state.swap(IDLE, Ordering::SeqCst);
        assert_eq!(before, ABSENT, "the threads of a log are started once");
        let whereabouts = Arc::clone(&threads.whereabouts);
        let flush = move |log: &Log, stop: &AtomicBool| {
            let _leaves = Leaves(&whereabouts);
            run_flusher(log, stop, &whereabouts);
        };
        let flusher = threads.flusher.insert(threads.start("syncline-flush", flush)?);
        self.flusher.thread.set(flusher.thread().clone()).expect("started once");
        // Whoever changed the state before had nobody to wake.
        flusher.thread().unpark();
        let keeper = threads.keeper.insert(threads.start("syncline-keep", run_keeper)?);
        self.keeper_bell.hang(keeper.thread().clone());
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
        let (keeper, flusher) = (self.keeper.take(), self.flusher.take());
        keeper.iter().chain(&flusher).for_each(|handle| handle.thread().unpark());
        let gone = flusher.filter(|_| self.whereabouts.dismiss());
        for handle in keeper.into_iter().chain(gone) {
            // The logger may drop the last handle of a store.
            let is_this = handle.thread().id() == thread::current().id();
            if !is_this && handle.join().is_err() {
                foreign::error!("a background thread of the log panicked");
            }
        }
        // There is nobody to ask any more. Only after that the last flush, which answers all who
        // have asked; whoever closes the store calls their wakers.
        self.log.flusher.state.store(ABSENT, Ordering::SeqCst);
        let _ = self.log.flush_quietly();
    }
}

fn run_flusher(log: &Log, stop: &AtomicBool, whereabouts: &Whereabouts) {
    let state = &log.flusher.state;
    let stops = || stop.load(Ordering::SeqCst) || log.is_poisoned();
    let (mut noted, mut idle_parts) = (log.durable.load(), 0);
    while !stops() {
        // 1. Those whom a flush has answered.
        if !call_wakers(log, whereabouts) {
            return; // nothing of the log may be touched any more
        }
        // 2. Without a timer until something is appended. If the state is not `TIMING`, somebody
        //    has asked meanwhile.
        let _ = state.compare_exchange(TIMING, IDLE, Ordering::SeqCst, Ordering::SeqCst);
        if log.appended.load() == log.durable.load() && state.load(Ordering::SeqCst) == IDLE {
            let is_noted = log.witness.get().is_none() || noted == log.durable.load();
            if stops() {
                continue;
            } else if is_noted {
                thread::park();
            } else if idle_parts < IDLE_PARTS {
                // In parts: one may be cut short by an unpark that was meant for something else.
                idle_parts += 1;
                crate::engine::base::sync::park_timeout(IDLE_TIME / IDLE_PARTS);
            } else {
                (noted, idle_parts) = (log.durable.load(), 0);
                if let Err(error) = log.note_sync_line() {
                    foreign::error!("what is durable could not be noted: {error}");
                }
            }
            continue;
        }
        idle_parts = 0;
        let _ = state.compare_exchange(IDLE, TIMING, Ordering::SeqCst, Ordering::SeqCst);
        // 3. For the interval, or until asked.
        let deadline = flush_by(&log.options);
        while state.load(Ordering::SeqCst) == TIMING && !stops() {
            let Some(rest) = deadline.remaining() else { break };
            crate::engine::base::sync::park_timeout(rest);
            if !call_wakers(log, whereabouts) {
                return;
            }
        }
        // 4. What is asked for from here on is not covered by this flush.
        state.swap(TIMING, Ordering::SeqCst);
        if let Err(error) = flush_once(log) {
            foreign::error!("the log's flusher ends: {error}");
        }
    }
    // Whoever asked before this is covered by the last flush, and nobody can ask after it.
    state.swap(ABSENT, Ordering::SeqCst);
    let _ = flush_once(log);
    call_wakers(log, whereabouts);
}

/// By when what has just been appended is to be flushed, if nobody asks before.
fn flush_by(options: &LogOptions) -> Deadline {
    Deadline::after(options.flush_interval)
}

/// Flushes. The flusher does not end silently: a panic poisons the log, and all are told.
fn flush_once(log: &Log) -> Result<()> {
    let panic = match catch_unwind(AssertUnwindSafe(|| log.flush_quietly())) {
        Ok(flushed) => return flushed.map(|_| ()),
        Err(panic) => panic,
    };
    let said = format!("the flusher panicked: {}", foreign::message(&*panic));
    foreign::discard(panic);
    log.poison(Error::io("flush", "the log", 0, std::io::Error::other(said)));
    log.check_poison()
}

/// Calls the wakers of those who have been answered. False if the flusher was dismissed meanwhile.
fn call_wakers(log: &Log, whereabouts: &Whereabouts) -> bool {
    if !log.has_answered() {
        return true;
    }
    whereabouts.go(Where::Away);
    log.deliver();
    whereabouts.come_back()
}

fn run_keeper(log: &Log, stop: &AtomicBool) {
    let mut failed = false;
    while !stop.load(Ordering::SeqCst) && !log.is_poisoned() {
        log.keeper_bell.answer();
        match log.keep() {
            Ok(()) => failed = false,
            Err(error) => {
                if !failed {
                    foreign::warning!("the log's keeper will try again: {error}");
                }
                failed = true;
            }
        }
        if failed {
            crate::engine::base::sync::park_timeout(KEEPER_RETRY);
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
    use crate::engine::base::lsn::{Incarnation, Life, Lsn, StoreId};
    use crate::engine::disk::SimDisk;
    use crate::engine::log::Witness;

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

    /// No clock is asked how long it takes: what is looked at is the time that is set.
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

    /// Remembers up to where the log was noted to be durable.
    #[derive(Debug, Default)]
    struct Notes(crate::engine::base::sync::atomic::AtomicU64);

    impl Witness for Notes {
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
    fn an_idle_log_has_its_sync_line_noted() {
        let life = Life::of_version_1(StoreId([7; 16]), Incarnation::new(1));
        let options = LogOptions { segment_bytes: 64 << 10, ..LogOptions::default() };
        let disk = Arc::new(SimDisk::new());
        let (log, mut appender) = Log::begin(disk, options, life, 2, &[]).unwrap();
        let (log, notes) = (Arc::new(log), Arc::new(Notes::default()));
        log.set_witness(Arc::clone(&notes) as _);
        let _threads = log.spawn().unwrap();
        log.reserve(10).unwrap();
        let end = log.append(&mut appender, 1, &[7; 10], crc32fast::hash(&[7; 10])).unwrap();
        log.publish(end);
        let before = Instant::now();
        while notes.0.load(Ordering::SeqCst) < end.get() {
            assert!(before.elapsed() < Duration::from_secs(60), "it is not noted");
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
        assert!(log.flusher.ask(), "there is somebody to ask");
        log.poison(Error::Closed);
        let before = Instant::now();
        let handles = || threads.flusher.iter().chain(&threads.keeper);
        while !handles().all(|handle| handle.is_finished()) {
            handles().for_each(|handle| handle.thread().unpark());
            assert!(before.elapsed() < Duration::from_secs(5), "they go on");
            thread::sleep(Duration::from_millis(1));
        }
        assert!(!log.flusher.ask(), "whoever waits is on its own");
    }
}
