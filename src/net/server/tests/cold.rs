//! Writes that one connection sends together, to a store that is larger than its cache. Some find their
//! leaf in memory, some are long, some have an idempotency key. All take effect in the order sent.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::peer::{Hold, Peer, config, get, put, serve, store};
use crate::engine::base::random::SplitMix64;
use crate::engine::disk::SimDisk;
use crate::net::proto::{
    Batch, Cancel, Code, CreateKeyspace, Delete, DropKeyspace, Existing, Get, Mode, Op, OpsBuffer,
    Put, Request, Response,
};
use crate::{CommitMode, Options, Store, WriteBatch};

/// Bytes of a row, which is stored in its leaf: all rows are two and a half times the cache.
const ROW_BYTES: usize = 900;
pub(super) const ROWS: u64 = 3000;
/// Keys that are written, and the writes of each.
const KEYS: u64 = 150;
const WRITES: u64 = 8;

fn large_store() -> Store {
    large_store_on(&SimDisk::new())
}

pub(super) fn large_store_on(disk: &SimDisk) -> Store {
    let options = Options::new().cache_bytes(1 << 20).page_bytes(4096);
    let store = options.open_on(Arc::new(disk.clone())).unwrap();
    let rows = store.keyspace("rows").unwrap();
    for first in (0..ROWS).step_by(100) {
        let mut batch = WriteBatch::new();
        (first..first + 100).for_each(|row| batch.put(&rows, row_key(row), vec![1; ROW_BYTES]));
        store.write_with(batch, CommitMode::Async).unwrap();
    }
    store
}

pub(super) fn row_key(row: u64) -> String {
    format!("row {row:05}")
}

/// The key of a row whose leaf is not in memory.
pub(super) fn cold_key(store: &Store) -> String {
    let rows = store.open_keyspace("rows").unwrap().unwrap();
    let is_cold = |key: &String| rows.peek(key.as_bytes(), |_| ()).unwrap().is_none();
    (100..ROWS).map(row_key).find(is_cold).expect("they do not all fit")
}

/// The beginning of a key's value.
type Shown = Option<Vec<u8>>;

fn shown(value: Option<&[u8]>) -> Shown {
    value.map(|value| value[..value.len().min(3)].to_vec())
}

/// Adds a write of any kind, the `number`th of its key. Returns the value that the key has then.
fn add_write(peer: &mut Peer, id: u64, key: &str, number: u64, rng: &mut SplitMix64) -> Shown {
    let long = if rng.below(4) == 0 { 40_000 } else { 20 };
    let value = format!("{number} {}", "x".repeat(long));
    let value = (rng.below(3) > 0).then_some(value);
    let once = (rng.below(3) == 0).then(|| format!("{key} {number}"));
    let once = once.as_ref().map(String::as_bytes);
    let (keyspace, name, mode) = ("rows", key.as_bytes(), Mode::Async);
    let delete = Op::Delete { keyspace, key: name };
    let mut ops = OpsBuffer::new();
    let request = match (&value, rng.below(3)) {
        (Some(value), 0) => {
            ops.push(&delete);
            ops.push(&Op::Put { keyspace, key: name, value: value.as_bytes() });
            Request::Batch(Batch { mode, once, ops: ops.ops() })
        }
        (None, 0) => {
            ops.push(&delete);
            Request::Batch(Batch { mode, once, ops: ops.ops() })
        }
        (Some(value), _) => {
            Request::Put(Put { keyspace, key: name, value: value.as_bytes(), mode, once })
        }
        (None, _) => Request::Delete(Delete { keyspace, key: name, mode, once }),
    };
    peer.add(id, &request);
    shown(value.as_ref().map(String::as_bytes))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_get_of_a_cold_key_finds_the_last_write_sent_before_it() {
    const SEED: u64 = 5;
    println!("seed {SEED}");
    let (server, address) = serve(large_store(), &config()).await;
    let mut peer = Peer::greeted(address).await;
    let mut rng = SplitMix64::new(SEED);
    let (mut id, mut places) = (10, BTreeMap::new());
    for _ in 0..KEYS {
        let key = format!("{}/{}", row_key(rng.below(ROWS)), rng.next());
        let (mut last, mut gets, mut sent) = (None, BTreeMap::new(), 0);
        for number in 0..WRITES {
            last = add_write(&mut peer, id, &key, number, &mut rng);
            if number + 1 == WRITES || rng.below(3) == 0 {
                id += 1;
                peer.add(id, &get(&key));
                gets.insert(id, (number, last.clone()));
                sent += 1;
            }
            (id, sent) = (id + 1, sent + 1);
        }
        peer.flush().await;
        for _ in 0..sent {
            let answer = peer.answer().await;
            let Some((number, expected)) = gets.remove(&answer.id) else {
                let Response::Written(written) = answer.response() else { panic!("{answer:?}") };
                places.insert(answer.id, written.receipt.lsn);
                continue;
            };
            // It may show a write that was sent later, before the get was answered.
            let found = shown(answer.value().as_deref());
            let is_later = |at: u8| u64::from(at - b'0') > number;
            let may_be = found == expected || found.as_ref().is_none_or(|found| is_later(found[0]));
            assert!(may_be, "{key} shows {found:?} behind {expected:?}");
        }
        let found = shown(peer.ask(id, &get(&key)).await.value().as_deref());
        assert_eq!(found, last, "{key} shows an earlier write");
        id += 1;
    }
    assert!(places.values().is_sorted_by(|a, b| a < b), "ids are in the order of sending");
    server.stop().await.unwrap();
}

/// Some of these writes have to read the pages of a long value that they replace. Those behind them
/// need not, but still wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_of_any_keys_and_lengths_are_logged_in_the_order_they_were_sent() {
    const SEED: u64 = 6;
    println!("seed {SEED}");
    let store = large_store();
    let rows = store.open_keyspace("rows").unwrap().unwrap();
    let long_key = |number: u64| format!("long {number:05}");
    for number in 0..300 {
        rows.put_with(long_key(number), vec![7; 30_000], CommitMode::Async).unwrap();
    }
    let (server, address) = serve(store, &config()).await;
    let mut peer = Peer::greeted(address).await;
    let mut rng = SplitMix64::new(SEED);
    for round in 0..40 {
        let ids = 10 + round * 40..50 + round * 40;
        for id in ids.clone() {
            let value = "x".repeat([1, 3000, 30_000][rng.below(3) as usize]);
            let mode = if rng.below(2) == 0 { Mode::Async } else { Mode::Sync };
            peer.add(id, &put(&long_key(rng.below(300)), &value, mode));
        }
        peer.flush().await;
        let mut places = BTreeMap::new();
        for _ in ids.clone() {
            let answer = peer.answer().await;
            let Response::Written(written) = answer.response() else { panic!("{answer:?}") };
            places.insert(answer.id, written.receipt.lsn);
        }
        assert!(places.keys().copied().eq(ids));
        assert!(places.values().is_sorted_by(|a, b| a < b), "round {round}: {places:?}");
    }
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keyspace_is_created_before_later_writes_and_dropped_after_earlier_ones() {
    let (server, address) = serve(store(), &config()).await;
    let mut peer = Peer::greeted(address).await;
    for round in 0..20 {
        let name = format!("new {round}");
        let existing = Existing::Refuse;
        let put = |value| {
            let (keyspace, key, mode, once) = (name.as_str(), b"k".as_slice(), Mode::Async, None);
            Request::Put(Put { keyspace, key, value, mode, once })
        };
        let get = Request::Get(Get { keyspace: &name, key: b"k" });
        peer.add(2, &Request::CreateKeyspace(CreateKeyspace { name: &name, existing }));
        peer.add(3, &put(b"1"));
        peer.add(4, &put(b"2"));
        peer.add(5, &get);
        peer.add(6, &Request::Flush);
        peer.flush().await;
        let mut answers = BTreeMap::new();
        for _ in 2..7 {
            let answer = peer.answer().await;
            answers.insert(answer.id, answer);
        }
        assert!(matches!(answers[&2].response(), Response::Done));
        let Response::Written(written) = answers[&4].response() else { panic!("{answers:?}") };
        assert_eq!(answers[&5].value().as_deref(), Some(&b"2"[..]));
        let Response::Marks(marks) = answers[&6].response() else { panic!("{answers:?}") };
        assert!(marks.durable >= written.receipt.lsn, "a flush covers the writes before it");
        peer.add(2, &Request::DropKeyspace(DropKeyspace { name: &name }));
        peer.add(3, &put(b"3"));
        peer.flush().await;
        let answers = [peer.answer().await, peer.answer().await];
        let answers: BTreeMap<_, _> = answers.iter().map(|answer| (answer.id, answer)).collect();
        assert!(matches!(answers[&2].response(), Response::Done), "{answers:?}");
        assert_eq!(answers[&3].code(), Code::NoSuchKeyspace);
    }
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_write_blocks_only_its_own_connection() {
    let disk = SimDisk::new();
    let (_, hold) = Hold::of(&disk);
    let store = large_store_on(&disk);
    let (server, address) = serve(store.clone(), &config()).await;
    let mut waits = Peer::greeted(address).await;
    waits.ask(2, &put("k", "v", Mode::Async)).await;
    hold.hold();
    // A put waits for its leaf to be read, and the next put waits for the first.
    waits.add(3, &put(&cold_key(&store), "v", Mode::Async));
    waits.add(4, &put("k", "w", Mode::Async));
    waits.add(5, &get("k"));
    waits.add(6, &get("other"));
    waits.flush().await;
    let other = waits.answer().await;
    assert_eq!((other.id, other.value()), (6, None), "a get of another key overtakes");
    let mut peer = Peer::greeted(address).await;
    for id in 2..50 {
        let answer = peer.ask(id, &put("k", "x", Mode::Async)).await;
        assert!(matches!(answer.response(), Response::Written(_)));
    }
    waits.send(7, &Request::Cancel(Cancel { id: 5 })).await;
    assert_eq!(waits.answer().await.code(), Code::Cancelled, "a held get can be cancelled");
    hold.let_go();
    let ids = [waits.answer().await.id, waits.answer().await.id];
    assert_eq!(ids, [3, 4]);
    assert_eq!(peer.ask(50, &get("k")).await.value().as_deref(), Some(&b"w"[..]));
    server.stop().await.unwrap();
}
