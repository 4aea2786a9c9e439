//! Shutdown: requests in flight are finished, and every client is told.

use super::peer::{Hold, Peer, config, get, put, serve, store};
use crate::net::proto::{Code, JobWait, Mode, Request, Response, WatchWatermarks, Written};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_finishes_requests_in_flight_and_refuses_new_ones() {
    let (store, hold) = Hold::store();
    let (server, address) = serve(store.clone(), &config()).await;
    let mut peer = Peer::greeted(address).await;
    peer.ask(2, &put("k", "v", Mode::Async)).await;
    hold.hold();
    let job = peer.ask(3, &put("k", "w", Mode::Job)).await.job().0;
    peer.add(4, &put("k", "x", Mode::Sync));
    peer.add(5, &Request::JobWait(JobWait { job: &job, timeout_ms: 600_000 }));
    peer.send(6, &Request::Ping).await;
    assert_eq!(peer.answer().await.id, 6);
    let stopping = tokio::spawn(server.stop());
    let goodbye = peer.answer().await;
    let Response::Goodbye(goodbye) = goodbye.response() else { panic!() };
    assert_eq!((goodbye.code, goodbye.drain_ms), (Code::ShuttingDown, 10_000));
    let wait = peer.answer().await;
    assert_eq!((wait.id, wait.code()), (5, Code::ShuttingDown));
    assert_eq!(peer.ask(7, &Request::Ping).await.code(), Code::ShuttingDown);
    hold.let_go();
    let last = peer.answer().await;
    assert_eq!(last.id, 4);
    assert!(matches!(last.response(), Response::Written(Written { durable: true, .. })));
    assert!(peer.next().await.is_none());
    stopping.await.unwrap().unwrap();
    assert!(store.checkpoint().is_err(), "the store is closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_shuts_its_sending_side_is_answered() {
    let (server, address) = serve(store(), &config()).await;
    let mut peer = Peer::greeted(address).await;
    peer.add(2, &put("k", "v", Mode::Sync));
    peer.flush().await;
    peer.end_output().await;
    assert!(matches!(peer.answer().await.response(), Response::Written(_)));
    assert!(peer.next().await.is_none());
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_sending_side_is_shut_writes_are_answered_and_polls_cancelled() {
    let (store, hold) = Hold::store();
    let (server, address) = serve(store, &config()).await;
    let mut peer = Peer::greeted(address).await;
    peer.ask(2, &put("k", "v", Mode::Async)).await;
    hold.hold();
    let job = peer.ask(3, &put("k", "w", Mode::Job)).await.job().0;
    let watch = WatchWatermarks { credit: 0, min_interval_ms: 0 };
    peer.add(4, &put("k", "x", Mode::Sync));
    peer.add(5, &Request::JobWait(JobWait { job: &job, timeout_ms: 600_000 }));
    peer.add(6, &Request::WatchWatermarks(watch));
    peer.add(7, &Request::Keyspaces);
    peer.add(8, &get("k"));
    peer.flush().await;
    peer.end_output().await;
    let mut told = Vec::new();
    while told.len() < 4 {
        let answer = peer.answer().await;
        if answer.id == 5 || answer.id == 6 {
            assert_eq!(answer.code(), Code::Cancelled);
        }
        told.push(answer.id);
    }
    told.sort_unstable();
    assert_eq!(told, [5, 6, 7, 8], "and the write waits for the device");
    hold.let_go();
    let last = peer.answer().await;
    assert!(last.id == 4 && matches!(last.response(), Response::Written(_)));
    assert!(peer.next().await.is_none());
    server.stop().await.unwrap();
}

/// A client may have sent a write before it reads the goodbye. Without an answer it would not know the
/// outcome of that write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_crosses_the_goodbye_is_refused_and_not_lost() {
    let (server, address) = serve(store(), &config()).await;
    let mut peer = Peer::greeted(address).await;
    peer.ask(2, &put("k", "v", Mode::Sync)).await;
    let stopping = tokio::spawn(server.stop());
    assert!(matches!(peer.answer().await.response(), Response::Goodbye(_)));
    for id in 3..6 {
        assert_eq!(peer.ask(id, &put("k", "w", Mode::Sync)).await.code(), Code::ShuttingDown);
    }
    // Once the client has closed, the drain does not wait for its time limit.
    drop(peer);
    stopping.await.unwrap().unwrap();
}
