//! Every kind of request once, and refusals of the store.

use std::sync::Arc;

use super::peer::{Hold, Peer, config, get, put, serve, store};
use crate::engine::disk::{Keep, SimDisk};
use crate::net::proto::{
    Answer, Applied, At, Batch, Bound, Checkpoint, Code, CreateKeyspace, Credit, Delete, Delivery,
    DropKeyspace, Existing, Get, JobStatus, JobWait, JobWatch, Kind, Mode, Op, OpsBuffer, Order,
    Part, Put, Range, Request, Response, Verify, Written,
};
use crate::{CommitMode, Options, Status};

fn range(order: Order, delivery: Delivery) -> Request<'static> {
    let (lower, upper) = (Bound::Included(&b"k010"[..]), Bound::Excluded(&b"k090"[..]));
    let (limit, at) = (None, At::Latest);
    Request::Range(Range { keyspace: "rows", lower, upper, order, limit, delivery, at })
}

fn keys(response: &Response<'_>) -> Vec<String> {
    let Response::Entries(entries) = response else { panic!("{response:?}") };
    entries.rows.map(|(key, _)| String::from_utf8(key.to_vec()).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranges_come_in_pages_and_streams() {
    let store = store();
    let rows = store.open_keyspace("rows").unwrap().unwrap();
    for number in 0..100 {
        rows.put_with(format!("k{number:03}"), vec![7; 5000], CommitMode::Async).unwrap();
    }
    let (server, address) = serve(store.clone(), &config()).await;
    let mut peer = Peer::greeted(address).await;
    let expected: Vec<String> = (10..90).map(|number| format!("k{number:03}")).collect();
    // Pages, up and down.
    let page = Delivery::Page { max_bytes: 20_000 };
    let answer = peer.ask(2, &range(Order::Ascending, page)).await;
    let Response::Entries(entries) = answer.response() else { panic!("{:?}", answer.response()) };
    assert_eq!(entries.next, Some(&b"k014"[..]));
    assert_eq!(keys(&answer.response()), expected[..4]);
    let answer = peer.ask(3, &range(Order::Descending, page)).await;
    assert_eq!(keys(&answer.response())[..2], ["k089", "k088"]);
    // A stream is of one snapshot, whatever is written meanwhile.
    peer.send(4, &range(Order::Ascending, Delivery::Stream { credit: 1 })).await;
    let first = peer.answer().await;
    assert_eq!((first.id, first.part), (4, Part::More));
    let mut seen = keys(&first.response());
    rows.delete("k089").unwrap();
    assert_eq!(peer.ask(5, &Request::Ping).await.response(), Response::Pong, "no credit");
    peer.send(6, &Request::Credit(Credit { id: 4, more: 1000 })).await;
    loop {
        let part = peer.answer().await;
        seen.extend(keys(&part.response()));
        if part.part == Part::Last {
            break;
        }
    }
    assert_eq!(seen, expected);
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_other_kind_of_request_is_answered() {
    let (server, address) = serve(store(), &config()).await;
    let mut peer = Peer::greeted(address).await;
    let create = CreateKeyspace { name: "more", existing: Existing::Refuse };
    assert_eq!(peer.ask(2, &Request::CreateKeyspace(create)).await.response(), Response::Done);
    let again = peer.ask(3, &Request::CreateKeyspace(create)).await;
    assert_eq!(again.code(), Code::KeyspaceExists);
    let names = peer.ask(4, &Request::Keyspaces).await;
    let Response::Names(names) = names.response() else { panic!("names") };
    assert_eq!(names.iter().map(|name| &**name).collect::<Vec<_>>(), ["more", "rows"]);
    let mut ops = OpsBuffer::new();
    ops.push(&Op::Put { keyspace: "rows", key: b"a", value: b"1" });
    ops.push(&Op::Put { keyspace: "more", key: b"b", value: b"2" });
    let batch = Batch { mode: Mode::Sync, once: None, ops: ops.ops() };
    let answer = peer.ask(5, &Request::Batch(batch)).await;
    assert!(matches!(answer.response(), Response::Written(Written { durable: true, .. })));
    assert_eq!(peer.ask(6, &get("a")).await.value().as_deref(), Some(&b"1"[..]));
    let delete = Delete { keyspace: "rows", key: b"a", mode: Mode::Async, once: None };
    peer.ask(7, &Request::Delete(delete)).await;
    assert_eq!(peer.ask(8, &get("a")).await.value(), None);
    // A long value is out of line: the pool writes and reads it.
    let long = "x".repeat(300_000);
    peer.ask(9, &put("long", &long, Mode::Sync)).await;
    assert_eq!(peer.ask(10, &get("long")).await.value().as_deref(), Some(long.as_bytes()));
    for request in [Request::Watermarks, Request::Flush] {
        let answer = peer.ask(11, &request).await;
        assert!(matches!(answer.response(), Response::Marks(_)));
    }
    let checkpoint = Request::Checkpoint(Checkpoint { answer: Answer::AtEnd });
    let Response::Marks(marks) = peer.ask(12, &checkpoint).await.response() else { panic!() };
    assert!(marks.checkpoint > 0);
    let verify = Request::Verify(Verify { answer: Answer::AtEnd });
    let answer = peer.ask(13, &verify).await;
    let Response::Verified(verified) = answer.response() else { panic!() };
    assert_eq!((verified.problems.len(), verified.keyspaces), (0, 2));
    let answer = peer.ask(14, &Request::Stats).await;
    let Response::Figures(figures) = answer.response() else { panic!() };
    assert!(figures.figures.iter().any(|(name, value)| &**name == "keyspaces" && *value == 4));
    let drop = Request::DropKeyspace(DropKeyspace { name: "more" });
    assert_eq!(peer.ask(15, &drop).await.response(), Response::Done);
    let gone = Request::Get(Get { keyspace: "more", key: b"b" });
    assert_eq!(peer.ask(16, &gone).await.code(), Code::NoSuchKeyspace);
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_with_a_key_is_applied_once() {
    let store = store();
    let (server, address) = serve(store.clone(), &config()).await;
    let mut peer = Peer::greeted(address).await;
    let once = Some(&b"order 7"[..]);
    for (id, value, mode, expected) in [
        (2, "1", Mode::Sync, Applied::Now),
        (3, "2", Mode::Async, Applied::Before),
        (4, "3", Mode::Sync, Applied::Before),
    ] {
        let put = Put { keyspace: "rows", key: b"k", value: value.as_bytes(), mode, once };
        let answer = peer.ask(id, &Request::Put(put)).await;
        let Response::Written(written) = answer.response() else { panic!() };
        assert_eq!(written.applied, expected, "{value}");
    }
    assert_eq!(peer.ask(9, &get("k")).await.value().as_deref(), Some(&b"1"[..]));
    // The keyspace of idempotency keys is not accessible to clients.
    for keyspace in ["$once", "$else"] {
        let get = Request::Get(Get { keyspace, key: b"k" });
        assert_eq!(peer.ask(10, &get).await.code(), Code::InvalidName);
    }
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_only_writes_that_do_not_fit() {
    let disk = SimDisk::new();
    let options = Options::new().segment_bytes(64 << 10);
    let store = options.open_on(Arc::new(disk.clone())).unwrap();
    store.keyspace("rows").unwrap();
    let (server, address) = serve(store, &config()).await;
    let mut peer = Peer::greeted(address).await;
    peer.ask(2, &put("k", "v", Mode::Sync)).await;
    disk.set_capacity(Some(disk.used_bytes()));
    let value = "x".repeat(10_000);
    let mut refused = None;
    for id in 10..100 {
        let answer = peer.ask(id, &put("k2", &value, Mode::Sync)).await;
        if let Response::Error(failure) = answer.response() {
            refused = Some(failure.code);
            break;
        }
    }
    assert_eq!(refused, Some(Code::DiskFull));
    assert_eq!(peer.ask(3, &get("k")).await.value().as_deref(), Some(&b"v"[..]));
    disk.set_capacity(None);
    let answer = peer.ask(4, &put("k2", &value, Mode::Sync)).await;
    assert!(
        matches!(answer.response(), Response::Written(_)),
        "it is accepted once there is space"
    );
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failed_flush_reads_go_on_and_writes_get_the_reason() {
    let disk = SimDisk::new();
    let store = Options::new().open_on(Arc::new(disk.clone())).unwrap();
    store.keyspace("rows").unwrap();
    let (server, address) = serve(store, &config()).await;
    let mut peer = Peer::greeted(address).await;
    peer.ask(2, &put("k", "v", Mode::Sync)).await;
    disk.fail_sync(0);
    let (_, mut id) = (0, 10);
    for mode in [Mode::Sync, Mode::Async, Mode::Job, Mode::Sync] {
        let answer = peer.ask(id, &put("k", "w", mode)).await;
        assert_eq!(answer.code(), Code::Poisoned, "{mode:?}");
        id += 1;
    }
    assert!(peer.ask(3, &get("k")).await.value().is_some());
    let page = range(Order::Ascending, Delivery::Page { max_bytes: 10 });
    assert_eq!(peer.ask(4, &page).await.response().kind(), Kind::Entries);
    assert_eq!(peer.ask(5, &Request::Flush).await.code(), Code::Poisoned);
    assert!(server.stop().await.is_err(), "stop reports it as well");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_wait_for_a_flush_get_an_error_when_it_fails() {
    let disk = SimDisk::new();
    let (store, hold) = Hold::store_on(&disk);
    let (server, address) = serve(store, &config()).await;
    let mut peer = Peer::greeted(address).await;
    peer.ask(2, &put("k", "v", Mode::Sync)).await;
    hold.hold();
    let job = peer.ask(3, &put("k", "w", Mode::Job)).await.job().0;
    peer.add(4, &put("k", "x", Mode::Sync));
    peer.add(5, &Request::JobWait(JobWait { job: &job, timeout_ms: 600_000 }));
    peer.add(6, &Request::JobWatch(JobWatch { jobs: vec![&job], credit: 1 }));
    peer.send(7, &Request::Ping).await;
    assert_eq!(peer.answer().await.id, 7, "the others wait");
    disk.fail_sync(0);
    hold.let_go();
    let mut told = Vec::new();
    for _ in 0..3 {
        let answer = peer.answer().await;
        let named = answer.failure().job().map(str::to_owned);
        assert_eq!(answer.code(), Code::Poisoned, "the outcome is unknown");
        // A sync put has a job of its own.
        assert_eq!(answer.id != 4, named.as_ref() == Some(&job), "{answer:?}");
        assert!(named.is_some(), "it is in the log");
        told.push(answer.id);
    }
    told.sort_unstable();
    assert_eq!(told, [4, 5, 6]);
    let status = Request::JobStatus(JobStatus { job: &job });
    assert_eq!(peer.ask(8, &status).await.code(), Code::Poisoned);
    assert!(server.stop().await.is_err());
}

/// Whatever waits for a flush that fails: each write names its own job, a flush names none, a watch names
/// a job that it watches.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_that_waits_for_a_failed_flush_names_its_own_job() {
    let disk = SimDisk::new();
    let (store, hold) = Hold::store_on(&disk);
    let (server, address) = serve(store.clone(), &config()).await;
    let mut peer = Peer::greeted(address).await;
    peer.ask(2, &put("gone", "v", Mode::Sync)).await;
    hold.hold();
    let mut jobs = Vec::new();
    for (id, key) in [(3, "first"), (4, "second")] {
        let answer = peer.ask(id, &put(key, "v", Mode::Job)).await;
        let Response::Job(job) = answer.response() else { panic!("{answer:?}") };
        jobs.push(job.job.to_string());
    }
    peer.add(10, &Request::Flush);
    peer.add(11, &Request::JobWait(JobWait { job: &jobs[1], timeout_ms: 600_000 }));
    peer.add(12, &Request::JobWatch(JobWatch { jobs: vec![&jobs[0]], credit: 1 }));
    peer.add(13, &put("third", "v", Mode::Sync));
    peer.add(
        14,
        &Request::Delete(Delete { keyspace: "rows", key: b"gone", mode: Mode::Sync, once: None }),
    );
    let create = CreateKeyspace { name: "new", existing: Existing::Refuse };
    peer.add(15, &Request::CreateKeyspace(create));
    peer.flush().await;
    while store.open_keyspace("new").unwrap().is_none() {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    disk.fail_sync(0);
    hold.let_go();
    let mut named = std::collections::BTreeMap::new();
    while named.len() < 6 {
        let answer = peer.answer().await;
        assert_eq!(answer.code(), Code::Poisoned, "{answer:?}");
        named.insert(answer.id, answer.failure().job().map(str::to_owned));
    }
    assert_eq!(named[&10], None, "a flush is no write");
    assert_eq!(named[&11].as_ref(), Some(&jobs[1]));
    assert_eq!(named[&12].as_ref(), Some(&jobs[0]));
    let own: std::collections::BTreeSet<_> = [11, 12, 13, 14, 15].map(|id| &named[&id]).into();
    assert_eq!(own.len(), 5, "{named:?}");
    assert!(server.stop().await.is_err());
}

/// Sends puts of different keys while a flush fails. Each answer must hold after the store is opened
/// again: a put without a job is not there; a put with one is there exactly if its job is durable. Each has
/// a job of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failed_flush_exactly_the_logged_writes_report_a_job() {
    for seed in 0..12 {
        let disk = SimDisk::new();
        let (store, hold) = Hold::store_on(&disk);
        let (server, address) = serve(store.clone(), &config()).await;
        let mut peer = Peer::greeted(address).await;
        peer.ask(2, &put("before", "v", Mode::Sync)).await;
        hold.hold();
        let long = "x".repeat(30_000);
        let key = |id: u64| format!("key {id}");
        let add = |peer: &mut Peer, id: u64| {
            let mode = if id.is_multiple_of(2) { Mode::Sync } else { Mode::Job };
            let value = if (id + seed).is_multiple_of(5) { &long } else { "short" };
            peer.add(id, &put(&key(id), value, mode));
        };
        (10..31).for_each(|id| add(&mut peer, id));
        peer.flush().await;
        // Some of them are appended before the flush fails.
        let mut answers = std::collections::BTreeMap::new();
        for _ in 0..seed % 6 {
            let answer = peer.answer().await;
            answers.insert(answer.id, answer);
        }
        disk.fail_sync(0);
        hold.let_go();
        while store.poisoned().is_none() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        (31..40).for_each(|id| add(&mut peer, id));
        peer.flush().await;
        while answers.len() < 30 {
            let answer = peer.answer().await;
            answers.insert(answer.id, answer);
        }
        let jobs = answers.values().map(|answer| match answer.response() {
            Response::Error(failure) => {
                assert_eq!(failure.code, Code::Poisoned);
                (answer.id, failure.job().map(str::to_owned))
            }
            Response::Job(job) => (answer.id, Some(job.job.to_string())),
            other => panic!("seed {seed}: {other:?} while no flush succeeds"),
        });
        let jobs: Vec<(u64, Option<String>)> = jobs.collect();
        assert!(jobs.iter().any(|(_, job)| job.is_none()), "the last are not begun");
        let named: Vec<&String> = jobs.iter().filter_map(|(_, job)| job.as_ref()).collect();
        let distinct: std::collections::BTreeSet<_> = named.iter().collect();
        assert_eq!(distinct.len(), named.len(), "seed {seed}: a job for each write");
        drop(store);
        assert!(server.stop().await.is_err());
        // Whatever the device has kept of unflushed writes.
        let keep = [Keep::Nothing, Keep::Everything, Keep::Seeded(seed)][seed as usize % 3].clone();
        let store = Options::new().open_on(Arc::new(disk.crash(keep))).unwrap();
        let rows = store.keyspace("rows").unwrap();
        for (id, job) in jobs {
            let is_there = rows.get(key(id)).unwrap().is_some();
            match job {
                None => assert!(!is_there, "seed {seed}: {id} was not begun"),
                Some(job) => {
                    let expected = if is_there { Status::Durable } else { Status::Lost };
                    assert_eq!(store.status(&job).unwrap(), expected, "seed {seed}: {id}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keyspaces_are_created_and_dropped_durably() {
    let disk = SimDisk::new();
    let slow = || Options::new().flush_interval(std::time::Duration::from_secs(3600));
    let store = slow().open_on(Arc::new(disk.clone())).unwrap();
    store.keyspace("dropped").unwrap();
    let (server, address) = serve(store, &config()).await;
    let mut peer = Peer::greeted(address).await;
    for (id, name, existing) in
        [(2, "refused", Existing::Refuse), (3, "accepted", Existing::Accept)]
    {
        let create = Request::CreateKeyspace(CreateKeyspace { name, existing });
        assert_eq!(peer.ask(id, &create).await.response(), Response::Done);
    }
    let again = CreateKeyspace { name: "accepted", existing: Existing::Accept };
    assert_eq!(peer.ask(4, &Request::CreateKeyspace(again)).await.response(), Response::Done);
    let dropped = Request::DropKeyspace(DropKeyspace { name: "dropped" });
    assert_eq!(peer.ask(5, &dropped).await.response(), Response::Done);
    assert_eq!(peer.ask(6, &dropped).await.code(), Code::NoSuchKeyspace);
    let disk = disk.crash(Keep::Nothing);
    drop(server);
    let names = slow().open_on(Arc::new(disk)).unwrap().keyspaces();
    let names: Vec<_> = names.iter().filter(|name| !name.starts_with('$')).collect();
    assert_eq!(names, ["accepted", "refused"]);
}
