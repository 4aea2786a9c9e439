//! Clients that begin long packets and do not finish them: they take no more memory than the cap, do not
//! block short requests of others, and block long ones only for a time.

use std::time::Duration;

use super::peer::{Peer, config, get, put, serve, store};
use crate::net::proto::{Code, MAX_BODY, Mode, Response};
use crate::net::server::Config;

const MIB: usize = 1 << 20;

/// The first bytes of a packet of the greatest length.
fn begun(bytes: usize) -> Vec<u8> {
    let mut packet = vec![7; bytes];
    packet[..4].copy_from_slice(&MAX_BODY.to_le_bytes());
    packet
}

async fn settled(server: &crate::net::server::Server) -> usize {
    let (mut last, mut quiet) = (0, 0);
    while quiet < 25 {
        tokio::time::sleep(Duration::from_millis(4)).await;
        let now = server.unfinished_bytes();
        quiet = if now == last { quiet + 1 } else { 0 };
        last = now;
    }
    last
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unfinished_packets_are_capped_and_short_requests_go_on() {
    let config = Config { max_input_mib: 40, packet_ms: 600_000, ..config() };
    let (server, address) = serve(store(), &config).await;
    let mut idle = Vec::new();
    for _ in 0..24 {
        let mut peer = Peer::greeted(address).await;
        peer.raw(&begun(20_000)).await;
        idle.push(peer);
    }
    let held = settled(&server).await;
    // Two of them have claimed their whole packet; the others hold what needs no claim.
    assert!((32 * MIB..48 * MIB).contains(&held), "{held} bytes");
    let mut good = Peer::greeted(address).await;
    for id in 2..50 {
        let answer = good.ask(id, &put("k", "v", Mode::Async)).await;
        assert!(matches!(answer.response(), Response::Written(_)));
        assert_eq!(good.ask(100 + id, &get("k")).await.value().as_deref(), Some(&b"v"[..]));
    }
    drop(idle);
    assert_eq!(settled(&server).await, 0, "all memory is given back");
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_packet_is_ended_when_another_waits_for_its_memory() {
    let config = Config { max_input_mib: 20, packet_ms: 4000, ..config() };
    let (server, address) = serve(store(), &config).await;
    let mut idle = Peer::greeted(address).await;
    idle.raw(&begun(MIB)).await;
    while settled(&server).await < 16 * MIB {}
    let mut good = Peer::greeted(address).await;
    let long = "x".repeat(10 * MIB);
    let answer = good.ask(2, &put("k", &long, Mode::Async)).await;
    assert!(matches!(answer.response(), Response::Written(_)), "{answer:?}");
    assert_eq!(idle.answer().await.code(), Code::TooSlow);
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_long_packets_share_the_input_budget_and_all_are_done() {
    let config = Config { max_input_mib: 8, ..config() };
    let (server, address) = serve(store(), &config).await;
    let mut writers = Vec::new();
    for number in 0..12 {
        writers.push(tokio::spawn(async move {
            let mut peer = Peer::greeted(address).await;
            let value = "x".repeat(5 * MIB);
            let answer = peer.ask(2, &put(&format!("k{number}"), &value, Mode::Async)).await;
            assert!(matches!(answer.response(), Response::Written(_)), "{answer:?}");
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    server.stop().await.unwrap();
}
