//! Writes behind a write that has to wait.

use std::sync::mpsc;

use super::peer::put;
use super::talk::Talk;
use crate::net::proto::{Batch, Mode, Op, OpsBuffer, Request};

/// Feeds all requests to the session. The only thread of the pool finishes the first `first` ones, and
/// is then blocked until the channel is closed.
fn take_and_block(talk: &mut Talk, first: usize) -> mpsc::Sender<()> {
    talk.take(first);
    let (sender, held) = mpsc::channel();
    let pool = &talk.shared.pool;
    let task = move || {
        let _ = held.recv();
    };
    pool.submit(pool.lane(), task).unwrap();
    talk.take(usize::MAX);
    sender
}

#[test]
fn writes_behind_a_waiting_one_are_done_without_the_pool() {
    let mut talk = Talk::greeted();
    talk.heard();
    // A long value has its own pages, so the pool writes it.
    let long = "v".repeat(20_000);
    let mut asked = vec![talk.ask(&put("long", &long, Mode::Async))];
    for number in 0..50 {
        asked.push(talk.ask(&put(&format!("key{}", number % 7), "value", Mode::Async)));
        let mut ops = OpsBuffer::new();
        ops.push(&Op::Put { keyspace: "rows", key: b"key1", value: b"batch" });
        let batch = Batch { mode: Mode::Async, once: None, ops: ops.ops() };
        asked.push(talk.ask(&Request::Batch(batch)));
    }
    let blocked = take_and_block(&mut talk, 1);
    let mut answered = Vec::new();
    talk.until(|talk| {
        answered.extend(talk.ids());
        answered.len() == asked.len()
    });
    assert_eq!(answered, asked, "in order");
    drop(blocked);
}

#[test]
fn writes_behind_two_waiting_ones_keep_their_order() {
    let mut talk = Talk::greeted();
    talk.heard();
    let long = "v".repeat(20_000);
    let mut asked = vec![talk.ask(&put("long", &long, Mode::Async))];
    asked.push(talk.ask(&put("key", "1", Mode::Async)));
    asked.push(talk.ask(&put("key", &long, Mode::Async)));
    asked.push(talk.ask(&put("key", "2", Mode::Async)));
    let blocked = take_and_block(&mut talk, 1);
    let mut answered = Vec::new();
    talk.until(|talk| {
        answered.extend(talk.ids());
        answered.len() == 2
    });
    assert_eq!(answered, asked[..2], "WRITES-1: none overtakes the second long one");
    drop(blocked);
    talk.until(|talk| {
        answered.extend(talk.ids());
        answered.len() == asked.len()
    });
    assert_eq!(answered, asked);
    let rows = talk.shared.service.store().open_keyspace("rows").unwrap().unwrap();
    assert_eq!(rows.get("key").unwrap().as_deref(), Some(&b"2"[..]));
}
