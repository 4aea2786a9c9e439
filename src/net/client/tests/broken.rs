//! Servers that break off or break the protocol: which requests are repeated, and which are not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::super::{Client, Error, Write};
use super::fake::welcome;
use crate::CommitMode;
use crate::net::proto::{JobEvent, JobState, MAX_BODY, Part, Progress, Request, Response, decode};

/// What the server does with each request except `Hello`.
#[derive(Clone, Copy)]
enum Manner {
    /// Ends the connection, up to this many requests.
    EndsUntil(u32),
    /// Answers another request.
    WrongId,
    /// Answers in parts where one answer is due.
    Parts,
    /// Pushes more than there is credit for.
    NoCredit,
    /// Sends bytes that are no packet.
    Noise,
    /// Answers nothing.
    Silent,
}

/// Starts a server. Returns its address and the count of its requests.
async fn serve(manner: Manner) -> (String, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            tokio::spawn(converse(socket, manner, Arc::clone(&count)));
        }
    });
    (address, asked)
}

async fn converse(mut socket: TcpStream, manner: Manner, asked: Arc<AtomicU32>) -> Option<()> {
    let mut input = Vec::new();
    loop {
        if let Progress::Packet(packet) = decode(&input, MAX_BODY).unwrap() {
            let request = Request::decode(&packet).unwrap();
            let id = packet.head.id;
            let mut output = Vec::new();
            let mut say = |id, part, response: Response<'_>| {
                response.encode_part(id, part, MAX_BODY, &mut output).unwrap();
            };
            if let Request::Hello(_) = request {
                say(id, Part::Last, Response::Welcome(welcome()));
            } else {
                let times = asked.fetch_add(1, Ordering::Relaxed) + 1;
                match manner {
                    Manner::EndsUntil(enough) if times < enough => return None,
                    Manner::EndsUntil(_) => say(id, Part::Last, Response::Value(None)),
                    Manner::WrongId => say(id + 1, Part::Last, Response::Value(None)),
                    Manner::Parts => say(id, Part::More, Response::Value(None)),
                    Manner::NoCredit => (0..100).for_each(|_| {
                        let (job, state) = ("job".into(), JobState::Queued);
                        let event = JobEvent { job, state, skipped: 0 };
                        say(id, Part::More, Response::JobEvent(event));
                    }),
                    Manner::Noise => output.extend([0xff; 24]),
                    Manner::Silent => {}
                }
            }
            let used = packet.len_in_buffer();
            input.drain(..used);
            socket.write_all(&output).await.ok()?;
        } else if socket.read_buf(&mut input).await.ok()? == 0 {
            return None;
        }
    }
}

async fn client(address: &str) -> Client {
    let ms = Duration::from_millis;
    Client::options().backoff(ms(1), ms(5)).connect(address).await.unwrap()
}

#[tokio::test]
async fn a_read_is_tried_again_and_a_write_is_not() {
    let (address, asked) = serve(Manner::EndsUntil(3)).await;
    let rows = client(&address).await.existing_keyspace("rows");
    let lost = rows.put_with("k", "v", CommitMode::Async).await.unwrap_err();
    assert!(matches!(lost, Error::Lost { .. }) && !lost.is_undone(), "{lost}");
    assert_eq!(asked.load(Ordering::Relaxed), 1, "sent once");
    assert_eq!(rows.get("k").await.unwrap(), None);
    assert_eq!(asked.load(Ordering::Relaxed), 3, "the get as often as needed");
}

#[tokio::test]
async fn a_write_with_an_idempotency_key_is_tried_again() {
    let (address, asked) = serve(Manner::EndsUntil(3)).await;
    let rows = client(&address).await.existing_keyspace("rows");
    let how = Write::from(CommitMode::Sync).once("order 17");
    let end = rows.put_with("k", "v", how).await.unwrap_err();
    assert!(
        matches!(end, Error::Protocol(_)),
        "the server answers a put as if it were a get: {end}"
    );
    assert_eq!(asked.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn call_gives_up_after_its_tries() {
    let (address, asked) = serve(Manner::EndsUntil(u32::MAX)).await;
    let lost = client(&address).await.existing_keyspace("rows").get("k").await.unwrap_err();
    assert!(matches!(lost, Error::Lost { .. } | Error::NotSent { .. }), "{lost}");
    assert!(asked.load(Ordering::Relaxed) <= 4);
}

#[tokio::test]
async fn a_server_that_breaks_the_rules_loses_the_connection() {
    for manner in [Manner::WrongId, Manner::Parts, Manner::Noise] {
        let (address, _) = serve(manner).await;
        let rows = client(&address).await.existing_keyspace("rows");
        let lost = rows.put("k", "v").await.unwrap_err();
        assert!(matches!(lost, Error::Protocol(_)) && !lost.is_undone(), "{lost}");
    }
}

#[tokio::test]
async fn push_without_credit_ends_the_connection() {
    let (address, asked) = serve(Manner::NoCredit).await;
    let client = client(&address).await;
    let mut events = client.watch_jobs(["job"]);
    // Events within the credit are told, and then the breach. The next call watches on another
    // connection.
    let mut breaches = 0;
    while asked.load(Ordering::Relaxed) < 3 {
        match events.next().await.unwrap() {
            Ok((job, _)) => assert_eq!(job, "job"),
            Err(Error::Protocol(_)) => breaches += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(breaches > 0);
}

#[tokio::test]
async fn request_to_a_silent_server_times_out_and_is_cancelled() {
    let (address, asked) = serve(Manner::Silent).await;
    let client = client(&address).await.within(Duration::from_millis(20));
    let late = client.existing_keyspace("rows").get("k").await.unwrap_err();
    assert!(matches!(late, Error::TimedOut { .. }), "{late}");
    // The second packet is the `Cancel`.
    while asked.load(Ordering::Relaxed) < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn request_longer_than_the_server_takes_is_not_sent() {
    let (address, asked) = serve(Manner::Silent).await;
    let rows = client(&address).await.existing_keyspace("rows");
    let long = rows.put("k", vec![0; 2 << 20]).await.unwrap_err();
    assert!(matches!(long, Error::TooLarge { max: 1_048_576, .. }), "{long}");
    assert_eq!(asked.load(Ordering::Relaxed), 0);
}
