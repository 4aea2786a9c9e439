//! Answers are matched to requests by id: no request is blocked by an earlier one that waits for the
//! device.

use super::cold::{ROWS, cold_key, large_store_on};
use super::peer::{Hold, Peer, config, get, put, serve};
use crate::engine::disk::SimDisk;
use crate::net::proto::{
    Answer, At, Bound, Cancel, Checkpoint, Code, CreateKeyspace, Credit, Delivery, Existing,
    JobState, JobStatus, JobWait, JobWatch, Mode, Order, Part, Put, Range, Request, Response,
    Verify, WatchWatermarks, Written,
};
use crate::net::server::Config;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_get_is_not_stuck_behind_sync_puts() {
    let (store, hold) = Hold::store();
    let (server, address) = serve(store, &config()).await;
    let mut peer = Peer::greeted(address).await;
    peer.ask(2, &put("k", "v", Mode::Async)).await;
    hold.hold();
    for id in 0..1000 {
        peer.add(100 + id, &put("k", "w", Mode::Sync));
    }
    peer.add(9, &get("k"));
    peer.flush().await;
    let first = peer.answer().await;
    assert_eq!((first.id, first.value().as_deref()), (9, Some(&b"w"[..])));
    hold.let_go();
    let mut ids = Vec::new();
    for _ in 0..1000 {
        let answer = peer.answer().await;
        assert!(matches!(answer.response(), Response::Written(Written { durable: true, .. })));
        ids.push(answer.id);
    }
    ids.sort_unstable();
    assert!(ids.into_iter().eq(100..1100), "each is answered once");
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_write_still_reports_its_job_state() {
    let (store, hold) = Hold::store();
    let (server, address) = serve(store, &config()).await;
    let mut peer = Peer::greeted(address).await;
    peer.ask(2, &put("k", "v", Mode::Async)).await;
    hold.hold();
    peer.send(3, &put("k", "cancelled", Mode::Sync)).await;
    peer.send(4, &Request::Cancel(Cancel { id: 3 })).await;
    let cancelled = peer.answer().await;
    assert_eq!((cancelled.id, cancelled.code()), (3, Code::Cancelled));
    peer.send_within(5, 10, &put("k", "too late", Mode::Sync)).await;
    let late = peer.answer().await;
    assert_eq!((late.id, late.code()), (5, Code::DeadlineExceeded));
    let job = late.failure().job().expect("it was appended").to_owned();
    // A long poll ends at its time-out, whatever the state.
    let wait = Request::JobWait(JobWait { job: &job, timeout_ms: 5 });
    assert_eq!(peer.ask(6, &wait).await.job(), (job.clone(), JobState::Appended));
    peer.send(7, &Request::JobWait(JobWait { job: &job, timeout_ms: 60_000 })).await;
    hold.let_go();
    assert_eq!(peer.answer().await.job(), (job, JobState::Durable));
    // A request that has ended cannot be cancelled, and is not answered again.
    peer.send(8, &Request::Cancel(Cancel { id: 3 })).await;
    assert_eq!(peer.ask(9, &Request::Ping).await.response(), Response::Pong);
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_used_id_and_too_many_requests_in_flight_are_refused() {
    let (store, hold) = Hold::store();
    let config = Config { max_in_flight: 2, max_subscriptions: 1, ..config() };
    let (server, address) = serve(store, &config).await;
    let mut peer = Peer::greeted(address).await;
    peer.ask(2, &put("k", "v", Mode::Async)).await;
    hold.hold();
    peer.send(3, &put("k", "1", Mode::Sync)).await;
    peer.send(3, &put("k", "again", Mode::Sync)).await;
    let refused = peer.answer().await;
    assert_eq!((refused.id, refused.code()), (0, Code::BadId));
    assert_eq!(refused.failure().detail("id"), Some("3"));
    peer.send(0, &Request::Ping).await;
    assert_eq!(peer.answer().await.code(), Code::BadId);
    let watch = WatchWatermarks { credit: 0, min_interval_ms: 0 };
    peer.send(4, &Request::WatchWatermarks(watch)).await;
    assert_eq!(peer.ask(5, &put("k", "3", Mode::Sync)).await.code(), Code::TooManyInFlight);
    peer.send(6, &Request::Cancel(Cancel { id: 3 })).await;
    assert_eq!(peer.answer().await.code(), Code::Cancelled);
    let refused = peer.ask(7, &Request::WatchWatermarks(watch)).await;
    assert_eq!(refused.code(), Code::TooManySubscriptions);
    assert_eq!(peer.ask(8, &get("k")).await.value().as_deref(), Some(&b"1"[..]));
    hold.let_go();
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_of_one_read_are_done_in_order_and_answered_one_by_one() {
    let (store, hold) = Hold::store();
    let config = Config { max_in_flight: 6, ..config() };
    let (server, address) = serve(store, &config).await;
    let mut peer = Peer::greeted(address).await;
    peer.ask(1, &put("k", "v", Mode::Async)).await;
    hold.hold();
    let long = "x".repeat(5000);
    // One write, so that the server gets all of it in one read.
    peer.add(2, &put("k", "1", Mode::Async));
    peer.add(3, &get("k"));
    peer.add(4, &put("k", "2", Mode::Job));
    peer.add(5, &put("k", "3", Mode::Async));
    peer.add(6, &put(&long, "key too long", Mode::Async));
    peer.add(7, &get("k"));
    peer.add(8, &put("k", "4", Mode::Sync));
    peer.add(8, &put("k", "the same id", Mode::Sync));
    (9..15).for_each(|id| peer.add(id, &put("k", "5", Mode::Sync)));
    peer.flush().await;
    let mut answers = std::collections::BTreeMap::new();
    let mut places = Vec::new();
    for _ in 0..8 {
        let answer = peer.answer().await;
        if let Response::Written(Written { receipt, durable: false, .. }) = answer.response() {
            places.push((answer.id, receipt.lsn));
        }
        answers.insert(answer.id, answer);
    }
    assert_eq!(answers[&3].value().as_deref(), Some(&b"1"[..]));
    assert_eq!(answers[&7].value().as_deref(), Some(&b"3"[..]));
    assert_eq!(answers[&6].code(), Code::KeyTooLong);
    assert_eq!(answers[&0].failure().detail("id"), Some("8"), "the second of that id");
    assert_eq!(answers[&14].code(), Code::TooManyInFlight, "six wait for the device");
    assert!(places.is_sorted_by(|a, b| a.1 < b.1) && places.len() == 2, "{places:?}");
    assert_eq!(answers[&4].job().1, JobState::Appended);
    hold.let_go();
    let mut durable = Vec::new();
    for _ in 0..6 {
        let answer = peer.answer().await;
        assert!(matches!(answer.response(), Response::Written(Written { durable: true, .. })));
        durable.push(answer.id);
    }
    durable.sort_unstable();
    assert_eq!(durable, [8, 9, 10, 11, 12, 13], "each is answered once");
    assert_eq!(peer.ask(15, &get("k")).await.value().as_deref(), Some(&b"5"[..]));
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn job_events_wait_for_credit_and_no_event_is_lost() {
    let (store, hold) = Hold::store();
    let (server, address) = serve(store, &config()).await;
    let mut peer = Peer::greeted(address).await;
    peer.ask(2, &put("k", "v", Mode::Async)).await;
    hold.hold();
    let mut jobs = Vec::new();
    for id in 10..13 {
        jobs.push(peer.ask(id, &put("k", "w", Mode::Job)).await.job().0);
    }
    let watched = jobs.iter().map(String::as_str).collect();
    peer.send(3, &Request::JobWatch(JobWatch { jobs: watched, credit: 0 })).await;
    hold.let_go();
    let wait = Request::JobWait(JobWait { job: &jobs[2], timeout_ms: 60_000 });
    peer.ask(4, &wait).await;
    assert_eq!(peer.ask(5, &Request::Ping).await.response(), Response::Pong);
    peer.send(6, &Request::Credit(Credit { id: 3, more: 2 })).await;
    for job in &jobs[..2] {
        let event = peer.answer().await;
        assert_eq!((event.id, event.part), (3, Part::More));
        assert_eq!(event.job(), (job.clone(), JobState::Durable));
    }
    assert_eq!(peer.ask(7, &Request::Ping).await.response(), Response::Pong);
    peer.send(8, &Request::Credit(Credit { id: 3, more: 9 })).await;
    let last = peer.answer().await;
    assert_eq!((last.part, last.job()), (Part::Last, (jobs[2].clone(), JobState::Durable)));
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moving_watermarks_are_pushed_under_credit() {
    let (store, _hold) = Hold::store();
    let (server, address) = serve(store, &config()).await;
    let mut peer = Peer::greeted(address).await;
    let watch = WatchWatermarks { credit: 2, min_interval_ms: 0 };
    let first = peer.ask(2, &Request::WatchWatermarks(watch)).await;
    let Response::MarksEvent(first) = first.response() else { panic!("{:?}", first.response()) };
    let mut other = Peer::greeted(address).await;
    other.ask(2, &put("k", "v", Mode::Sync)).await;
    let second = peer.answer().await;
    let Response::MarksEvent(second) = second.response() else { panic!("{:?}", second.response()) };
    assert!(second.marks.appended > first.marks.appended);
    other.ask(3, &put("k", "w", Mode::Sync)).await;
    assert_eq!(peer.ask(3, &Request::Ping).await.response(), Response::Pong, "no credit");
    peer.send(4, &Request::Credit(Credit { id: 2, more: 1 })).await;
    let third = peer.answer().await;
    let Response::MarksEvent(third) = third.response() else { panic!("{:?}", third.response()) };
    assert!(third.marks.appended > second.marks.appended);
    peer.send(5, &Request::Cancel(Cancel { id: 2 })).await;
    let end = peer.answer().await;
    assert_eq!((end.id, end.part, end.code()), (2, Part::Last, Code::Cancelled));
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranges_wait_for_earlier_writes_and_status_requests_wait_for_none() {
    let disk = SimDisk::new();
    let (_, hold) = Hold::of(&disk);
    let store = large_store_on(&disk);
    let (server, address) = serve(store.clone(), &Config { pool_threads: 8, ..config() }).await;
    let mut peer = Peer::greeted(address).await;
    let job = peer.ask(2, &put("k", "v", Mode::Job)).await.job().0;
    let wait = Request::JobWait(JobWait { job: &job, timeout_ms: 600_000 });
    peer.ask(3, &wait).await;
    hold.hold();
    // 1. A put waits for its leaf to be read, and the requests behind it wait for the put.
    peer.add(9, &put(&cold_key(&store), "v", Mode::Async));
    let create = CreateKeyspace { name: "new", existing: Existing::Refuse };
    peer.add(10, &Request::CreateKeyspace(create));
    let (keyspace, key, value, once) = ("new", &b"k"[..], &b"v"[..], None);
    peer.add(11, &Request::Put(Put { keyspace, key, value, mode: Mode::Async, once }));
    let (lower, upper, limit, at) = (Bound::Unbounded, Bound::Unbounded, None, At::Latest);
    for (id, delivery) in
        [(12, Delivery::Page { max_bytes: 100 }), (13, Delivery::Stream { credit: 1 })]
    {
        let order = Order::Ascending;
        peer.add(id, &Request::Range(Range { keyspace, lower, upper, order, limit, delivery, at }));
    }
    peer.add(14, &Request::Keyspaces);
    peer.add(15, &Request::Flush);
    peer.add(16, &Request::Checkpoint(Checkpoint { answer: Answer::AtEnd }));
    peer.add(17, &Request::Verify(Verify { answer: Answer::AtEnd }));
    // 2. Status requests are answered meanwhile.
    for (id, request) in [
        (20, Request::Ping),
        (21, Request::Watermarks),
        (22, Request::Stats),
        (23, Request::JobStatus(JobStatus { job: &job })),
        (24, wait),
        (25, Request::JobWatch(JobWatch { jobs: vec![&job], credit: 1 })),
    ] {
        let answer = peer.ask(id, &request).await;
        assert!(!matches!(answer.response(), Response::Error(_)), "{:?}", answer.response());
    }
    hold.let_go();
    // 3. Then all others are answered, with the effect of the writes.
    for _ in 9..=17 {
        let answer = peer.answer().await;
        match (answer.id, answer.response()) {
            (12 | 13, Response::Entries(mut entries)) => {
                assert_eq!(entries.rows.next(), Some((&b"k"[..], &b"v"[..])));
            }
            (14, Response::Names(names)) => assert_eq!(names.len(), 2),
            (17, Response::Verified(found)) => {
                assert_eq!((found.keyspaces, found.keys), (2, ROWS + 2))
            }
            (10, Response::Done)
            | (9 | 11, Response::Written(_))
            | (15 | 16, Response::Marks(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credit_saturates_and_skipped_events_are_counted() {
    let (server, address) = serve(super::peer::store(), &config()).await;
    let mut peer = Peer::greeted(address).await;
    let watch = |credit| Request::WatchWatermarks(WatchWatermarks { credit, min_interval_ms: 0 });
    let event = |answer: &super::peer::Answer| match answer.response() {
        Response::MarksEvent(event) => event,
        other => panic!("{other:?}"),
    };
    // 1. Credit saturates.
    assert_eq!(event(&peer.ask(2, &watch(u32::MAX)).await).skipped, 0);
    peer.send(3, &Request::Credit(Credit { id: 2, more: u32::MAX })).await;
    let mut other = Peer::greeted(address).await;
    other.ask(2, &put("k", "v", Mode::Sync)).await;
    assert_eq!(peer.answer().await.id, 2);
    // 2. A change without credit is pushed as soon as there is credit again.
    let mut second = Peer::greeted(address).await;
    assert_eq!(event(&second.ask(2, &watch(1)).await).skipped, 0);
    let mut last = 0;
    for id in 3..6 {
        let answer = other.ask(id, &put("k", "w", Mode::Sync)).await;
        let Response::Written(Written { receipt, .. }) = answer.response() else { panic!() };
        last = receipt.lsn;
        // The watch with credit got an event, so the other one skipped one.
        while event(&peer.answer().await).marks.durable < last {}
    }
    second.send(3, &Request::Credit(Credit { id: 2, more: 1 })).await;
    let told = event(&second.answer().await);
    assert!(told.skipped >= 1 && told.marks.durable >= last, "{told:?}");
    server.stop().await.unwrap();
}
