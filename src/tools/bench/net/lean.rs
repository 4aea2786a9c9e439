//! A load generator that does as little as possible: it sends packets, receives packets and reads a clock.
//!
//! One thread serves all connections. A connection pipelines: one write sends as many requests as the
//! last read brought answers.

use std::io;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::super::draws::Chance;
use super::super::error::BenchError;
use super::super::measure;
use super::super::rows::key;
use super::super::values::Value;
use super::wire::Wire;
use crate::net::client::Dial;
use crate::net::proto::{Batch, CreateKeyspace, Existing, Get, Mode, Op, OpsBuffer, Put, Request};

/// The keyspace of all rows.
pub(super) const KEYSPACE: &str = "bench";

/// The request that is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    Get,
    Put(Mode),
}

impl Work {
    pub(super) const ALL: [Work; 4] =
        [Work::Get, Work::Put(Mode::Async), Work::Put(Mode::Sync), Work::Put(Mode::Job)];

    pub(super) fn name(self) -> &'static str {
        match self {
            Work::Get => "get",
            Work::Put(Mode::Async) => "async put",
            Work::Put(Mode::Sync) => "sync put",
            Work::Put(Mode::Job) => "job put",
        }
    }
}

/// The amount of load.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) work: Work,
    pub(super) connections: usize,
    pub(super) in_flight: usize,
    pub(super) keys: u64,
    pub(super) value_bytes: usize,
    pub(super) seed: u64,
    pub(super) time: Duration,
}

/// The result of a load.
pub(super) struct Loaded {
    pub(super) ops: u64,
    pub(super) elapsed: Duration,
    pub(super) latency_ns: Histogram<u64>,
    pub(super) bytes_out: u64,
    pub(super) bytes_in: u64,
}

/// Puts every row.
pub(super) async fn fill(dial: &Dial, keys: u64, value_bytes: usize) -> Result<(), BenchError> {
    let failed = || BenchError::io("fill the store");
    let mut wire = Wire::connect(dial).await?;
    let create = CreateKeyspace { name: KEYSPACE, existing: Existing::Accept };
    wire.ask(&Request::CreateKeyspace(create), |_| ()).await.map_err(failed())?;
    let mut value = Value::of(value_bytes);
    for first in (0..keys).step_by(1000) {
        let mut ops = OpsBuffer::new();
        for number in first..keys.min(first + 1000) {
            let (key, value) = (&key(number)[..], value.row(number));
            ops.push(&Op::Put { keyspace: KEYSPACE, key, value });
        }
        let batch = Batch { mode: Mode::Async, once: None, ops: ops.ops() };
        wire.ask(&Request::Batch(batch), |_| ()).await.map_err(failed())?;
    }
    wire.ask(&Request::Flush, |_| ()).await.map_err(failed())
}

/// Makes the load. A quarter of the time is warm-up.
pub(super) async fn run(dial: &Dial, load: Load) -> Result<Loaded, BenchError> {
    let failed = || BenchError::io("ask the server");
    let wires = Wire::connect_many(dial, load.connections).await?;
    let warm = Instant::now() + load.time / 4;
    let set = tokio::task::LocalSet::new();
    let tasks = wires
        .into_iter()
        .enumerate()
        .map(|(index, wire)| set.spawn_local(converse(wire, load, index, warm)));
    let tasks: Vec<_> = tasks.collect();
    set.await;
    let latency_ns = measure::new_histogram();
    let mut all = Loaded { ops: 0, elapsed: load.time, latency_ns, bytes_out: 0, bytes_in: 0 };
    for task in tasks {
        let one = task.await.map_err(|error| io::Error::other(error.to_string()));
        let one = one.and_then(|one| one).map_err(failed())?;
        all.ops += one.ops;
        all.bytes_out += one.bytes_out;
        all.bytes_in += one.bytes_in;
        all.latency_ns.add(&one.latency_ns).expect("the same bounds");
    }
    Ok(all)
}

/// One connection's part of the load.
async fn converse(mut wire: Wire, load: Load, index: usize, warm: Instant) -> io::Result<Loaded> {
    let mut chance = Chance::new(load.seed, index);
    let mut value = Value::of(load.value_bytes);
    let mut sent_at = vec![warm; load.in_flight];
    let mut free: Vec<usize> = (0..load.in_flight).collect();
    let mut latency_ns = measure::new_histogram();
    let (mut ops, mut before) = (0, (0, 0));
    let (mut is_warm, end) = (false, warm + load.time);
    loop {
        let now = Instant::now();
        if now >= end {
            break;
        }
        if !is_warm && now >= warm {
            (is_warm, before) = (true, (wire.bytes_out, wire.bytes_in));
        }
        for slot in free.drain(..) {
            sent_at[slot] = now;
            let number = chance.below(load.keys);
            let key = key(number);
            let (keyspace, key) = (KEYSPACE, &key[..]);
            let request = match load.work {
                Work::Get => Request::Get(Get { keyspace, key }),
                Work::Put(mode) => {
                    let value = value.row(number);
                    Request::Put(Put { keyspace, key, value, mode, once: None })
                }
            };
            wire.add(slot as u64 + 1, &request);
        }
        wire.flush().await?;
        wire.read().await?;
        let now = Instant::now();
        wire.take(|id| {
            let slot = id as usize - 1;
            if is_warm && now < end {
                ops += 1;
                latency_ns.saturating_record((now - sent_at[slot]).as_nanos() as u64);
            }
            free.push(slot);
        })?;
    }
    let (bytes_out, bytes_in) = (wire.bytes_out - before.0, wire.bytes_in - before.1);
    Ok(Loaded { ops, elapsed: load.time, latency_ns, bytes_out, bytes_in })
}
