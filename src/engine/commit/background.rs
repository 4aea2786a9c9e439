//! The store's threads: one that makes checkpoints and takes dropped keyspaces apart, one that keeps
//! frames free and merges leaves.
//!
//! Closing the engine stops them; the last handle closes it. They call no foreign code
//! ([`crate::engine::base::foreign`]) except the logger. A panic in one is a bug: it is logged, and the
//! thread goes on, since nobody would notice that it has gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::engine::Engine;
use crate::engine::base::foreign;

/// How long after a failure a checkpoint is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// A shorter interval would keep a processor busy with polling.
const LEAST_INTERVAL: Duration = Duration::from_millis(1);
/// Bytes of memory touched ahead of their first use.
const TOUCH_AHEAD: usize = 32 << 20;

/// The threads, the signals that wake them, and the watchers of the watermarks.
#[derive(Debug, Default)]
pub(crate) struct Background {
    checkpointer: WakeSignal,
    cleaner: Arc<WakeSignal>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    stopping: AtomicBool,
    watchers: AtomicUsize,
    /// Whether there are leaves to be merged.
    pub(super) sparse: AtomicBool,
    /// Held by the thread that takes a dropped keyspace apart.
    pub(super) trimming: Mutex<()>,
    /// Held while housekeeping has a snapshot, which would keep a checkpoint from freeing pages when
    /// space runs out. Taken after `trimming` and before any lock of the engine.
    pub(super) snapshot_in_use: Mutex<()>,
    moved: (Mutex<()>, Condvar),
}

/// Wakes one waiter, however often it was raised (an auto-reset event).
#[derive(Debug, Default)]
struct WakeSignal {
    is_raised: AtomicBool,
    lock: Mutex<()>,
    raised: Condvar,
}

impl WakeSignal {
    fn raise(&self) {
        if !self.is_raised.load(Ordering::Relaxed) && !self.is_raised.swap(true, Ordering::SeqCst) {
            let _lock = self.lock.lock();
            self.raised.notify_all();
        }
    }

    /// Waits for the signal, for at most `time`, and resets it. True if it was raised.
    fn wait(&self, time: Duration) -> bool {
        let mut lock = self.lock.lock();
        if !self.is_raised.load(Ordering::SeqCst) {
            self.raised.wait_for(&mut lock, time);
        }
        self.is_raised.swap(false, Ordering::SeqCst)
    }
}

impl Background {
    pub(crate) fn wake_checkpointer(&self) {
        self.checkpointer.raise();
    }

    pub(super) fn wake_cleaner(&self) {
        self.cleaner.raise();
    }

    /// Wakes the watchers of the watermarks.
    pub(crate) fn moved(&self) {
        if self.watchers.load(Ordering::SeqCst) > 0 {
            let _lock = self.moved.0.lock();
            self.moved.1.notify_all();
        }
    }

    /// Waits until `is_over` or `deadline`. [`Background::moved`] wakes it; it also polls, because not
    /// every change calls that.
    pub(crate) fn watch(&self, deadline: Option<Instant>, is_over: impl Fn() -> bool) {
        self.watchers.fetch_add(1, Ordering::SeqCst);
        let mut lock = self.moved.0.lock();
        while !is_over() {
            let now = Instant::now();
            if deadline.is_some_and(|deadline| now >= deadline) {
                break;
            }
            let until = deadline.map_or(RETRY, |deadline| deadline - now);
            self.moved.1.wait_for(&mut lock, until.min(Duration::from_millis(5)));
        }
        drop(lock);
        self.watchers.fetch_sub(1, Ordering::SeqCst);
    }

    /// Starts the threads.
    pub(crate) fn start(engine: &Arc<Engine>) {
        let spawn = |name: &str, run: fn(&Engine)| {
            let engine = Arc::clone(engine);
            std::thread::Builder::new().name(name.to_owned()).spawn(move || run(&engine))
        };
        let cleaner = Arc::clone(&engine.background.cleaner);
        engine.cache.on_short_of_frames(move || cleaner.raise());
        let mut threads = engine.background.threads.lock();
        for (name, run) in
            [("syncline-ckpt", run_checkpointer as fn(&Engine)), ("syncline-clean", run_cleaner)]
        {
            match spawn(name, run) {
                Ok(thread) => threads.push(thread),
                // Without it its work is done in the foreground, more slowly.
                Err(error) => foreign::error!("thread {name}: {error}"),
            }
        }
    }

    /// Stops the threads and waits for them.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.checkpointer.raise();
        self.cleaner.raise();
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
                foreign::error!("a background thread panicked");
            }
        }
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }
}

fn run_checkpointer(engine: &Engine) {
    let mut last = Instant::now();
    let (mut failed, mut is_trimming, mut is_asked) = (false, false, false);
    loop {
        let interval = engine.options.checkpoint_interval.max(LEAST_INTERVAL);
        let wait = match (is_trimming, failed) {
            (true, _) => Duration::ZERO,
            (false, true) => RETRY,
            (false, false) => interval.saturating_sub(last.elapsed()),
        };
        is_asked |= engine.background.checkpointer.wait(wait);
        if engine.background.is_stopping() {
            return;
        }
        // One step at a time: a checkpoint that is due does not wait for all of a large keyspace.
        let mut is_more = false;
        foreign::call("taking a dropped keyspace apart", || {
            is_more = engine.trim_dropped().unwrap_or(false);
        });
        is_trimming = is_more;
        if is_trimming && !engine.is_checkpoint_due() {
            continue;
        }
        if !is_asked && !failed && last.elapsed() < interval {
            continue;
        }
        is_asked = false;
        last = Instant::now();
        failed = !foreign::call("a checkpoint", || {
            let result = engine.checkpoint_if_changed();
            if let Err(error) = &result {
                foreign::warning!("{}: checkpoint: {error}", engine.disk.path(""));
            }
            failed = result.is_err_and(|error| error.is_retryable());
        }) || failed;
    }
}

fn run_cleaner(engine: &Engine) {
    let (mut touched, mut full_since) = (0, None::<Instant>);
    loop {
        let cache = &engine.cache;
        engine.background.cleaner.wait(Duration::from_millis(20));
        if engine.background.is_stopping() {
            return;
        }
        foreign::call("eviction", || {
            cache.touch_ahead(TOUCH_AHEAD, &mut touched);
            if full_since.is_none_or(|since| since.elapsed() > RETRY) {
                // Not logged: a commit that needs space reports a full disk itself.
                full_since = cache.provide_ahead().is_err().then(Instant::now);
            }
            while cache.is_short_of_frames() && !engine.background.is_stopping() {
                match cache.evict(64) {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(error) => {
                        foreign::warning!("{}: eviction: {error}", engine.disk.path(""));
                        break;
                    }
                }
            }
        });
        foreign::call("merging leaves", || {
            while !cache.is_short_of_frames() && !engine.background.is_stopping() {
                match engine.merge_sparse() {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => {
                        foreign::warning!("{}: merging leaves: {error}", engine.disk.path(""));
                        break;
                    }
                }
            }
        });
    }
}
