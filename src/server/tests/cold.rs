//! Writes of one key that one connection sends at once, over a store that is larger than its cache:
//! some find their leaf in memory and some do not, some are long, and all take effect in order.

use std::sync::Arc;

use super::peer::{Peer, config, get, put, serve};
use crate::disk::SimDisk;
use crate::disk::sim::rng::SplitMix64;
use crate::proto::{Delete, Mode, Request, Response};
use crate::{CommitMode, Options, Store, WriteBatch};

/// Rows of a thousand bytes: three times what the cache holds.
const ROWS: u64 = 3000;
/// Keys that are written, each as often as this.
const KEYS: u64 = 150;
const WRITES: u64 = 8;

fn large_store() -> Store {
    let options = Options::new().cache_bytes(1 << 20).page_bytes(4096);
    let store = options.open_on(Arc::new(SimDisk::new())).unwrap();
    let rows = store.keyspace("rows").unwrap();
    for first in (0..ROWS).step_by(100) {
        let mut batch = WriteBatch::new();
        (first..first + 100).for_each(|row| batch.put(&rows, row_key(row), vec![1; 1000]));
        store.write_with(batch, CommitMode::Async).unwrap();
    }
    store
}

fn row_key(row: u64) -> String {
    format!("row {row:05}")
}

fn delete(key: &str) -> Request<'_> {
    let (key, mode) = (key.as_bytes(), Mode::Async);
    Request::Delete(Delete { keyspace: "rows", key, mode, once: None })
}

#[ignore = "awaits the order of pooled writes (torture::awaited::Awaited::PipelinedOrder)"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cold_key_shows_the_last_of_the_writes_that_were_sent_at_once() {
    const SEED: u64 = 5;
    println!("seed {SEED}");
    let (server, address) = serve(large_store(), &config()).await;
    let mut peer = Peer::greeted(address).await;
    let mut rng = SplitMix64::new(SEED);
    let mut id = 10;
    for _ in 0..KEYS {
        let key = format!("{}/{}", row_key(rng.below(ROWS)), rng.next());
        let mut last = None;
        for write in 0..WRITES {
            let bytes = if rng.below(4) == 0 { 40_000 } else { 20 };
            let value = format!("{write} {}", "x".repeat(bytes));
            last = (rng.below(3) > 0).then_some(value);
            match &last {
                Some(value) => peer.add(id, &put(&key, value, Mode::Async)),
                None => peer.add(id, &delete(&key)),
            }
            id += 1;
        }
        peer.flush().await;
        for _ in 0..WRITES {
            let answer = peer.answer().await;
            assert!(matches!(answer.response(), Response::Written(_)), "{:?}", answer.response());
        }
        let found = peer.ask(id, &get(&key)).await.value();
        id += 1;
        let shown = |value: Option<&[u8]>| value.map(|value| value[..value.len().min(3)].to_vec());
        let last = last.as_deref().map(str::as_bytes);
        assert_eq!(shown(found.as_deref()), shown(last), "{key} shows an earlier write");
    }
    server.stop().await.unwrap();
}
