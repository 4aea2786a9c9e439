//! The claims of errors are true.

use std::time::Duration;

use super::super::{Batch, Client, Code, Error, Write};
use super::fake::{Fake, begin};
use crate::CommitMode;
use crate::net::proto::{Applied, CommitPosition, Failure, Kind, Response, Written};

fn once() -> Write {
    Write::from(CommitMode::Sync).once("order 17")
}

/// The server takes the write, the connection is cut, and later ones are refused.
#[tokio::test(start_paused = true)]
async fn write_that_may_be_applied_is_never_called_undone_after_a_retry() {
    for kind in [Kind::Put, Kind::Batch, Kind::CreateKeyspace] {
        let mut fake = Fake::new();
        let (client, mut peer) = fake.client(Client::options()).await;
        let call = begin(async move {
            match kind {
                Kind::Put => {
                    client.existing_keyspace("rows").put_with("k", "v", once()).await.map(drop)
                }
                Kind::Batch => {
                    let mut batch = Batch::new();
                    batch.put("rows", "k", "v");
                    client.write(&batch, once()).await.map(drop)
                }
                _ => client.keyspace("rows").await.map(drop),
            }
        });
        assert_eq!(peer.asked().await.kind, kind);
        drop((fake, peer));
        let error = call.await.unwrap().unwrap_err();
        let Error::Unsettled { earlier, last } = &error else { panic!("{error}") };
        assert!(matches!(**earlier, Error::Lost { .. }), "{earlier}");
        assert!(matches!(**last, Error::Connect { .. }), "{last}");
        assert!(!error.is_undone() && error.is_retryable(), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn refusal_of_a_retry_does_not_settle_the_earlier_try() {
    let mut fake = Fake::new();
    let (client, mut peer) = fake.client(Client::options()).await;
    let call =
        begin(async move { client.existing_keyspace("rows").put_with("k", "v", once()).await });
    peer.asked().await;
    drop(peer);
    let mut peer = fake.greeted().await;
    let id = peer.asked().await.id;
    peer.refuse(id, Failure::new(Code::Denied, "the token was changed")).await;
    let error = call.await.unwrap().unwrap_err();
    assert_eq!(error.code(), Some(Code::Denied));
    assert!(!error.is_undone() && !error.is_retryable(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn retry_that_is_answered_settles_the_write() {
    let mut fake = Fake::new();
    let (client, mut peer) = fake.client(Client::options()).await;
    let call =
        begin(async move { client.existing_keyspace("rows").put_with("k", "v", once()).await });
    peer.asked().await;
    drop(peer);
    let mut peer = fake.greeted().await;
    let id = peer.asked().await.id;
    let receipt = CommitPosition { incarnation: 1, lsn: 7 };
    let written = Written { receipt, durable: true, applied: Applied::Before };
    peer.say(id, Response::Written(written)).await;
    let job = call.await.unwrap().unwrap();
    assert!(job.is_durable(), "{job:?}");
    assert_eq!(job.applied(), None, "the first try may be the one that was applied");
}

#[tokio::test(start_paused = true)]
async fn server_answers_at_the_deadline_before_the_client_gives_up() {
    let mut fake = Fake::new();
    let (client, mut peer) = fake.client(Client::options()).await;
    let rows = client.within(Duration::from_millis(800)).existing_keyspace("rows");
    let call = begin(async move { rows.put("k", "v").await });
    let asked = peer.asked().await;
    assert_eq!(asked.deadline_ms, 800);
    // The server answers at the deadline; the way back takes a while.
    tokio::time::sleep(Duration::from_millis(890)).await;
    let late = Failure::new(Code::DeadlineExceeded, "too late").with("job", "a job");
    peer.refuse(asked.id, late).await;
    let error = call.await.unwrap().unwrap_err();
    assert_eq!(error.job(), Some("a job"), "{error}");
    assert!(error.is_timeout() && !error.is_undone(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn request_that_gets_no_permit_in_flight_was_not_sent() {
    let mut fake = Fake::new();
    let (client, mut peer) = fake.client(Client::options().max_in_flight(1)).await;
    let client = client.within(Duration::from_secs(2));
    let (first, second) = (client.clone(), client);
    let first = begin(async move { first.existing_keyspace("rows").put("k", "v").await });
    assert_eq!(peer.asked().await.kind, Kind::Put);
    let second = begin(async move { second.existing_keyspace("rows").put("l", "w").await });
    let (first, second) = tokio::join!(first, second);
    let (first, second) = (first.unwrap().unwrap_err(), second.unwrap().unwrap_err());
    assert!(matches!(first, Error::TimedOut { .. }) && !first.is_undone(), "{first}");
    assert!(matches!(second, Error::NotSent { .. }) && second.is_undone(), "{second}");
}

#[tokio::test(start_paused = true)]
async fn garbage_is_a_breach_of_the_protocol_and_a_cut_is_not() {
    for (bytes, is_garbage) in [(&[0xff; 24][..], true), (&[1, 0, 0][..], false)] {
        let mut fake = Fake::new();
        let (client, mut peer) = fake.client(Client::options().tries(1)).await;
        let call = begin(async move { client.existing_keyspace("rows").put("k", "v").await });
        peer.asked().await;
        peer.write(bytes).await;
        drop(peer);
        let error = call.await.unwrap().unwrap_err();
        assert_eq!(matches!(error, Error::Protocol(_)), is_garbage, "{error}");
        assert_eq!(error.is_retryable(), !is_garbage, "{error}");
        assert!(!error.is_undone(), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn long_poll_of_a_silent_server_ends_shortly_after_its_time() {
    let mut fake = Fake::new();
    let (client, mut peer) = fake.client(Client::options()).await;
    let begun = tokio::time::Instant::now();
    let call = begin(async move { client.job("a job").wait(Duration::from_secs(1)).await });
    assert_eq!(peer.asked().await.kind, Kind::JobWait);
    let error = call.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    // Only waiting moves this clock, so the speed of the machine does not matter.
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}
