//! Group commit: many waiters, one flush.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Barrier, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Instant;

use super::*;
use crate::engine::base::error::Error;
use crate::engine::log::LogThreads;

/// A log, and its appender behind a lock as in the engine.
struct Shared {
    log: Arc<Log>,
    appender: Mutex<Appender>,
    knobs: Arc<Knobs>,
}

impl Shared {
    fn new(options: LogOptions) -> (Arc<Shared>, LogThreads) {
        let Rig { knobs, log, appender, .. } = Rig::with(options);
        let threads = log.spawn().unwrap();
        (Arc::new(Shared { log, appender: Mutex::new(appender), knobs }), threads)
    }

    fn commit(&self, payload: &[u8]) -> Lsn {
        loop {
            self.log.reserve(payload.len()).unwrap();
            let mut appender = self.appender.lock().unwrap();
            let crc = crc32fast::hash(payload);
            if let Some(lsn) = self.log.append(&mut appender, 9, payload, crc) {
                self.log.publish(lsn);
                return lsn;
            }
        }
    }
}

#[test]
fn sixty_four_committers_share_flushes() {
    let (shared, threads) = Shared::new(small());
    shared.knobs.flush_micros.store(500, SeqCst);
    let barrier = Arc::new(Barrier::new(64));
    let committers: Vec<_> = (0..64)
        .map(|n| {
            let (shared, barrier) = (Arc::clone(&shared), Arc::clone(&barrier));
            thread::spawn(move || {
                barrier.wait();
                for round in 0..20 {
                    let lsn = shared.commit(&payload(n * 100 + round, 100));
                    assert!(shared.log.wait_durable(lsn, None).unwrap());
                    assert!(shared.log.durable() >= lsn);
                }
            })
        })
        .collect();
    committers.into_iter().for_each(|committer| committer.join().unwrap());
    let flushes = shared.log.stats().flushes;
    assert!(flushes < 64 * 20 / 8, "{flushes} flushes for 1280 commits");
    assert!(!shared.knobs.overlapped.load(SeqCst));
    drop(threads);
}

#[test]
fn asynchronous_commits_become_durable_by_themselves() {
    let (shared, _threads) = Shared::new(small());
    for n in 0..20 {
        let lsn = shared.commit(&payload(n, 100));
        let mut seen = shared.log.durable();
        while seen < lsn {
            let limit = Some(Duration::from_secs(20));
            let moved = shared.log.wait_moved(seen, limit).unwrap();
            assert!(moved > seen, "nothing was flushed in time");
            seen = moved;
        }
    }
}

#[test]
fn many_unsynced_bytes_are_flushed_before_the_interval() {
    let options = LogOptions {
        flush_interval: Duration::from_secs(3600),
        max_unsynced_bytes: 20_000,
        ..small()
    };
    let (shared, _threads) = Shared::new(options);
    // More than once: a new thread may be woken early.
    for _ in 0..3 {
        let before = shared.log.durable();
        let mut lsn = before;
        while lsn.get() - before.get() < 15_000 {
            lsn = shared.commit(&payload(1, 1000));
        }
        let moved = shared.log.wait_moved(before, Some(Duration::from_secs(10))).unwrap();
        assert!(moved > before, "nothing was flushed in time");
        let all = shared.log.flush().unwrap();
        assert_eq!(all, lsn);
    }
}

#[test]
fn few_unsynced_bytes_wait_for_the_interval() {
    let options = LogOptions {
        flush_interval: Duration::from_secs(3600),
        max_unsynced_bytes: 200_000,
        ..small()
    };
    let (shared, _threads) = Shared::new(options);
    for n in 0..30 {
        shared.commit(&payload(n, 1000));
        thread::sleep(Duration::from_millis(2));
    }
    // A new thread may be woken early, once or twice.
    let flushes = shared.log.stats().flushes;
    assert!(flushes < 5, "{flushes}");
}

/// The background thread alone makes segments and prefaults memory.
#[test]
fn the_preallocator_stays_ahead() {
    let (shared, _threads) = Shared::new(small());
    let wait = |what: &str, is_so: &dyn Fn() -> bool| {
        let before = Instant::now();
        while !is_so() {
            assert!(before.elapsed() < Duration::from_secs(5), "{what}");
            thread::sleep(Duration::from_millis(1));
        }
    };
    let last = || shared.log.mapped.lock().back().unwrap().number();
    let ready = || {
        let prefaulted = shared.knobs.prefaulted.lock().unwrap();
        prefaulted.last().map_or(0, |(_, offset, len)| offset + len)
    };
    let mut end = shared.log.start();
    while end.get() % S < 40_000 {
        end = shared.commit(&payload(1, 500));
        wait("memory in the first segment", &|| ready() as u64 + 2600 > end.get() % S + 8192);
    }
    wait("the segment after the first", &|| last() == 3);
    while end.get() < 3 * S + 40_000 {
        end = shared.commit(&payload(1, 500));
    }
    wait("the segment after the second", &|| last() == 4);
    wait("room in it", &|| shared.log.limit.load(SeqCst) == 5 * S);
}

#[test]
fn a_wait_with_a_deadline_ends_in_time_and_asks_for_a_flush() {
    let options = LogOptions { flush_interval: Duration::from_secs(3600), ..small() };
    let (shared, _threads) = Shared::new(options);
    shared.knobs.flush_micros.store(300_000, SeqCst);
    let lsn = shared.commit(&payload(1, 100));
    assert!(!shared.log.wait_durable(lsn, Some(Duration::from_millis(5))).unwrap());
    assert!(shared.log.wait_durable(lsn, Some(Duration::from_secs(20))).unwrap());
    // A wait for the line to move times out too when no flush is running.
    assert_eq!(shared.log.wait_moved(lsn, Some(Duration::from_millis(1))).unwrap(), lsn);
}

#[derive(Default)]
struct CountWakes(AtomicUsize);

impl Wake for CountWakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[test]
fn a_future_is_woken_once_durable() {
    let options = LogOptions { flush_interval: Duration::from_secs(3600), ..small() };
    let (shared, _threads) = Shared::new(options);
    shared.knobs.flush_micros.store(20_000, SeqCst);
    let lsn = shared.commit(&payload(1, 100));
    let wakes = Arc::new(CountWakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut context = Context::from_waker(&waker);
    for _ in 0..3 {
        assert!(shared.log.poll_durable(lsn, &mut context).is_pending());
    }
    let before = Instant::now();
    while wakes.0.load(SeqCst) == 0 {
        assert!(before.elapsed() < Duration::from_secs(20), "never woken");
        thread::sleep(Duration::from_millis(1));
    }
    assert!(matches!(shared.log.poll_durable(lsn, &mut context), Poll::Ready(Ok(()))));
    assert_eq!(wakes.0.load(SeqCst), 1);
}

#[test]
fn a_request_during_a_flush_gets_the_next_one() {
    let options = LogOptions { flush_interval: Duration::from_secs(3600), ..small() };
    let (shared, _threads) = Shared::new(options);
    shared.knobs.flush_micros.store(30_000, SeqCst);
    let mut context = Context::from_waker(Waker::noop());
    let mut last = shared.log.start();
    for n in 0..8 {
        last = shared.commit(&payload(n, 100));
        assert!(shared.log.poll_durable(last, &mut context).is_pending());
        thread::sleep(Duration::from_millis(10));
    }
    let mut seen = shared.log.durable();
    while seen < last {
        let moved = shared.log.wait_moved(seen, Some(Duration::from_secs(10))).unwrap();
        assert!(moved > seen, "the flush that was asked for never came");
        seen = moved;
    }
}

#[test]
fn a_flush_under_way_does_not_outlive_poison() {
    let mut rig = Rig::new();
    let lsn = rig.append(&payload(0, 100));
    rig.knobs.flush_micros.store(100_000, SeqCst);
    let log = Arc::clone(&rig.log);
    let leader = thread::spawn(move || log.wait_durable(lsn, None));
    while !rig.knobs.is_flushing() {
        thread::yield_now();
    }
    rig.log.poison(Error::Closed);
    assert!(matches!(leader.join().unwrap(), Err(Error::Poisoned { .. })));
    assert_eq!(rig.log.durable(), rig.log.start());
}

#[test]
fn poison_ends_a_wait_with_a_deadline() {
    let options = LogOptions { flush_interval: Duration::from_secs(3600), ..small() };
    let (shared, threads) = Shared::new(options);
    shared.knobs.flush_micros.store(50_000, SeqCst);
    shared.knobs.fail_flush.store(1, SeqCst);
    let lsn = shared.commit(&payload(1, 100));
    let wakes = Arc::new(CountWakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    assert!(shared.log.poll_durable(lsn, &mut Context::from_waker(&waker)).is_pending());
    let result = shared.log.wait_durable(lsn, Some(Duration::from_secs(20)));
    assert!(matches!(result, Err(Error::Poisoned { .. })), "{result:?}");
    drop(threads);
    // The flusher may still be calling the waker, and is detached then (CALLBACK-3).
    while wakes.0.load(SeqCst) == 0 {
        thread::yield_now();
    }
    assert_eq!(wakes.0.load(SeqCst), 1, "the future is woken once");
    let polled = shared.log.poll_durable(lsn, &mut Context::from_waker(&waker));
    assert!(matches!(polled, Poll::Ready(Err(Error::Poisoned { .. }))));
}

#[test]
fn a_flush_that_panics_poisons_the_log() {
    let mut rig = Rig::new();
    let lsn = rig.append(&payload(0, 100));
    rig.knobs.panic_flush.store(true, SeqCst);
    let log = Arc::clone(&rig.log);
    assert!(thread::spawn(move || log.wait_durable(lsn, None)).join().is_err());
    rig.knobs.panic_flush.store(false, SeqCst);
    assert!(rig.log.poisoned().unwrap().to_string().contains("panicked"));
    assert!(matches!(rig.log.flush(), Err(Error::Poisoned { .. })));
}

#[test]
fn without_threads_a_future_flushes_itself() {
    let mut rig = Rig::new();
    let lsn = rig.append(&payload(1, 100));
    let mut context = Context::from_waker(Waker::noop());
    assert!(matches!(rig.log.poll_durable(lsn, &mut context), Poll::Ready(Ok(()))));
    let lsn = rig.append(&payload(1, 100));
    assert!(rig.log.wait_durable(lsn, Some(Duration::ZERO)).unwrap());
}

#[test]
fn the_threads_flush_before_they_end() {
    let options = LogOptions { flush_interval: Duration::from_secs(3600), ..small() };
    let (shared, threads) = Shared::new(options);
    let lsn = shared.commit(&payload(1, 100));
    drop(threads);
    assert_eq!(shared.log.durable(), lsn);
}

#[test]
fn poison_reaches_every_waiter() {
    let (shared, threads) = Shared::new(small());
    shared.knobs.flush_micros.store(2000, SeqCst);
    shared.knobs.fail_flush.store(5, SeqCst);
    let refused = Arc::new(AtomicUsize::new(0));
    let waiters: Vec<_> = (0..16)
        .map(|n| {
            let (shared, refused) = (Arc::clone(&shared), Arc::clone(&refused));
            thread::spawn(move || {
                loop {
                    if let Err(error) = shared.log.reserve(100) {
                        assert!(matches!(error, Error::Poisoned { .. }));
                        break;
                    }
                    let lsn = {
                        let mut appender = shared.appender.lock().unwrap();
                        let record = payload(n, 100);
                        let crc = crc32fast::hash(&record);
                        let Some(lsn) = shared.log.append(&mut appender, 9, &record, crc) else {
                            continue;
                        };
                        shared.log.publish(lsn);
                        lsn
                    };
                    let result = match n % 3 {
                        0 => shared.log.wait_moved(shared.log.durable(), None).map(|_| true),
                        1 => shared.log.wait_durable(lsn, Some(Duration::from_secs(20))),
                        _ => shared.log.wait_durable(lsn, None),
                    };
                    match result {
                        Ok(in_time) => assert!(in_time),
                        Err(Error::Poisoned { .. }) => break,
                        Err(error) => panic!("{error}"),
                    }
                }
                refused.fetch_add(1, SeqCst);
            })
        })
        .collect();
    waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    assert_eq!(refused.load(SeqCst), 16);
    let flushed = shared.log.stats().bytes_flushed;
    assert_eq!(shared.log.durable().get() - shared.log.start().get(), flushed);
    drop(threads);
}
