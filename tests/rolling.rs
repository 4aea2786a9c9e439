//! Graceful restarts of a server under clients that write all the time: no client is left with a write
//! of unknown outcome (PROTOCOL.md, section 3).

#![cfg(unix)]

#[path = "support/served.rs"]
mod served;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use served::{Server, free_address};
use syncline::CommitMode;
use syncline::client::{Applied, Client, Keyspace, Write};

const RESTARTS: u32 = 10;
const WRITERS: u64 = 8;
/// The least number of writes that each life answers.
const WRITES: u64 = 400;

/// The state that the writers share.
#[derive(Default)]
struct Progress {
    is_over: AtomicBool,
    /// Writes that were done.
    done: AtomicU64,
}

/// Writes the numbers from 1 on to one key, every second one with an idempotency key. Returns the number
/// that the store must have at the end.
async fn write(rows: Keyspace, writer: u64, progress: Arc<Progress>) -> u64 {
    let mut last = 0;
    for number in 1_u64.. {
        if progress.is_over.load(Ordering::Relaxed) {
            break;
        }
        let is_once = number % 2 == 0;
        let mode = [CommitMode::Sync, CommitMode::Async][number as usize / 2 % 2];
        let mut how = Write::from(mode);
        if is_once {
            how = how.once(format!("{writer} {number}"));
        }
        let put = rows.put_with(writer.to_be_bytes(), number.to_be_bytes(), how).await;
        match put {
            Ok(job) => {
                // Applied by this call: no earlier try had an unknown outcome.
                assert_eq!(job.applied(), Some(Applied::Now), "{writer}, {number}");
                last = number;
                progress.done.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                assert!(error.is_undone(), "{writer}, {number}: unknown outcome: {error:?}");
                assert!(error.is_retryable(), "{writer}, {number}: {error:?}");
            }
        }
    }
    last
}

/// Waits for `WRITES` more answers.
async fn wait_for_writes(progress: &Progress) {
    let enough = progress.done.load(Ordering::Relaxed) + WRITES;
    let end = Instant::now() + Duration::from_secs(60);
    while progress.done.load(Ordering::Relaxed) < enough {
        assert!(Instant::now() < end, "nothing is written");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn a_server_that_is_restarted_gracefully_leaves_no_write_in_doubt() {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let address = free_address();
    let mut server = Server::start(dir.path(), &address);
    let last = runtime.block_on(async {
        let client = loop {
            match Client::connect(&address).await {
                Ok(client) => break client,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        let rows = client.keyspace("rows").await.unwrap();
        let progress = Arc::new(Progress::default());
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| tokio::spawn(write(rows.clone(), writer, Arc::clone(&progress))))
            .collect();
        for _ in 0..RESTARTS {
            wait_for_writes(&progress).await;
            let begun = Instant::now();
            tokio::task::block_in_place(|| server.end());
            // The server waits for its clients, not for the end of the time that it gives them.
            assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
            server = Server::start(dir.path(), &address);
        }
        wait_for_writes(&progress).await;
        progress.is_over.store(true, Ordering::Relaxed);
        let mut last = Vec::new();
        for writer in writers {
            last.push(writer.await.unwrap());
        }
        assert!(client.connection_figures().made >= u64::from(RESTARTS));
        client.close().await;
        last
    });
    server.end();
    let store = syncline::Options::new().must_exist().open(dir.path()).unwrap();
    let rows = store.keyspace("rows").unwrap();
    for (writer, number) in (0..WRITERS).zip(last) {
        let found = rows.get(writer.to_be_bytes()).unwrap().expect("it wrote something");
        assert_eq!(found, number.to_be_bytes(), "{writer}");
    }
    support::assert_sound(&store);
}
