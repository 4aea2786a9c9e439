//! Malicious and broken clients: the errors that they get, and that other clients are served.

use std::time::Duration;

use super::peer::{Hold, Peer, config, get, hello, put, serve, store};
use crate::net::proto::{Code, JobWait, Kind, MAX_BODY, Mode, Request, Response};
use crate::net::server::Config;

/// A packet of any kind with any body, its checksum right.
pub(super) fn packet(id: u64, kind: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; 24];
    packet[..4].copy_from_slice(&u32::try_from(body.len()).unwrap().to_le_bytes());
    packet[8..16].copy_from_slice(&id.to_le_bytes());
    packet[16] = kind;
    packet.extend_from_slice(body);
    seal(packet)
}

/// The same packet with the right checksum.
pub(super) fn seal(mut packet: Vec<u8>) -> Vec<u8> {
    let crc = crc32fast::hash(&packet[8..]);
    packet[4..8].copy_from_slice(&crc.to_le_bytes());
    packet
}

#[tokio::test]
async fn a_broken_packet_ends_the_connection_with_the_reason() {
    let (server, address) = serve(store(), &config()).await;
    let mut wrong_crc = packet(5, Kind::Ping.number(), b"");
    wrong_crc[4] ^= 1;
    let mut reserved = packet(5, Kind::Ping.number(), b"");
    reserved[18] = 1;
    let reserved = seal(reserved);
    let oversized = (MAX_BODY + 1).to_le_bytes().to_vec();
    for (bytes, code) in [
        (wrong_crc, Code::BrokenPacket),
        (reserved, Code::BrokenPacket),
        (oversized, Code::TooLarge),
        (hello_packet(), Code::BadHandshake),
    ] {
        let mut peer = Peer::greeted(address).await;
        peer.raw(&bytes).await;
        let last = peer.answer().await;
        assert_eq!((last.id, last.code()), (0, code));
        let (failure, wanted) = (last.failure(), code == Code::TooLarge);
        assert_eq!(failure.detail("len"), wanted.then_some("16777217"));
        assert_eq!(failure.detail("max"), wanted.then_some("16777216"));
        assert!(peer.next().await.is_none(), "{code:?} ends the connection");
    }
    server.stop().await.unwrap();
}

fn hello_packet() -> Vec<u8> {
    let mut bytes = Vec::new();
    hello(None).encode(5, 0, MAX_BODY, &mut bytes).unwrap();
    bytes
}

#[tokio::test]
async fn an_invalid_request_is_answered_and_the_connection_goes_on() {
    let (server, address) = serve(store(), &config()).await;
    let mut peer = Peer::greeted(address).await;
    let wrong = [
        (7, &b""[..], Code::Unsupported),
        (Kind::Value.number(), b"", Code::Unsupported),
        (Kind::Get.number(), b"", Code::Malformed),
        (Kind::Get.number(), b"\xff\xff\xff", Code::Malformed),
        (Kind::Ping.number(), b"x", Code::Malformed),
        (Kind::Batch.number(), b"\x00\x00\xfd\xff\xff\xff\xff\xff\xff\xff\xff", Code::Malformed),
        (Kind::JobStatus.number(), b"\x03abc", Code::InvalidToken),
    ];
    for (id, (kind, body, code)) in (10..).zip(wrong) {
        peer.raw(&packet(id, kind, body)).await;
        let answer = peer.answer().await;
        assert_eq!((answer.id, answer.code()), (id, code), "kind {kind}");
    }
    assert_eq!(peer.ask(9, &Request::Ping).await.response(), Response::Pong);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn bytes_may_come_one_by_one() {
    let (server, address) = serve(store(), &config()).await;
    let mut peer = Peer::silent(address).await;
    let mut bytes = hello_packet();
    put("k", "v", Mode::Sync).encode(6, 0, MAX_BODY, &mut bytes).unwrap();
    get("k").encode(7, 0, MAX_BODY, &mut bytes).unwrap();
    for byte in bytes {
        peer.raw(&[byte]).await;
        tokio::task::yield_now().await;
    }
    assert!(matches!(peer.answer().await.response(), Response::Welcome(_)));
    let mut ids = [peer.answer().await.id, peer.answer().await.id];
    ids.sort_unstable();
    assert_eq!(ids, [6, 7]);
    server.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_too_long_gets_the_reason_and_is_ended() {
    let (server, address) = serve(store(), &config()).await;
    // 1. A client that sends nothing, or sends its hello too slowly.
    let mut silent = Peer::silent(address).await;
    assert_eq!(silent.answer().await.code(), Code::TooSlow);
    assert!(silent.next().await.is_none());
    let mut slow = Peer::silent(address).await;
    let mut code = None;
    for byte in hello_packet() {
        if slow.try_raw(&[byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    if let Some(answer) = slow.next().await {
        code = Some(answer.code());
    }
    assert!(code.is_none_or(|code| code == Code::TooSlow));
    // 2. A client that does not finish a packet.
    let mut half = Peer::greeted(address).await;
    half.raw(&packet(5, Kind::Ping.number(), b"")[..20]).await;
    assert_eq!(half.answer().await.code(), Code::TooSlow);
    // 3. A client that is idle.
    let mut idle = Peer::greeted(address).await;
    idle.patience = Duration::from_secs(10_000);
    assert_eq!(idle.answer().await.code(), Code::Idle);
    assert!(idle.next().await.is_none());
    drop(server);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_is_not_read_from_and_then_ended() {
    let store = store();
    let rows = store.open_keyspace("rows").unwrap().unwrap();
    rows.put("k", vec![7; 1000]).unwrap();
    let config = Config { max_output_bytes: 4096, ..config() };
    let (server, address) = serve(store, &config).await;
    let mut good = Peer::greeted(address).await;
    good.ask(2, &get("k")).await;
    let mut greedy = Peer::greeted(address).await;
    for id in 10..20_000 {
        greedy.add(id, &get("k"));
    }
    // 20 MB of answers do not fit into the sockets' buffers.
    let _ = tokio::time::timeout(Duration::from_secs(5), greedy.flush()).await;
    good.ask(3, &get("k")).await;
    tokio::time::sleep(Duration::from_secs(40)).await;
    let mut answers = 0;
    while greedy.next().await.is_some() {
        answers += 1;
    }
    assert!(answers < 19_990, "it was ended: {answers} answers");
    good.ask(4, &get("k")).await;
    drop(server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_vanishes_leaves_nothing_behind() {
    let (store, hold) = Hold::store();
    let (server, address) = serve(store, &config()).await;
    let mut peer = Peer::greeted(address).await;
    peer.ask(2, &put("k", "v", Mode::Async)).await;
    hold.hold();
    let job = peer.ask(3, &put("k", "w", Mode::Job)).await.job().0;
    peer.add(4, &Request::JobWait(JobWait { job: &job, timeout_ms: 600_000 }));
    peer.add(5, &put("k", "x", Mode::Sync));
    peer.send(6, &Request::Ping).await;
    assert_eq!(peer.answer().await.id, 6);
    drop(peer);
    let mut other = Peer::greeted(address).await;
    hold.let_go();
    while server.connections() > 1 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(other.ask(2, &get("k")).await.value().as_deref(), Some(&b"x"[..]));
    server.stop().await.unwrap();
}
