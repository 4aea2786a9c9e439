//! Connections: how they are made, kept and replaced.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::super::{Client, ClientOptions, Connection, Error, Write};
use super::fake::{Fake, Peer, begin, welcome};
use crate::CommitMode;
use crate::net::proto::{Kind, Response, Welcome};

const OTHER: [u8; 16] = [8; 16];

fn secs(number: u64) -> Duration {
    Duration::from_secs(number)
}

fn options() -> ClientOptions {
    Client::options().keep_alive(Duration::ZERO)
}

#[tokio::test(start_paused = true)]
async fn connection_that_dies_at_once_is_followed_by_a_pause() {
    let mut fake = Fake::new();
    let (client, peer) = fake.client(options()).await;
    drop(peer);
    let (begun, mut made) = (Instant::now(), 0);
    while begun.elapsed() < secs(60) && made < 1000 {
        drop(fake.greeted().await);
        made += 1;
    }
    // The pauses grow to 1 to 2 s.
    assert!(made <= 75, "{made} connections in a minute");
    let figures = client.connection_figures();
    assert!(figures.made >= made && figures.failed == 0, "{figures:?}");
    // A connection that lives longer ends the back-off.
    let peer = fake.greeted().await;
    sleep(secs(6)).await;
    drop(peer);
    let begun = Instant::now();
    fake.greeted().await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn zero_keep_alive_sends_no_ping() {
    let mut fake = Fake::new();
    let (client, mut peer) = fake.client(options()).await;
    assert!(timeout(secs(7200), peer.next()).await.is_err(), "there is no ping");
    assert!(client.is_connected());
    assert_eq!(client.connection_figures().made, 1);
}

#[tokio::test(start_paused = true)]
async fn ping_needs_no_permit_in_flight() {
    let mut fake = Fake::new();
    let (client, peer) = fake.client(Client::options().max_in_flight(1)).await;
    let waiting = client.clone();
    let waiting = begin(async move { waiting.job("a job").wait(secs(600)).await });
    let server = tokio::spawn(peer.answer_pings());
    sleep(secs(300)).await;
    assert!(client.is_connected() && !server.is_finished());
    assert!(waiting.await.unwrap().is_err(), "it was never answered");
}

#[tokio::test(start_paused = true)]
async fn silent_server_loses_its_connection() {
    let mut fake = Fake::new();
    let (client, peer) = fake.client(Client::options().keep_alive(secs(10))).await;
    sleep(secs(100)).await;
    assert!(client.connection_figures().lost > 0);
    drop(peer);
}

#[tokio::test(start_paused = true)]
async fn another_store_on_the_same_address_is_an_error() {
    let mut fake = Fake::new();
    let (client, peer) = fake.client(options()).await;
    drop(peer);
    let call = client.clone();
    let call = begin(async move { call.existing_keyspace("rows").get("k").await });
    let mut other = fake.greeted_as(Welcome { store: OTHER, ..welcome() }).await;
    assert!(other.next().await.is_none(), "it gets no request");
    let error = call.await.unwrap().unwrap_err();
    let Error::OtherStore { expected, found, .. } = &error else { panic!("{error}") };
    assert_eq!((expected.0, found.0), (super::fake::STORE, OTHER));
    assert!(error.is_undone() && !error.is_retryable());
    // The right store may come back.
    let right = fake.greeted().await;
    tokio::spawn(right.answer_pings());
    while client.ping().await.is_err() {
        sleep(secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn retry_never_crosses_to_another_store() {
    let mut fake = Fake::new();
    let (client, mut peer) = fake.client(options().any_store()).await;
    let call = client.clone();
    let once = Write::from(CommitMode::Sync).once("order 17");
    let call = begin(async move { call.existing_keyspace("rows").put_with("k", "v", once).await });
    assert_eq!(peer.asked().await.kind, Kind::Put);
    drop(peer);
    let mut other = fake.greeted_as(Welcome { store: OTHER, ..welcome() }).await;
    let error = call.await.unwrap().unwrap_err();
    let Error::Unsettled { last, .. } = &error else { panic!("{error}") };
    assert!(matches!(**last, Error::OtherStore { .. }) && !error.is_undone(), "{error}");
    // A new request may go there, since the caller allows it.
    let ping = begin(async move { client.ping().await });
    let asked = other.asked().await;
    assert_eq!(asked.kind, Kind::Ping, "the put was not sent here");
    other.say(asked.id, Response::Pong).await;
    ping.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn every_address_of_a_name_gets_its_share_of_the_time() {
    let (mut one, mut two, both) = Fake::two();
    let connecting = tokio::spawn(Client::start(vec![both], options()));
    let silent = one.arrival().await;
    tokio::spawn(two.greeted().await.answer_pings());
    connecting.await.unwrap().unwrap().ping().await.unwrap();
    drop(silent);
}

#[tokio::test(start_paused = true)]
async fn servers_of_one_store_stand_in_for_each_other() {
    let (one, mut two) = (Fake::new(), Fake::new());
    let addresses = vec![one.address.clone(), two.address.clone()];
    drop(one);
    let connecting = tokio::spawn(Client::start(addresses, options()));
    let peer = two.greeted().await;
    let client = connecting.await.unwrap().unwrap();
    let mut events = client.watch_connection();
    drop(peer);
    assert!(matches!(events.next().await, Some(Connection::Down { .. })));
    tokio::spawn(two.greeted().await.answer_pings());
    client.ping().await.unwrap();
    while !matches!(events.next().await, Some(Connection::Up { .. })) {}
    let none = Client::options().connect_any(Vec::<String>::new()).await.unwrap_err();
    assert!(matches!(none, Error::Option(_)), "{none}");
}

#[tokio::test(start_paused = true)]
async fn token_is_fetched_for_each_connection() {
    let mut fake = Fake::new();
    let count = std::sync::atomic::AtomicU32::new(1);
    let next = move || count.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string();
    let connecting = Client::start(vec![fake.address.clone()], options().token_from(next));
    let connecting = tokio::spawn(connecting);
    for token in ["1", "2", "3"] {
        let mut peer = fake.arrival().await;
        let hello = peer.asked().await;
        assert_eq!(hello.token.as_deref(), Some(token));
        peer.say(hello.id, Response::Welcome(welcome())).await;
    }
    connecting.await.unwrap().unwrap();
}

/// Greets every client, and ends every second connection at once.
async fn greet_all(mut fake: Fake, peers: tokio::sync::mpsc::UnboundedSender<Peer>) {
    for number in 0_u64.. {
        let mut peer = fake.arrival().await;
        let Some(hello) = peer.next().await else { continue };
        peer.say(hello.id, Response::Welcome(welcome())).await;
        if number % 2 == 0 {
            drop(peer);
        } else if peers.send(peer).is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clients_dropped_while_they_reconnect_leave_nothing() {
    let fake = Fake::new();
    let (address, options) = (fake.address.clone(), options().backoff(Duration::ZERO, secs(0)));
    let (sender, mut peers) = tokio::sync::mpsc::unbounded_channel();
    let server = tokio::spawn(greet_all(fake, sender));
    for round in 0..1000 {
        let client = Client::start(vec![address.clone()], options.clone()).await.unwrap();
        for _ in 0..round % 7 {
            tokio::task::yield_now().await;
        }
        drop(client);
    }
    let all = async {
        while let Ok(mut peer) = peers.try_recv() {
            while peer.next().await.is_some() {}
        }
    };
    timeout(secs(60), all).await.expect("every connection ends");
    server.abort();
}

/// The writer writes the first put, the second is queued, and there is no room for the third.
#[tokio::test(start_paused = true)]
async fn requests_wait_while_the_queue_is_full() {
    let mut fake = Fake::new();
    let options = options().max_queued_bytes(1000).request_timeout(Some(secs(10))).tries(1);
    let (client, mut peer) = fake.client(options).await;
    let put = |key: &'static str| {
        let client = client.clone();
        let value = vec![7; 200 << 10];
        begin(async move { client.existing_keyspace("rows").put(key, value).await })
    };
    let mut puts = Vec::new();
    for key in ["a", "b", "c"] {
        puts.push(put(key));
        sleep(secs(1)).await;
    }
    let mut errors = Vec::new();
    for put in puts {
        errors.push(put.await.unwrap().unwrap_err());
    }
    let [taken, queued, waiting] = &errors[..] else { panic!("{errors:?}") };
    assert!(matches!(taken, Error::TimedOut { .. }), "{taken}");
    assert!(matches!(queued, Error::TimedOut { .. }), "{queued}");
    assert!(matches!(waiting, Error::NotSent { .. }) && waiting.is_undone(), "{waiting}");
    // Once the server reads there is room, and further requests go out.
    let later = put("d");
    let mut kinds = Vec::new();
    while kinds.iter().filter(|kind| **kind == Kind::Put).count() < 3 {
        kinds.push(peer.asked().await.kind);
    }
    assert!(!later.is_finished());
    assert!(later.await.unwrap().is_err(), "nobody answers it");
}

/// A future that held a lock while it waits would not be `Send` (CLIENT-2), and this would not compile.
#[tokio::test(start_paused = true)]
async fn future_of_each_call_can_be_moved_to_another_thread() {
    fn moves(_: impl Send) {}
    let mut fake = Fake::new();
    let (client, _peer) = fake.client(Client::options()).await;
    moves(Client::connect("localhost:1"));
    moves((client.store(), client.server(), client.ping(), client.stats(), client.close()));
    moves((client.keyspaces(), client.keyspace("a"), client.create_keyspace("a")));
    moves((client.drop_keyspace("a"), client.watermarks(), client.flush()));
    moves((client.checkpoint(), client.verify(), client.begin_checkpoint(), client.begin_verify()));
    moves(client.write(&crate::net::client::Batch::new(), crate::CommitMode::Sync));
    let rows = client.existing_keyspace("rows");
    moves((rows.get("k"), rows.put("k", "v"), rows.delete("k"), rows.contains_key("k")));
    moves((rows.first(), rows.last(), rows.len(), rows.is_empty(), rows.iter().entries()));
    let job = client.job("a job");
    moves((job.status(), job.wait(secs(1)), job.cancel()));
}
