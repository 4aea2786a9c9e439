//! Flushes, and creating and dropping keyspaces, wait for the sync line like a put in mode `Sync`. They
//! take no thread meanwhile, can be cancelled, and an error of a logged one names its job.

use std::collections::BTreeMap;

use super::cold::{cold_key, large_store_on};
use super::peer::{Answer, Hold, Peer, config, get, put, serve};
use crate::engine::disk::SimDisk;
use crate::net::proto::{
    At, Bound, Cancel, Code, CreateKeyspace, Delivery, DropKeyspace, Existing, JobState, JobStatus,
    JobWait, Kind, Mode, Order, Range, Request, Response,
};

fn create(name: &str, existing: Existing) -> Request<'_> {
    Request::CreateKeyspace(CreateKeyspace { name, existing })
}

fn drop_keyspace(name: &str) -> Request<'_> {
    Request::DropKeyspace(DropKeyspace { name })
}

fn page() -> Request<'static> {
    let (lower, upper, order) = (Bound::Unbounded, Bound::Unbounded, Order::Ascending);
    let (limit, delivery, at) = (None, Delivery::Page { max_bytes: 100 }, At::Latest);
    Request::Range(Range { keyspace: "rows", lower, upper, order, limit, delivery, at })
}

/// The next answers, by their ids.
async fn answers(peer: &mut Peer, count: usize) -> BTreeMap<u64, Answer> {
    let mut answers = BTreeMap::new();
    for _ in 0..count {
        let answer = peer.answer().await;
        answers.insert(answer.id, answer);
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_wait_for_a_slow_flush_do_not_block_readers() {
    let (store, hold) = Hold::store();
    let dropped: Vec<String> = (0..4).map(|number| format!("dropped {number}")).collect();
    for name in &dropped {
        store.keyspace(name).unwrap();
    }
    let (server, address) = serve(store, &config()).await;
    let mut reader = Peer::greeted(address).await;
    reader.ask(2, &put("k", "v", Mode::Async)).await;
    hold.hold();
    // More requests than threads.
    let mut waiting = Vec::new();
    for (number, name) in dropped.iter().enumerate() {
        let mut peer = Peer::greeted(address).await;
        peer.add(2, &drop_keyspace(name));
        peer.add(3, &create(&format!("new {number}"), Existing::Refuse));
        peer.add(4, &create("all", Existing::Accept));
        peer.add(5, &Request::Flush);
        peer.flush().await;
        waiting.push(peer);
    }
    // A request for the pool still gets a thread.
    reader.send_within(3, 30_000, &page()).await;
    assert_eq!(reader.answer().await.response().kind(), Kind::Entries);
    loop {
        let names = reader.ask(4, &Request::Keyspaces).await;
        let Response::Names(names) = names.response() else { panic!("{names:?}") };
        let is_new = |name: &&crate::net::proto::Text<'_>| name.starts_with("new");
        if names.iter().filter(is_new).count() == waiting.len() {
            break;
        }
    }
    for peer in &mut waiting {
        assert_eq!(peer.ask(6, &Request::Ping).await.response(), Response::Pong, "all wait");
    }
    hold.let_go();
    for peer in &mut waiting {
        let answers = answers(peer, 4).await;
        for id in 2..5 {
            assert_eq!(answers[&id].response(), Response::Done);
        }
        let Response::Marks(marks) = answers[&5].response() else { panic!("{answers:?}") };
        assert!(marks.durable > 0);
    }
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_wait_for_a_slow_flush_can_be_cancelled() {
    let (store, hold) = Hold::store();
    for name in ["dropped 0", "dropped 1"] {
        store.keyspace(name).unwrap();
    }
    let (server, address) = serve(store, &config()).await;
    let mut peer = Peer::greeted(address).await;
    peer.ask(2, &put("k", "v", Mode::Async)).await;
    hold.hold();
    let mut jobs = Vec::new();
    for (number, code) in [Code::DeadlineExceeded, Code::Cancelled].into_iter().enumerate() {
        let (new, dropped) = (format!("new {number}"), format!("dropped {number}"));
        let requests = [
            (create(&new, Existing::Refuse), true),
            // An earlier request creates it, and that is not durable yet.
            (create(&new, Existing::Accept), true),
            (drop_keyspace(&dropped), true),
            (Request::Flush, false),
        ];
        for (id, (request, has_job)) in (10..).zip(requests) {
            match code {
                Code::Cancelled => {
                    peer.send(id, &request).await;
                    assert_eq!(peer.ask(3, &Request::Ping).await.response(), Response::Pong);
                    peer.send(4, &Request::Cancel(Cancel { id })).await;
                }
                _ => peer.send_within(id, 20, &request).await,
            }
            let answer = peer.answer().await;
            assert_eq!((answer.id, answer.code()), (id, code));
            // A request that no thread had taken yet has no job.
            let job = answer.failure().job().map(str::to_owned);
            assert!(has_job || job.is_none(), "{answer:?}");
            jobs.extend(job);
        }
    }
    assert!(jobs.len() > 1, "some were in the log");
    let appended = Request::JobStatus(JobStatus { job: &jobs[0] });
    assert_eq!(peer.ask(5, &appended).await.job().1, JobState::Appended);
    hold.let_go();
    for job in &jobs {
        let wait = Request::JobWait(JobWait { job, timeout_ms: 60_000 });
        assert_eq!(peer.ask(6, &wait).await.job(), (job.clone(), JobState::Durable));
    }
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keyspace_change_reports_its_job_when_the_flush_fails() {
    let disk = SimDisk::new();
    let (store, hold) = Hold::store_on(&disk);
    store.keyspace("dropped").unwrap();
    let (server, address) = serve(store, &config()).await;
    let mut peer = Peer::greeted(address).await;
    peer.ask(2, &put("k", "v", Mode::Sync)).await;
    hold.hold();
    peer.add(10, &create("new", Existing::Refuse));
    peer.add(11, &create("new", Existing::Accept));
    peer.add(12, &drop_keyspace("dropped"));
    peer.add(13, &Request::Flush);
    // A page comes after them all.
    peer.add(14, &page());
    peer.flush().await;
    assert_eq!(peer.answer().await.id, 14);
    disk.fail_sync(0);
    hold.let_go();
    let answers = answers(&mut peer, 4).await;
    let job = |id: u64| answers[&id].failure().job().map(str::to_owned);
    assert!(answers.values().all(|answer| answer.code() == Code::Poisoned), "{answers:?}");
    assert!(job(10).is_some() && job(12).is_some(), "they are in the log: {answers:?}");
    assert_eq!((job(11), job(13)), (job(10), None), "that of the creator; a flush has no job");
    // From then on no write is begun.
    for request in [create("later", Existing::Accept), drop_keyspace("rows"), Request::Flush] {
        let refused = peer.ask(15, &request).await;
        assert_eq!((refused.code(), refused.failure().job()), (Code::Poisoned, None));
    }
    assert!(server.stop().await.is_err());
}

/// A write that is cancelled while a thread has it is answered when that thread is done, without a flush.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_cancelled_while_its_leaf_is_read_does_not_wait_for_the_flush() {
    let disk = SimDisk::new();
    let (flushes, reads) = Hold::of(&disk);
    let store = large_store_on(&disk);
    let (server, address) = serve(store.clone(), &config()).await;
    let mut peer = Peer::greeted(address).await;
    peer.ask(2, &put("k", "v", Mode::Sync)).await;
    for (id, deadline_ms) in [(10, 0), (11, 50)] {
        let key = cold_key(&store);
        reads.hold();
        peer.send_within(id, deadline_ms, &put(&key, "w", Mode::Sync)).await;
        while !reads.has_somebody() {
            tokio::task::yield_now().await;
        }
        flushes.hold();
        let code = match deadline_ms {
            0 => {
                peer.send(3, &Request::Cancel(Cancel { id })).await;
                Code::Cancelled
            }
            _ => {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                Code::DeadlineExceeded
            }
        };
        assert_eq!(peer.ask(4, &Request::Ping).await.response(), Response::Pong);
        reads.let_go();
        let answer = peer.answer().await;
        assert_eq!((answer.id, answer.code()), (id, code));
        let job = answer.failure().job().expect("it is in the log").to_owned();
        assert_eq!(peer.ask(5, &get(&key)).await.value().as_deref(), Some(&b"w"[..]));
        flushes.let_go();
        let wait = Request::JobWait(JobWait { job: &job, timeout_ms: 60_000 });
        assert_eq!(peer.ask(6, &wait).await.job(), (job.clone(), JobState::Durable));
    }
    server.stop().await.unwrap();
}
