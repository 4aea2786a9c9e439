//! How connections, clients and runtimes end.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::super::deadline::Deadline;
use super::super::{Client, Connection, Error};
use super::fake::{Fake, begin};
use crate::CommitMode;
use crate::net::proto::{Applied, Code, CommitPosition, Failure, Goodbye, Kind, Response, Written};

fn secs(number: u64) -> Duration {
    Duration::from_secs(number)
}

fn goodbye() -> Response<'static> {
    Response::Goodbye(Goodbye { code: Code::ShuttingDown, message: "bye".into(), drain_ms: 10_000 })
}

fn written() -> Response<'static> {
    let receipt = CommitPosition { incarnation: 1, lsn: 7 };
    Response::Written(Written { receipt, durable: true, applied: Applied::Now })
}

#[tokio::test(start_paused = true)]
async fn draining_link_is_closed_by_the_client_when_nothing_is_in_flight() {
    let mut fake = Fake::new();
    let (client, mut old) = fake.client(Client::options()).await;
    let put = client.clone();
    let put = begin(async move { put.existing_keyspace("rows").put("k", "v").await });
    let asked = old.asked().await;
    old.say(0, goodbye()).await;
    tokio::spawn(fake.greeted().await.answer_pings());
    client.ping().await.unwrap();
    assert!(timeout(secs(3), old.next()).await.is_err(), "a put is in flight");
    old.say(asked.id, written()).await;
    assert!(put.await.unwrap().unwrap().is_durable());
    assert!(timeout(secs(1), old.next()).await.unwrap().is_none(), "the client has hung up");
}

#[tokio::test(start_paused = true)]
async fn draining_server_loses_its_connection_after_its_drain_time() {
    let mut fake = Fake::new();
    let (client, mut old) = fake.client(Client::options().request_timeout(None)).await;
    let put = begin(async move { client.existing_keyspace("rows").put("k", "v").await });
    old.asked().await;
    old.say(0, goodbye()).await;
    let server = tokio::spawn(old.answer_pings());
    let error = timeout(secs(15), put).await.expect("it ends").unwrap().unwrap_err();
    assert!(matches!(error, Error::Lost { .. }), "{error}");
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn closed_client_finishes_requests_in_flight_and_takes_no_new_ones() {
    let mut fake = Fake::new();
    let (client, mut peer) = fake.client(Client::options()).await;
    let mut events = client.watch_connection();
    let put = client.clone();
    let put = begin(async move { put.existing_keyspace("rows").put("k", "v").await });
    let asked = peer.asked().await;
    let closing = client.clone();
    let closing = tokio::spawn(async move { closing.close().await });
    assert!(matches!(events.next().await, Some(Connection::Closed)));
    assert!(events.next().await.is_none());
    let refused = client.ping().await.unwrap_err();
    assert!(matches!(refused, Error::Closed { .. }), "{refused}");
    assert!(refused.is_undone() && !refused.is_retryable() && !client.is_connected());
    peer.say(asked.id, written()).await;
    put.await.unwrap().unwrap();
    closing.await.unwrap();
    assert!(peer.next().await.is_none());
    client.close().await;
}

/// The permit is free when the server has answered, so both sides count alike.
#[tokio::test(start_paused = true)]
async fn dropped_future_cancels_its_request_and_frees_its_permit() {
    let mut fake = Fake::new();
    let options = Client::options().max_in_flight(1).keep_alive(Duration::ZERO);
    let (client, mut peer) = fake.client(options).await;
    for _ in 0..3 {
        let get = client.clone();
        let get = begin(async move { get.existing_keyspace("rows").get("k").await });
        let first = peer.asked().await;
        let put = client.clone();
        let put = begin(async move { put.existing_keyspace("rows").put("k", "v").await });
        assert!(timeout(secs(5), peer.next()).await.is_err(), "there is one permit");
        get.abort();
        assert_eq!(peer.asked().await.cancelled, Some(first.id));
        assert!(timeout(secs(5), peer.next()).await.is_err(), "the server has not answered yet");
        peer.refuse(first.id, Failure::new(Code::Cancelled, "given up")).await;
        let second = peer.asked().await;
        assert_eq!(second.kind, Kind::Put);
        peer.say(second.id, written()).await;
        put.await.unwrap().unwrap();
    }
}

/// The writer is in the middle of a write that the server does not take.
#[tokio::test(start_paused = true)]
async fn blocked_writer_is_gone_soon_after_its_client() {
    for is_dropped in [true, false] {
        let mut fake = Fake::new();
        let (client, peer) = fake.client(Client::options().keep_alive(secs(5))).await;
        let link = Arc::downgrade(&client.link(&Deadline::NONE).await.unwrap());
        let put = client.clone();
        let value = vec![7; 900 << 10];
        let put = begin(async move {
            put.existing_keyspace("rows").put_with("k", value, CommitMode::Async).await
        });
        sleep(secs(1)).await;
        if is_dropped {
            put.abort();
            drop(client);
        } else {
            // The connection ends since no ping is answered.
            assert!(matches!(put.await.unwrap(), Err(Error::Lost { .. })));
        }
        sleep(secs(2)).await;
        assert!(link.upgrade().is_none(), "its tasks are gone, with their buffers");
        drop(peer);
    }
}

#[test]
fn client_whose_runtime_has_ended_says_so() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let mut fake = Fake::new();
    let (client, mut entries, mut events, mut marks, peer) = first.block_on(async {
        let (client, mut peer) = fake.client(Client::options()).await;
        let entries = client.existing_keyspace("rows").iter().entries().await.unwrap();
        assert_eq!(peer.asked().await.kind, Kind::Range);
        let events = client.watch_jobs(["a job"]);
        let marks = client.watch_watermarks(Duration::ZERO);
        (client, entries, events, marks, peer)
    });
    let call = client.clone();
    let waiting = second.spawn(async move { call.job("a job").wait(secs(600)).await });
    second.block_on(tokio::task::yield_now());
    drop(first);
    assert!(!client.is_connected());
    let told = async {
        assert!(waiting.await.unwrap().is_err());
        assert!(matches!(client.ping().await, Err(Error::Closed { .. })));
        assert!(entries.next().await.unwrap().is_err() && entries.next().await.is_none());
        assert!(matches!(events.next().await, Some(Err(Error::Closed { .. }))));
        assert!(matches!(marks.next().await, Some(Err(Error::Closed { .. }))));
    };
    second.block_on(async { timeout(secs(20), told).await.expect("all learn of it at once") });
    drop(peer);
}
