//! Refusals: their ids and details.

use super::hostile::{packet, seal};
use super::peer::{Answer, Hold, Peer, config, get, hello, put, serve, store};
use crate::net::proto::{
    Batch, Cancel, Code, CreateKeyspace, Credit, DropKeyspace, Existing, Get, JobStatus, Kind,
    MAX_BODY, MAX_HELLO, Mode, OpsBuffer, Put, Request, Response, WatchWatermarks,
};
use crate::net::server::Config;
use crate::{Options, Store};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_packet_never_answers_the_request_in_flight_with_its_id() {
    let (store, hold) = Hold::store();
    let (server, address) = serve(store, &config()).await;
    let mut peer = Peer::greeted(address).await;
    peer.ask(2, &put("k", "v", Mode::Async)).await;
    hold.hold();
    peer.send(3, &put("k", "w", Mode::Sync)).await;
    for (kind, body) in [(7, &b""[..]), (Kind::Value.number(), b""), (Kind::Get.number(), b"?")] {
        for id in [3_u64, 0] {
            peer.raw(&packet(id, kind, body)).await;
            let refused = peer.answer().await;
            assert_eq!((refused.id, refused.code()), (0, Code::BadId), "kind {kind}, id {id}");
            assert_eq!(refused.failure().detail("id"), Some(id.to_string().as_str()));
        }
    }
    hold.let_go();
    let answer = peer.answer().await;
    assert!(answer.id == 3 && matches!(answer.response(), Response::Written(_)));
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_and_credit_are_never_answered() {
    let (server, address) = serve(store(), &config()).await;
    let mut peer = Peer::greeted(address).await;
    let watch = WatchWatermarks { credit: 0, min_interval_ms: 0 };
    peer.send(5, &Request::WatchWatermarks(watch)).await;
    // 1. Their own id is ignored: it may even be that of a request in flight.
    for own in [0, 5, 6] {
        peer.add(own, &Request::Credit(Credit { id: 99, more: 1 }));
        peer.add(own, &Request::Cancel(Cancel { id: 99 }));
    }
    assert_eq!(peer.ask(7, &Request::Ping).await.response(), Response::Pong);
    // 2. A malformed one is answered with id 0, because no request has it.
    for kind in [Kind::Cancel, Kind::Credit] {
        peer.raw(&packet(5, kind.number(), b"")).await;
        let refused = peer.answer().await;
        assert_eq!((refused.id, refused.code()), (0, Code::Malformed));
    }
    peer.send(0, &Request::Cancel(Cancel { id: 5 })).await;
    let cancelled = peer.answer().await;
    assert_eq!((cancelled.id, cancelled.code()), (5, Code::Cancelled));
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_request_in_parts_is_malformed() {
    let (server, address) = serve(store(), &config()).await;
    let mut peer = Peer::greeted(address).await;
    let mut bytes = Vec::new();
    put("k", "v", Mode::Sync).encode(5, 0, MAX_BODY, &mut bytes).unwrap();
    bytes[17] = 1;
    peer.raw(&seal(bytes)).await;
    let refused = peer.answer().await;
    assert_eq!((refused.id, refused.code()), (5, Code::Malformed));
    assert!(refused.failure().message.contains("more"), "{}", refused.failure());
    assert_eq!(peer.ask(6, &get("k")).await.value(), None, "nothing of it was done");
    let mut silent = Peer::silent(address).await;
    let mut bytes = Vec::new();
    hello(None).encode(1, 0, MAX_BODY, &mut bytes).unwrap();
    bytes[17] = 1;
    silent.raw(&seal(bytes)).await;
    assert_eq!(silent.answer().await.code(), Code::BadHandshake);
    server.stop().await.unwrap();
}

/// The details of an error, sorted.
fn details(answer: &Answer) -> Vec<(String, String)> {
    let detail = answer.failure().detail;
    let mut all: Vec<_> =
        detail.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    all.sort();
    all
}

fn small_values() -> Store {
    let disk = std::sync::Arc::new(crate::engine::disk::SimDisk::new());
    let store = Options::new().max_value_bytes(5000).open_on(disk).unwrap();
    store.keyspace("rows").unwrap();
    store
}

#[tokio::test]
async fn error_details_are_those_of_the_protocol() {
    let store = small_values();
    let keyspace = store.open_keyspace("rows").unwrap().unwrap();
    keyspace.put("long", vec![b'x'; 4500]).unwrap();
    let (server, address) = serve(store, &config()).await;
    let mut peer = Peer::silent(address).await;
    let Request::Hello(mut hello) = hello(None) else { unreachable!() };
    hello.max_body = MAX_HELLO;
    peer.ask(1, &Request::Hello(hello)).await;
    let (long, value) = ("k".repeat(3000), "v".repeat(6000));
    let create =
        |name| Request::CreateKeyspace(CreateKeyspace { name, existing: Existing::Refuse });
    for (request, code, expected) in [
        (get("long"), Code::TooLarge, &[("len", "4500"), ("max", "4096")][..]),
        (put(&long, "v", Mode::Sync), Code::KeyTooLong, &[("len", "3000"), ("max", "1024")]),
        (put("k", &value, Mode::Sync), Code::ValueTooLong, &[("len", "6000"), ("max", "5000")]),
        (create("rows"), Code::KeyspaceExists, &[("name", "rows")]),
        (create("$own"), Code::InvalidName, &[("name", "$own")]),
        (create(""), Code::InvalidName, &[("name", "")]),
        (
            Request::DropKeyspace(DropKeyspace { name: "none" }),
            Code::NoSuchKeyspace,
            &[("name", "none")],
        ),
        (Request::Get(Get { keyspace: "a\nb", key: b"k" }), Code::InvalidName, &[("name", "a\nb")]),
        (
            Request::JobStatus(JobStatus { job: "x" }),
            Code::InvalidToken,
            &[("reason", "*"), ("token", "x")],
        ),
    ] {
        let answer = peer.ask(2, &request).await;
        assert_eq!(answer.code(), code, "{:?}", answer.failure());
        let found = details(&answer);
        let is_so = |((name, value), (known, wanted)): (&(String, String), &(&str, &str))| {
            name == known && (value == wanted || *wanted == "*")
        };
        assert!(
            found.len() == expected.len() && found.iter().zip(expected).all(is_so),
            "{code:?}: {found:?}"
        );
    }
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_without_operations_is_answered_in_every_mode() {
    let (server, address) = serve(store(), &config()).await;
    let mut peer = Peer::greeted(address).await;
    let ops = OpsBuffer::new();
    for (id, mode) in (2..).zip([Mode::Sync, Mode::Async, Mode::Job]) {
        let batch = |once| Request::Batch(Batch { mode, once, ops: ops.ops() });
        for once in [None, Some(&b"o"[..])] {
            let answer = peer.ask(id, &batch(once)).await;
            let is_job = matches!(answer.response(), Response::Job(_));
            assert!(is_job == (mode == Mode::Job), "{:?}", answer.response());
        }
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_refusal_names_the_limit_of_the_connection() {
    let config = Config { max_in_flight: 2, max_subscriptions: 1, ..config() };
    let (store, hold) = Hold::store();
    let (server, address) = serve(store, &config).await;
    let mut peer = Peer::greeted(address).await;
    let watch = Request::WatchWatermarks(WatchWatermarks { credit: 0, min_interval_ms: 0 });
    peer.send(2, &watch).await;
    let refused = peer.ask(3, &watch).await;
    assert_eq!(refused.code(), Code::TooManySubscriptions);
    assert_eq!(refused.failure().detail("max"), Some("1"));
    hold.hold();
    let (keyspace, key, value, once) = ("rows", &b"k"[..], &b"v"[..], None);
    let put = Request::Put(Put { keyspace, key, value, mode: Mode::Sync, once });
    peer.send(4, &put).await;
    let refused = peer.ask(5, &put).await;
    assert_eq!(refused.code(), Code::TooManyInFlight);
    assert_eq!(refused.failure().detail("max"), Some("2"));
    hold.let_go();
    server.stop().await.unwrap();
}
