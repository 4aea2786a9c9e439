//! Ranges and watches: their time limits, their number, and lost connections.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use tokio::time::{Instant, timeout};

use super::super::{Client, Entries, Error, JobEvents, JobState, WatermarkEvents};
use super::fake::{Asked, Fake, Peer, welcome};
use crate::net::proto::{
    CommitPosition, EntriesWriter, JobEvent, Kind, MAX_WATCHED, Marks, MarksEvent, Part, Response,
    Welcome,
};

fn secs(number: u64) -> Duration {
    Duration::from_secs(number)
}

/// One entry, and whether more follow.
async fn entry(peer: &mut Peer, id: u64, key: &str, part: Part) {
    let mut output = Vec::new();
    let position = CommitPosition { incarnation: 1, lsn: 7 };
    let mut entries = EntriesWriter::new(position, &mut output);
    entries.push(key.as_bytes(), b"v", &mut output);
    entries.finish(id, part, None, 1 << 20, &mut output).unwrap();
    peer.write(&output).await;
}

#[tokio::test(start_paused = true)]
async fn range_that_gets_no_answer_ends_in_time() {
    let mut fake = Fake::new();
    let (client, peer) = fake.client(Client::options()).await;
    tokio::spawn(peer.answer_pings());
    let rows = client.within(secs(2)).existing_keyspace("rows");
    let mut entries = rows.iter().entries().await.unwrap();
    let begun = Instant::now();
    let late = entries.next().await.unwrap().unwrap_err();
    assert!(matches!(late, Error::TimedOut { .. }), "{late}");
    assert!(begun.elapsed() < secs(4), "{:?}", begun.elapsed());
    assert!(entries.next().await.is_none(), "nothing follows an error");
}

#[tokio::test(start_paused = true)]
async fn entries_outlive_their_client() {
    let mut fake = Fake::new();
    let (client, mut peer) = fake.client(Client::options()).await;
    let entries = client.existing_keyspace("rows").iter().entries().await.unwrap();
    drop(client);
    let id = peer.asked().await.id;
    entry(&mut peer, id, "a", Part::More).await;
    entry(&mut peer, id, "b", Part::Last).await;
    let all: Vec<_> = entries.map(|entry| entry.unwrap().0).collect().await;
    assert_eq!(all, [b"a", b"b"]);
    while let Some(asked) = peer.next().await {
        assert_eq!(asked.kind, Kind::Credit);
    }
}

#[test]
fn ranges_and_watches_are_streams() {
    fn is_stream<S: Stream + Unpin + Send + 'static>() {}
    is_stream::<Entries>();
    is_stream::<JobEvents>();
    is_stream::<WatermarkEvents>();
}

#[tokio::test(start_paused = true)]
async fn ranges_beyond_the_server_limit_wait() {
    let mut fake = Fake::new();
    let connecting = Client::start(vec![fake.address.clone()], Client::options());
    let greeting = fake.greeted_as(Welcome { max_subscriptions: 2, ..welcome() });
    let (client, mut peer) = tokio::join!(connecting, greeting);
    let client = client.unwrap();
    let ranges: Vec<_> = (0..5)
        .map(|_| {
            let rows = client.existing_keyspace("rows");
            tokio::spawn(async move { rows.iter().entries().await.unwrap().count().await })
        })
        .collect();
    let (mut under_way, mut served) = (Vec::new(), 0);
    while served < 5 {
        match timeout(secs(1), peer.next()).await {
            Ok(asked) => under_way.push(asked.unwrap().id),
            Err(_) => {
                assert!(under_way.len() <= 2, "{} ranges at once", under_way.len());
                let id = under_way.pop().expect("each is asked for in the end");
                entry(&mut peer, id, "a", Part::Last).await;
                served += 1;
            }
        }
    }
    for range in ranges {
        assert_eq!(range.await.unwrap().unwrap(), 1);
    }
    // A range that gets no permit in time was not sent.
    let held: Vec<_> = [client.existing_keyspace("rows").iter().entries().await.unwrap()].into();
    let _other = client.existing_keyspace("rows").iter().entries().await.unwrap();
    let none =
        client.within(secs(1)).existing_keyspace("rows").iter().entries().await.err().unwrap();
    assert!(matches!(none, Error::NotSent { .. }), "{none}");
    drop(held);
}

async fn next_watch(peer: &mut Peer) -> Asked {
    loop {
        let asked = peer.asked().await;
        if asked.kind == Kind::JobWatch {
            return asked;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn later_jobs_are_watched_as_earlier_ones_end() {
    let mut fake = Fake::new();
    let (client, mut peer) = fake.client(Client::options().keep_alive(Duration::ZERO)).await;
    let jobs: Vec<String> = (0..MAX_WATCHED + 10).map(|number| format!("{number:05}")).collect();
    let mut events = client.watch_jobs(jobs.iter().map(String::as_str));
    let told = tokio::spawn(async move {
        let mut told = BTreeSet::new();
        while let Some(event) = events.next().await {
            let (job, state) = event.unwrap();
            assert!(state == JobState::Durable && told.insert(job), "each end is told once");
        }
        told.len()
    });
    let first = next_watch(&mut peer).await;
    assert_eq!(first.jobs.len(), MAX_WATCHED);
    let mut seen: BTreeSet<String> = first.jobs.iter().cloned().collect();
    let mut watch = first;
    // In each watch except the last only some jobs end: the others must not hold up later jobs.
    while seen.len() < jobs.len() {
        for job in watch.jobs.iter().rev().take(4) {
            end(&mut peer, watch.id, job, Part::More).await;
        }
        watch = timeout(secs(60), next_watch(&mut peer)).await.expect("later jobs are watched");
        seen.extend(watch.jobs.iter().cloned());
    }
    let (last, others) = watch.jobs.split_last().unwrap();
    for job in others {
        end(&mut peer, watch.id, job, Part::More).await;
    }
    end(&mut peer, watch.id, last, Part::Last).await;
    let server = tokio::spawn(peer.answer_pings());
    assert_eq!(told.await.unwrap(), jobs.len());
    drop(client);
    server.await.unwrap();
}

/// Tells the end of a job, and waits for credit.
async fn end(peer: &mut Peer, id: u64, job: &str, part: Part) {
    let event = JobEvent { job: job.into(), state: JobState::Durable, skipped: 0 };
    peer.say_part(id, part, Response::JobEvent(event)).await;
    while part == Part::More && peer.asked().await.kind != Kind::Credit {}
}

/// A new watch names exactly the jobs whose ends were not told.
#[tokio::test(start_paused = true)]
async fn watch_that_loses_its_connection_tells_each_end_once() {
    let mut fake = Fake::new();
    let (client, mut peer) = fake.client(Client::options().keep_alive(Duration::ZERO)).await;
    let mut events = client.watch_jobs(["a", "b", "c", "d"]);
    let told = tokio::spawn(async move {
        let mut told = Vec::new();
        while let Some(event) = events.next().await {
            told.push((event.unwrap().0, events.skipped()));
        }
        told
    });
    let mut left = vec!["a", "b", "c", "d"];
    while let Some((&job, rest)) = left.split_first() {
        let watch = next_watch(&mut peer).await;
        assert_eq!(watch.jobs, left);
        let (state, skipped) = (JobState::Durable, 7);
        let event = JobEvent { job: job.into(), state, skipped };
        let part = if rest.is_empty() { Part::Last } else { Part::More };
        peer.say_part(watch.id, part, Response::JobEvent(event)).await;
        while part == Part::More && peer.asked().await.kind != Kind::Credit {}
        left = rest.to_vec();
        if !left.is_empty() {
            drop(peer);
            peer = fake.greeted().await;
        }
    }
    let told = told.await.unwrap();
    assert_eq!(told, ["a", "b", "c", "d"].map(|job| (job.to_owned(), 7)));
}

#[tokio::test(start_paused = true)]
async fn skipped_watermarks_are_counted() {
    let mut fake = Fake::new();
    let (client, mut peer) = fake.client(Client::options().keep_alive(Duration::ZERO)).await;
    let mut events = client.watch_watermarks(Duration::ZERO);
    let told = tokio::spawn(async move {
        let mut told = Vec::new();
        for _ in 0..3 {
            let marks = events.next().await.unwrap().unwrap();
            told.push((marks.appended.get(), events.skipped()));
        }
        told
    });
    let watch = peer.asked().await;
    assert_eq!(watch.kind, Kind::WatchWatermarks);
    for (appended, skipped) in [(1, 0), (5, 3), (9, 4)] {
        let marks = Marks { appended, ..Marks::default() };
        let event = Response::MarksEvent(MarksEvent { marks, skipped });
        peer.say_part(watch.id, Part::More, event).await;
        assert_eq!(peer.asked().await.kind, Kind::Credit);
    }
    assert_eq!(told.await.unwrap(), [(1, 0), (5, 3), (9, 4)]);
}
