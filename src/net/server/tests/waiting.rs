//! Limits on what one connection has in the pool, and on its wake-ups by flushes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use tokio::time::Instant;

use super::peer::{Hold, put, store};
use super::talk::Talk;
use crate::Options;
use crate::engine::disk::SimDisk;
use crate::net::proto::{At, Bound, Delivery, Mode, Order, Range, Request};
use crate::net::server::fuzz;

fn page() -> Request<'static> {
    let (lower, upper, order) = (Bound::Unbounded, Bound::Unbounded, Order::Ascending);
    let (limit, delivery, at) = (None, Delivery::Page { max_bytes: 100 }, At::Latest);
    Request::Range(Range { keyspace: "rows", lower, upper, order, limit, delivery, at })
}

#[test]
fn a_connection_has_eight_requests_in_the_pool_and_queues_the_others() {
    let mut talk = Talk::over(fuzz::shared_over(store(), 4096));
    talk.heard();
    // The only thread is busy with another client's task.
    let (begun, has_begun) = channel();
    let (let_go, held) = channel::<()>();
    let pool = &talk.shared.pool;
    let task = move || {
        begun.send(()).unwrap();
        let _ = held.recv();
    };
    pool.submit(pool.lane(), task).unwrap();
    has_begun.recv().unwrap();
    let mut asked: Vec<u64> = (0..100).map(|_| talk.ask(&page())).collect();
    talk.take(usize::MAX);
    assert!(talk.input.is_empty());
    assert_eq!(talk.shared.pool.waiting(), 8);
    drop(let_go);
    let mut heard = Vec::new();
    talk.until(|talk| {
        assert!(talk.shared.pool.waiting() <= 8);
        heard.extend(talk.ids());
        heard.len() == asked.len()
    });
    heard.sort_unstable();
    asked.sort_unstable();
    assert_eq!(heard, asked, "each was answered");
}

#[derive(Default)]
struct CountWakes(AtomicUsize);

impl Wake for CountWakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_flush_wakes_a_connection_once_however_many_writes_it_makes_durable() {
    let disk = SimDisk::new();
    let (hold, _) = Hold::of(&disk);
    // The log is flushed only on demand.
    let options = Options::new().flush_interval(Duration::from_secs(3600));
    let store = options.open_on(Arc::new(disk)).unwrap();
    store.keyspace("rows").unwrap();
    let mut talk = Talk::over(fuzz::shared_over(store, 16));
    talk.heard();
    let wakes = Arc::new(CountWakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    // Wake-ups accumulate over the rounds.
    for (flushes, writes) in [(1, 50), (2, 1), (3, 20), (4, 1)] {
        hold.hold();
        let asked: Vec<u64> = (0..writes).map(|_| talk.ask(&put("k", "v", Mode::Sync))).collect();
        talk.take(usize::MAX);
        let catch_up = |talk: &mut Talk| {
            let mut cx = Context::from_waker(&waker);
            talk.session.catch_up(&mut cx, Instant::now(), &mut usize::MAX.clone());
        };
        catch_up(&mut talk);
        assert!(talk.ids().is_empty(), "none is durable");
        hold.let_go();
        while wakes.0.load(Ordering::SeqCst) < flushes {
            std::thread::yield_now();
        }
        catch_up(&mut talk);
        assert_eq!(talk.ids(), asked);
        assert_eq!(wakes.0.load(Ordering::SeqCst), flushes);
    }
}
