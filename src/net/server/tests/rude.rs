//! Clients that vanish, replay packets, or send byte by byte: nothing of them stays behind.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::peer::{Hold, Peer, config, get, put, serve, store};
use crate::net::proto::{
    Applied, JobWait, JobWatch, MAX_BODY, Mode, Put, Request, Response, WatchWatermarks, Written,
};
use crate::net::server::Config;

/// A metric of the server, as Prometheus sees it.
async fn figure(metrics: SocketAddr, name: &str) -> i64 {
    let mut socket = tokio::net::TcpStream::connect(metrics).await.unwrap();
    socket.write_all(b"GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut page = String::new();
    socket.read_to_string(&mut page).await.unwrap();
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name}: {page}")).trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_return_to_zero_after_waiting_clients_vanish() {
    let (store, hold) = Hold::store();
    let metrics = Some("127.0.0.1:0".parse().unwrap());
    let (server, address) = serve(store, &Config { metrics, ..config() }).await;
    let metrics = server.metrics_address().unwrap();
    let mut first = Peer::greeted(address).await;
    first.ask(2, &put("k", "v", Mode::Sync)).await;
    hold.hold();
    let job = first.ask(3, &put("k", "w", Mode::Job)).await.job().0;
    let mut peers = Vec::new();
    for _ in 0..10 {
        let mut peer = Peer::greeted(address).await;
        peer.add(2, &Request::JobWait(JobWait { job: &job, timeout_ms: 600_000 }));
        peer.add(3, &Request::JobWatch(JobWatch { jobs: vec![&job], credit: 9 }));
        peer.add(4, &Request::WatchWatermarks(WatchWatermarks { credit: 9, min_interval_ms: 9 }));
        peer.add(5, &put("k", "x", Mode::Sync));
        peer.send(6, &get("k")).await;
        while peer.answer().await.id != 6 {}
        peers.push(peer);
    }
    while figure(metrics, "syncline_requests_in_flight").await < 40 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // Some close, some shut their sending side, some leave a part of a packet behind.
    for (number, mut peer) in peers.into_iter().enumerate() {
        match number % 3 {
            0 => {}
            1 => peer.end_output().await,
            _ => peer.raw(&[9, 0, 0]).await,
        }
    }
    drop(first);
    // Only now, so that their requests were in flight when they vanished.
    hold.let_go();
    for name in ["syncline_requests_in_flight", "syncline_connections_open"] {
        while figure(metrics, name).await > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn replayed_packets_with_an_idempotency_key_are_applied_once() {
    let (server, address) = serve(store(), &config()).await;
    let mut peer = Peer::greeted(address).await;
    let (keyspace, key, value, mode) = ("rows", &b"k"[..], &b"1"[..], Mode::Sync);
    let once = Request::Put(Put { keyspace, key, value, mode, once: Some(b"o") });
    let mut replayed = Vec::new();
    once.encode(9, 0, MAX_BODY, &mut replayed).unwrap();
    for (time, expected) in [Applied::Now, Applied::Before, Applied::Before].iter().enumerate() {
        peer.raw(&replayed).await;
        let answer = peer.answer().await;
        let Response::Written(Written { applied, .. }) = answer.response() else { panic!() };
        assert_eq!((answer.id, &applied), (9, expected), "time {time}");
        peer.ask(10, &put("k", "newer", Mode::Async)).await;
    }
    // Also when replayed on another connection.
    let mut other = Peer::greeted(address).await;
    other.raw(&replayed).await;
    other.answer().await;
    assert_eq!(other.ask(2, &get("k")).await.value().as_deref(), Some(&b"newer"[..]));
    server.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_packet_sent_byte_by_byte_has_the_same_time_limit() {
    let (server, address) = serve(store(), &config()).await;
    let mut peer = Peer::greeted(address).await;
    let mut bytes = Vec::new();
    put("k", &"x".repeat(100), Mode::Async).encode(5, 0, MAX_BODY, &mut bytes).unwrap();
    let mut sent = 0;
    for byte in &bytes {
        if peer.try_raw(&[*byte]).await.is_err() {
            break;
        }
        sent += 1;
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    assert!(sent < bytes.len(), "it was cut off");
    let mut other = Peer::greeted(address).await;
    assert_eq!(other.ask(2, &get("k")).await.value(), None);
    drop(server);
}
