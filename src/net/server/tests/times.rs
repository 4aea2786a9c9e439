//! Time limits: idle connections, streams, pushes, the drain.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::peer::{Hold, Peer, config, get, put, serve, store};
use crate::net::proto::{
    At, Bound, Code, Delivery, JobWait, Mode, Order, Range, Request, Response, WatchWatermarks,
};
use crate::net::server::Config;

#[tokio::test(start_paused = true)]
async fn pings_or_a_request_in_flight_keep_the_connection_alive() {
    let (server, address) = serve(store(), &Config { idle_ms: 10_000, ..config() }).await;
    let mut pings = Peer::greeted(address).await;
    for id in 2..8 {
        sleep(Duration::from_secs(9)).await;
        assert_eq!(pings.ask(id, &Request::Ping).await.response(), Response::Pong);
    }
    let mut waits = Peer::greeted(address).await;
    waits.patience = Duration::from_secs(1000);
    let watch = WatchWatermarks { credit: 0, min_interval_ms: 0 };
    waits.send_within(2, 60_000, &Request::WatchWatermarks(watch)).await;
    let begun = Instant::now();
    assert_eq!(waits.answer().await.code(), Code::DeadlineExceeded);
    assert!(begun.elapsed() >= Duration::from_secs(60));
    // From then on it is idle.
    assert_eq!(waits.answer().await.code(), Code::Idle);
    drop(server);
}

#[tokio::test(start_paused = true)]
async fn watermark_events_keep_the_requested_minimum_interval() {
    let (server, address) = serve(store(), &config()).await;
    let mut peer = Peer::greeted(address).await;
    let watch = WatchWatermarks { credit: 100, min_interval_ms: 5000 };
    peer.ask(2, &Request::WatchWatermarks(watch)).await;
    let mut other = Peer::greeted(address).await;
    for round in 0..3 {
        let begun = Instant::now();
        for id in 0..5 {
            other.ask(2 + id, &put("k", "v", Mode::Async)).await;
        }
        let event = peer.answer().await;
        assert!(matches!(event.response(), Response::MarksEvent(_)));
        assert!(begun.elapsed() >= Duration::from_millis(4000), "round {round}: it waits");
    }
    drop(server);
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_when_its_snapshot_reaches_the_configured_age() {
    let (server, address) = serve(store(), &Config { stream_ms: 7000, ..config() }).await;
    let mut peer = Peer::greeted(address).await;
    let (lower, upper, limit, at) = (Bound::Unbounded, Bound::Unbounded, None, At::Latest);
    let (keyspace, order, delivery) = ("rows", Order::Ascending, Delivery::Stream { credit: 0 });
    let begun = Instant::now();
    let range = Request::Range(Range { keyspace, lower, upper, order, limit, delivery, at });
    let ended = peer.ask(2, &range).await;
    assert_eq!(ended.code(), Code::DeadlineExceeded);
    assert!(ended.failure().message.contains("snapshot"), "{}", ended.failure());
    assert!(begun.elapsed() >= Duration::from_secs(7));
    assert_eq!(peer.ask(2, &get("k")).await.value(), None, "and its id is free");
    drop(server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_has_a_time_limit_and_waiting_requests_are_ended_at_once() {
    let (store, hold) = Hold::store();
    let (server, address) = serve(store, &Config { drain_ms: 20, ..config() }).await;
    let mut peer = Peer::greeted(address).await;
    let job = peer.ask(2, &put("k", "v", Mode::Job)).await.job().0;
    peer.ask(3, &Request::JobWait(JobWait { job: &job, timeout_ms: 600_000 })).await;
    hold.hold();
    let job = peer.ask(4, &put("k", "w", Mode::Job)).await.job().0;
    let watch = WatchWatermarks { credit: 0, min_interval_ms: 0 };
    peer.add(5, &put("k", "x", Mode::Sync));
    peer.add(6, &Request::JobWait(JobWait { job: &job, timeout_ms: 600_000 }));
    peer.add(7, &Request::WatchWatermarks(watch));
    peer.send(8, &Request::Ping).await;
    while peer.answer().await.id != 8 {}
    let stopping = tokio::spawn(server.stop());
    let goodbye = peer.answer().await;
    let Response::Goodbye(goodbye) = goodbye.response() else { panic!() };
    assert_eq!((goodbye.code, goodbye.drain_ms), (Code::ShuttingDown, 20));
    for id in [6, 7] {
        let told = peer.answer().await;
        assert_eq!((told.id, told.code()), (id, Code::ShuttingDown));
    }
    assert!(peer.next().await.is_none(), "the write is not answered: its device is stalled");
    hold.let_go();
    stopping.await.unwrap().unwrap();
}
