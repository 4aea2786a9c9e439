//! Clients that ask for much and do not read it: they cost no more memory than the cap, and do not block
//! others.

use std::time::Duration;

use tokio::time::Instant;

use super::peer::{Peer, config, get, put, serve, store};
use super::talk::Talk;
use crate::CommitMode;
use crate::net::proto::{At, Bound, Code, Delivery, Mode, Order, Range, Request, Response};
use crate::net::server::output_budget::{MemoryCharge, SMALL_PAGE};
use crate::net::server::{Config, Server, fuzz};

const MIB: usize = 1 << 20;
/// Clients that do not read, and the pages that each asks for: even small ones exceed the kernel's
/// buffers, four megabytes per connection.
const DEAF: usize = 8;
const PAGES: u64 = 80;
const PAGE: u32 = 256 << 10;

fn page() -> Request<'static> {
    Request::Range(Range {
        keyspace: "rows",
        lower: Bound::Unbounded,
        upper: Bound::Unbounded,
        order: Order::Ascending,
        limit: None,
        delivery: Delivery::Page { max_bytes: PAGE },
        at: At::Latest,
    })
}

/// Waits until the unread bytes are not zero and stay the same for a while. Returns their maximum.
async fn peak(server: &Server) -> usize {
    let (mut most, mut last, mut quiet) = (0, 0, 0);
    while quiet < 50 {
        tokio::time::sleep(Duration::from_millis(4)).await;
        let now = server.unread_bytes();
        quiet = if now == 0 || now != last { 0 } else { quiet + 1 };
        (most, last) = (most.max(now), now);
    }
    most
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_output_is_capped_and_other_clients_go_on() {
    let store = store();
    let rows = store.keyspace("rows").unwrap();
    for number in 0..32_u32 {
        let value = vec![7; 16 << 10];
        rows.put_with(number.to_be_bytes(), value, CommitMode::Async).unwrap();
    }
    rows.put("zz", "small").unwrap();
    let config = Config { max_output_mib: 16, ..config() };
    let (server, address) = serve(store, &config).await;
    let mut deaf = Vec::new();
    for _ in 0..DEAF {
        let mut peer = Peer::greeted(address).await;
        (1..=PAGES).for_each(|id| peer.add(id, &page()));
        peer.flush().await;
        deaf.push(peer);
    }
    // 1. A megabyte of each, and small pages until each client is stuck. Without a cap it would be 640
    //    large pages, except for those in the kernel's buffers.
    let most = peak(&server).await;
    assert!((MIB..16 * MIB).contains(&most), "{most} bytes");
    // 2. Others get their answers.
    let mut good = Peer::greeted(address).await;
    for id in 1..100 {
        assert_eq!(good.ask(id, &get("zz")).await.value().as_deref(), Some(&b"small"[..]));
    }
    let answer = good.ask(100, &page()).await;
    let Response::Entries(entries) = answer.response() else { panic!("{:?}", answer.response()) };
    assert!(!entries.rows.is_empty() && entries.next.is_some());
    // 3. A client that reads after all misses nothing.
    for peer in &mut deaf {
        let mut ids = Vec::new();
        for _ in 1..=PAGES {
            let answer = peer.answer().await;
            assert!(matches!(answer.response(), Response::Entries(_)), "{:?}", answer.response());
            ids.push(answer.id);
        }
        ids.sort_unstable();
        assert!(ids.into_iter().eq(1..=PAGES), "each is answered once");
    }
    drop(good.ask(101, &page()).await);
    // All memory is given back at the end of the turn that wrote the last answer.
    let patience = Instant::now() + Duration::from_secs(10);
    while server.unread_bytes() > 0 {
        assert!(Instant::now() < patience, "{} bytes", server.unread_bytes());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_pause_above_the_cap_and_resume_below_it() {
    let store = store();
    let rows = store.keyspace("rows").unwrap();
    for number in 0..256_u32 {
        rows.put_with(number.to_be_bytes(), [7; 16 << 10], CommitMode::Async).unwrap();
    }
    let config = Config { max_output_mib: 0, ..config() };
    let (server, address) = serve(store, &config).await;
    let Request::Range(range) = page() else { unreachable!() };
    let stream = Request::Range(Range { delivery: Delivery::Stream { credit: 10_000 }, ..range });
    let mut peers = Vec::new();
    for _ in 0..8 {
        let mut peer = Peer::greeted(address).await;
        (1..=8).for_each(|id| peer.add(id, &stream));
        peer.flush().await;
        peers.push(peer);
    }
    let most = peak(&server).await;
    assert!(most < 8 * MIB, "{most} bytes");
    for peer in &mut peers {
        let (mut ended, mut entries) = (0, 0);
        while ended < 8 {
            let answer = peer.answer().await;
            let Response::Entries(part) = answer.response() else {
                panic!("{:?}", answer.response())
            };
            entries += part.rows.len();
            ended += u32::from(answer.part == crate::net::proto::Part::Last);
        }
        assert_eq!(entries, 8 * 256, "all of each stream");
    }
    server.stop().await.unwrap();
}

#[test]
fn an_answer_is_charged_from_the_pool_into_the_output() {
    let (mut talk, value) = (Talk::greeted(), 100 << 10);
    talk.ask(&put("k", &"v".repeat(value), Mode::Async));
    for _ in 0..3 {
        talk.ask(&page());
    }
    talk.take(usize::MAX);
    // BUDGET-1, also within a turn: a charge is given back only after the next one is made.
    talk.until(|Talk { shared, session, .. }| {
        let held = session.output().held();
        assert!(held < value || shared.output_budget.held() >= held + held / 4, "{held} bytes");
        session.output().pending().len() >= 3 * value
    });
    talk.session.output().discard();
    talk.session.report();
    assert_eq!(talk.shared.output_budget.held(), 0, "all memory was given back");
}

#[test]
fn pages_are_small_above_half_the_cap_and_refused_above_the_cap() {
    let (mut talk, value) = (Talk::greeted(), 20 << 10);
    let rows = talk.shared.service.store().keyspace("rows").unwrap();
    for number in 0..16_u32 {
        rows.put_with(number.to_be_bytes(), vec![7; value], CommitMode::Async).unwrap();
    }
    talk.heard();
    let cap = talk.shared.output_budget.cap();
    // A charge is a quarter more; and a page ends with the row that reaches the wanted length.
    let mut answer = |others: usize| {
        let _others = MemoryCharge::of(&talk.shared.output_budget, others / 5 * 4);
        talk.ask(&page());
        talk.take(1);
        talk.until(|talk| !talk.session.output().is_empty());
        let packet = fuzz::packets(talk.session.output().pending()).next().unwrap();
        let rows = match Response::decode(&packet).unwrap() {
            Response::Entries(entries) => Ok(entries.rows.len()),
            Response::Error(failure) => Err(failure.code),
            other => panic!("{other:?}"),
        };
        talk.session.output().discard();
        rows
    };
    assert_eq!(answer(cap / 4), Ok(u64::from(PAGE).div_ceil(20_480)));
    assert_eq!(answer(cap / 4 * 3), Ok(u64::from(SMALL_PAGE).div_ceil(20_480)), "BUDGET-3");
    assert_eq!(answer(cap + MIB), Err(Code::TooBusy), "BUDGET-4");
}

/// Half of the clients that ask for a long value find the cap reached. They wait until the clients that
/// do not read are cut off, like every other long answer. Short answers are made all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_do_not_read_long_values_do_not_block_others() {
    const LONG: usize = 12 << 20;
    let store = store();
    let rows = store.keyspace("rows").unwrap();
    rows.put_with("long", vec![7; LONG], CommitMode::Async).unwrap();
    rows.put("short", "value").unwrap();
    let config = Config { max_output_mib: 64, pool_threads: 4, ..config() };
    let (server, address) = serve(store, &config).await;
    let mut deaf = Vec::new();
    for _ in 0..DEAF {
        let mut peer = Peer::greeted(address).await;
        (1..=4).for_each(|id| peer.add(id, &get("long")));
        peer.flush().await;
        deaf.push(peer);
    }
    let most = peak(&server).await;
    assert!((LONG..64 * MIB).contains(&most), "{most} bytes");
    let mut good = Peer::greeted(address).await;
    for id in 1..20 {
        assert_eq!(good.ask(id, &get("short")).await.value().as_deref(), Some(&b"value"[..]));
        let answer = good.ask(100 + id, &short_page()).await;
        assert!(matches!(answer.response(), Response::Entries(_)), "{:?}", answer.response());
    }
    for id in 200..204 {
        assert_eq!(good.ask(id, &get("long")).await.value().map(|value| value.len()), Some(LONG));
    }
    server.stop().await.unwrap();
}

fn short_page() -> Request<'static> {
    let Request::Range(range) = page() else { unreachable!() };
    Request::Range(Range { lower: Bound::Included(b"s"), ..range })
}
