//! Group commit under a scheduler that explores interleavings.
//!
//! `RUSTFLAGS="--cfg syncline_shuttle" cargo test --lib shuttle`
//!
//! Several committers, synchronous and asynchronous, share a log; one flush may fail at a random
//! point. Each schedule checks that
//!
//! - no committer is answered before the sync line has passed its LSN;
//! - no thread sleeps for ever (shuttle reports a deadlock);
//! - the sync line never passes the flushed bytes, and at most one flush runs at a time;
//! - after a failure every waiter gets the error.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Context, Poll, Wake, Waker};

use ::shuttle::rand::Rng;
use ::shuttle::{rand, thread};

use super::*;
use crate::engine::base::error::Error;
use crate::engine::base::sync::Mutex;

struct Shared {
    log: Arc<Log>,
    appender: Mutex<Appender>,
}

impl Shared {
    fn commit(&self, n: usize) -> Option<Lsn> {
        loop {
            self.log.reserve(20).ok()?;
            let mut appender = self.appender.lock();
            let record = payload(n, 20);
            let crc = crc32fast::hash(&record);
            if let Some(lsn) = self.log.append(&mut appender, 9, &record, crc) {
                self.log.publish(lsn);
                return Some(lsn);
            }
        }
    }

    fn told(&self, lsn: Lsn, result: Result<bool>) {
        match result {
            Ok(true) => assert!(self.log.durable() >= lsn, "answered too early"),
            Ok(false) => {}
            Err(Error::Poisoned { .. }) => assert!(self.log.poisoned().is_some()),
            Err(error) => panic!("{error}"),
        }
    }
}

/// The end of the bytes that the disk has flushed.
fn flushed_up_to(log: &Log, knobs: &Knobs) -> u64 {
    let lens = knobs.flushed.lock().unwrap().iter().map(|(_, _, len)| *len as u64).sum::<u64>();
    log.start().get() + lens
}

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn wait_as_future(log: &Log, lsn: Lsn) -> Result<bool> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match log.poll_durable(lsn, &mut context) {
            Poll::Ready(result) => return result.map(|()| true),
            Poll::Pending => thread::park(),
        }
    }
}

fn scenario(with_threads: Threads) {
    let Rig { knobs, log, appender, .. } = Rig::new();
    let mut random = rand::thread_rng();
    knobs.fail_flush.store(random.gen_range(0..8), SeqCst);
    let threads = (with_threads == Threads::Spawned).then(|| log.spawn().unwrap());
    let shared = Arc::new(Shared { log, appender: Mutex::new(appender) });
    let committers: Vec<_> = (0..4)
        .map(|n| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                for round in 0..2 {
                    let Some(lsn) = shared.commit(n) else { return };
                    let result = match (n, round) {
                        (0, _) => wait_as_future(&shared.log, lsn),
                        (1, 0) => shared.log.wait_durable(lsn, Some(Duration::ZERO)),
                        (1, _) => Ok(false), // asynchronous: asks for nothing
                        _ => shared.log.wait_durable(lsn, None),
                    };
                    shared.told(lsn, result);
                }
            })
        })
        .collect();
    committers.into_iter().for_each(|committer| committer.join().unwrap());
    drop(threads);
    let log = &shared.log;
    if log.flush().is_ok() {
        assert_eq!(log.durable(), log.appended());
    } else {
        assert!(log.poisoned().is_some());
    }
    assert!(log.durable().get() <= flushed_up_to(log, &knobs), "the sync line passed a flush");
    assert!(!knobs.overlapped.load(SeqCst), "two flushes at once");
}

#[derive(Clone, Copy, PartialEq)]
enum Threads {
    Spawned,
    None,
}

#[test]
fn shuttle_group_flush() {
    ::shuttle::check_random(|| scenario(Threads::None), 3000);
    ::shuttle::check_pct(|| scenario(Threads::None), 2000, 3);
}

#[test]
fn shuttle_group_flush_with_threads() {
    ::shuttle::check_random(|| scenario(Threads::Spawned), 2000);
    ::shuttle::check_pct(|| scenario(Threads::Spawned), 1000, 3);
}
