//! Every operation once, over loopback.

use std::sync::Arc;
use std::time::Duration;

use super::super::{Applied, Batch, Client, Code, Error, Failure, JobState, Write};
use crate::engine::disk::SimDisk;
use crate::net::server::{Config, Server};
use crate::{CommitMode, Options};

const PATIENCE: Duration = Duration::from_secs(60);

/// A server on a simulated disk.
async fn serve(disk: &Arc<SimDisk>, config: &Config) -> (Server, String) {
    let store = Options::new().open_on(Arc::clone(disk) as _).unwrap();
    let server = Server::start(store, config).await.unwrap();
    let address = server.addresses()[0].to_string();
    (server, address)
}

fn config(listen: &str) -> Config {
    Config { listen: vec![listen.into()], pool_threads: 2, ..Config::default() }
}

fn run(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    let limited = async { tokio::time::timeout(PATIENCE, test).await.expect("it ends") };
    runtime.block_on(limited);
}

/// A change to a keyspace.
#[derive(Clone, Copy, Debug)]
enum Step {
    Open,
    Create,
    Drop,
}

#[test]
fn keyspaces_behave_alike_embedded_and_over_a_connection() {
    use Step::{Create, Drop, Open};
    let long = "n".repeat(256);
    let steps: [(Step, &str, Result<(), Code>); 16] = [
        (Drop, "a", Err(Code::NoSuchKeyspace)),
        (Create, "a", Ok(())),
        (Create, "a", Err(Code::KeyspaceExists)),
        (Open, "a", Ok(())),
        (Open, "b", Ok(())),
        (Open, "b", Ok(())),
        (Create, "b", Err(Code::KeyspaceExists)),
        (Drop, "a", Ok(())),
        (Drop, "a", Err(Code::NoSuchKeyspace)),
        (Create, "a", Ok(())),
        (Drop, "b", Ok(())),
        (Open, "b", Ok(())),
        (Open, "", Err(Code::InvalidName)),
        (Create, "two\nlines", Err(Code::InvalidName)),
        (Create, &long, Err(Code::InvalidName)),
        (Open, &long[1..], Ok(())),
    ];
    let embedded = Options::new().open_on(Arc::new(SimDisk::new())).unwrap();
    run(async {
        let (server, address) = serve(&Arc::default(), &config("127.0.0.1:0")).await;
        let client = Client::connect(&address).await.unwrap();
        for (step, name, expected) in steps {
            let here = match step {
                Open => embedded.keyspace(name).map(drop),
                Create => embedded.create_keyspace(name).map(drop),
                Drop => embedded.drop_keyspace(name).map(drop),
            };
            let there = match step {
                Open => client.keyspace(name).await.map(drop),
                Create => client.create_keyspace(name).await.map(drop),
                Drop => client.drop_keyspace(name).await,
            };
            let here = here.map_err(|error| Failure::from(&error).code);
            assert_eq!(here, expected, "{step:?} {name:?}, embedded");
            let there = there.map_err(|error| error.code().expect("an error of the server"));
            assert_eq!(there, expected, "{step:?} {name:?}, over a connection");
            assert_eq!(embedded.keyspaces(), client.keyspaces().await.unwrap());
        }
        client.close().await;
        server.stop().await.unwrap();
    });
}

#[test]
fn put_is_read_back_in_every_mode() {
    run(async {
        let (server, address) = serve(&Arc::default(), &config("127.0.0.1:0")).await;
        let client = Client::connect(&address).await.unwrap();
        let missing = client.existing_keyspace("rows").get("k").await.unwrap_err();
        assert_eq!(missing.code(), Some(Code::NoSuchKeyspace));
        let rows = client.keyspace("rows").await.unwrap();
        assert_eq!(rows.get("k").await.unwrap(), None);
        let job = rows.put("k", "1").await.unwrap();
        assert!(job.is_durable(), "{job:?}");
        let job = rows.put_with("k", "2", CommitMode::Async).await.unwrap();
        assert_eq!(rows.get("k").await.unwrap().as_deref(), Some(&b"2"[..]));
        assert_eq!(job.wait(PATIENCE).await.unwrap(), JobState::Durable);
        let job = rows.put_with("k", "3", Write::job()).await.unwrap();
        let mut events = job.watch();
        let (id, state) = events.next().await.unwrap().unwrap();
        assert_eq!((id.as_str(), state), (job.id(), JobState::Durable));
        assert!(events.next().await.is_none());
        assert_eq!(client.job(job.id()).status().await.unwrap(), JobState::Durable);
        let once = || Write::from(CommitMode::Sync).once("once");
        assert_eq!(rows.put_with("k", "4", once()).await.unwrap().applied(), Some(Applied::Now));
        let again = rows.put_with("k", "5", once()).await.unwrap();
        assert_eq!(again.applied(), Some(Applied::Before));
        // The answer in mode `Job` does not tell it.
        let again = rows.put_with("k", "6", Write::job().once("once")).await.unwrap();
        assert_eq!(again.applied(), None);
        assert_eq!(rows.get("k").await.unwrap().as_deref(), Some(&b"4"[..]));
        rows.delete("k").await.unwrap();
        let mut batch = Batch::new();
        batch.put("rows", "a", "1");
        batch.put("rows", "b", "2");
        batch.delete("rows", "a");
        assert_eq!(batch.len(), 3);
        assert!(client.write(&batch, CommitMode::Sync).await.unwrap().is_durable());
        assert_eq!(rows.get("a").await.unwrap(), None);
        assert_eq!(rows.get("b").await.unwrap().as_deref(), Some(&b"2"[..]));
        drop(client);
        drop(rows);
        server.stop().await.unwrap();
    });
}

#[test]
fn range_comes_whole_in_either_order_and_may_be_dropped_early() {
    run(async {
        let (server, address) = serve(&Arc::default(), &config("127.0.0.1:0")).await;
        let client = Client::options().max_in_flight(2).connect(&address);
        let client = client.await.unwrap();
        let rows = client.keyspace("rows").await.unwrap();
        let value = vec![7; 1000];
        let mut batch = Batch::new();
        for number in 0..5000 {
            batch.put("rows", format!("{number:05}"), &value);
        }
        client.write(&batch, CommitMode::Async).await.unwrap();
        let mut entries = rows.range("00010".."04990").entries().await.unwrap();
        for number in 10..4990 {
            let (key, found) = entries.next().await.unwrap().unwrap();
            assert_eq!((key, &found), (format!("{number:05}").into_bytes(), &value));
        }
        assert!(entries.next().await.is_none());
        let last = rows.range::<&str>(..).descending().limit(2).entries().await.unwrap();
        let last: Vec<_> = futures_util::StreamExt::collect(last).await;
        let keys: Vec<_> = last.into_iter().map(|entry| entry.unwrap().0).collect();
        assert_eq!(keys, [b"04999", b"04998"]);
        assert_eq!(rows.len().await.unwrap(), 5000);
        assert_eq!(rows.first().await.unwrap().unwrap().0, b"00000");
        assert_eq!(rows.last().await.unwrap().unwrap().0, b"04999");
        assert!(rows.contains_key("00007").await.unwrap());
        assert!(!rows.contains_key("7").await.unwrap() && !rows.is_empty().await.unwrap());
        let tens: Vec<_> =
            futures_util::StreamExt::collect(rows.prefix("0001").entries().await.unwrap()).await;
        assert_eq!(tens.len(), 10);
        // With two permits in flight, dropped streams must free theirs.
        for _ in 0..10 {
            let mut left = rows.range::<&str>(..).entries().await.unwrap();
            left.next().await.unwrap().unwrap();
        }
        assert!(rows.get("00000").await.unwrap().is_some());
        drop((client, rows));
        server.stop().await.unwrap();
    });
}

#[test]
fn operations_on_the_whole_store_work_over_a_connection() {
    run(async {
        let (server, address) = serve(&Arc::default(), &config("127.0.0.1:0")).await;
        let one = Client::connect(&address).await.unwrap();
        let two = Client::connect(&address).await.unwrap();
        let rows = one.keyspace("rows").await.unwrap();
        assert!(rows.is_empty().await.unwrap() && rows.last().await.unwrap().is_none());
        let mut moves = two.watch_watermarks(Duration::ZERO);
        let first = moves.next().await.unwrap().unwrap();
        let job = rows.put_with("k", "v", CommitMode::Async).await.unwrap();
        let flushed = two.flush().await.unwrap();
        assert!(flushed.durable > first.durable);
        assert_eq!(job.status().await.unwrap(), JobState::Durable);
        while moves.next().await.unwrap().unwrap().durable < flushed.durable {}
        assert_eq!(one.keyspaces().await.unwrap(), ["rows"]);
        assert!(one.checkpoint().await.unwrap().checkpoint >= flushed.durable);
        let found = two.verify().await.unwrap();
        assert!(found.is_clean() && found.keys == 1, "{found:?}");
        let job = two.begin_verify().await.unwrap();
        let end = job.wait(PATIENCE).await.unwrap();
        assert!(matches!(end, JobState::Done { .. }), "{end:?}");
        let stats = one.stats().await.unwrap();
        assert!(!stats.figures.is_empty());
        one.drop_keyspace("rows").await.unwrap();
        let gone = rows.put("k", "v").await.unwrap_err();
        assert_eq!(gone.code(), Some(Code::NoSuchKeyspace));
        drop((one, two, rows, job, moves));
        server.stop().await.unwrap();
    });
}

#[test]
fn client_reconnects_when_the_server_comes_back() {
    run(async {
        let disk = Arc::default();
        let (server, address) = serve(&disk, &config("127.0.0.1:0")).await;
        let client = Client::connect(&address).await.unwrap();
        let rows = client.keyspace("rows").await.unwrap();
        let job = rows.put("k", "v").await.unwrap();
        server.stop().await.unwrap();
        let (server, _) = serve(&disk, &config(&address)).await;
        assert_eq!(rows.get("k").await.unwrap().as_deref(), Some(&b"v"[..]));
        assert_eq!(job.status().await.unwrap(), JobState::Durable);
        server.stop().await.unwrap();
        let client = Client::options().connect_timeout(Duration::from_millis(50));
        let refused = client.connect(&address).await;
        assert!(matches!(refused, Err(Error::Connect { .. })), "{refused:?}");
    });
}

#[test]
fn tasks_share_a_connection() {
    run(async {
        let (server, address) = serve(&Arc::default(), &config("127.0.0.1:0")).await;
        let client = Client::options().max_in_flight(16).connect(&address);
        let client = client.await.unwrap();
        let rows = client.keyspace("rows").await.unwrap();
        let task = async |task: u32, rows: super::super::Keyspace| {
            for number in 0..50 {
                let key = format!("{task}-{number}");
                let mode = if number % 10 == 0 { CommitMode::Sync } else { CommitMode::Async };
                rows.put_with(&key, &key, mode).await.unwrap();
                assert_eq!(rows.get(&key).await.unwrap(), Some(key.into_bytes()));
            }
        };
        let tasks = (0..64).map(|number| {
            let rows = rows.clone();
            tokio::spawn(async move { task(number, rows).await })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        drop((client, rows));
        server.stop().await.unwrap();
    });
}

/// Jobs that no server knows beside one that ends.
#[test]
fn job_that_can_never_be_known_is_told_once_and_the_others_end() {
    run(async {
        let (server, address) = serve(&Arc::default(), &config("127.0.0.1:0")).await;
        let client = Client::connect(&address).await.unwrap();
        let rows = client.keyspace("rows").await.unwrap();
        let job = rows.put_with("k", "1", Write::job()).await.unwrap();
        let mut events = client.watch_jobs(["no job", job.id(), "00-none"]);
        let (mut errors, mut ends) = (0, 0);
        while let Some(event) = events.next().await {
            match event {
                Ok((id, state)) if state.is_final() => {
                    assert_eq!((id.as_str(), state), (job.id(), JobState::Durable));
                    ends += 1;
                }
                Ok(_) => {}
                Err(error) => {
                    assert_eq!(error.code(), Some(Code::InvalidToken), "{error:?}");
                    errors += 1;
                }
            }
        }
        assert_eq!((errors, ends), (2, 1));
        client.close().await;
        server.stop().await.unwrap();
    });
}
