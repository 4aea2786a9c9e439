//! Tests of the log as a whole.

#[cfg(not(syncline_shuttle))]
mod crash;
mod disk;
#[cfg(not(syncline_shuttle))]
mod group;
#[cfg(not(syncline_shuttle))]
mod growth;
#[cfg(syncline_shuttle)]
mod interleavings;
#[cfg(not(syncline_shuttle))]
mod limits;
#[cfg(not(syncline_shuttle))]
mod pieces;
#[cfg(not(syncline_shuttle))]
mod rot;
#[cfg(not(syncline_shuttle))]
mod round_trip;
#[cfg(not(syncline_shuttle))]
mod story;

use std::sync::Arc;
use std::time::Duration;

use self::disk::{Knobs, spied_disk};
use super::format::segment_name;
use super::scan::Tail;
use super::{Appender, Log, LogOptions, Scan};
use crate::engine::base::error::Result;
use crate::engine::base::lsn::{Incarnation, Life as LogLife, LifeMark, Lsn, Secret, StoreId};
use crate::engine::disk::Disk;

const STORE: StoreId = StoreId([7; 16]);
const LIFE: LogLife = LogLife {
    store: STORE,
    incarnation: Incarnation::new(1),
    mark: LifeMark(0xfeed),
    secret: Secret(*b"a secret of test"),
};
const NEXT_LIFE: LogLife = LogLife {
    incarnation: Incarnation::new(2),
    mark: LifeMark(0xbeef),
    secret: Secret(*b"another secret.."),
    ..LIFE
};
const S: u64 = 64 << 10;

fn small() -> LogOptions {
    LogOptions {
        segment_bytes: S,
        first_bytes: S,
        max_unsynced_bytes: 1 << 30,
        flush_interval: Duration::from_millis(1),
        prefault_bytes: 8 << 10,
    }
}

/// A log on a disk that injects faults.
pub(super) struct Rig {
    disk: Arc<dyn Disk>,
    knobs: Arc<Knobs>,
    pub(super) log: Arc<Log>,
    appender: Appender,
}

impl Rig {
    pub(super) fn new() -> Self {
        Rig::with(small())
    }

    fn with(options: LogOptions) -> Self {
        let (disk, knobs) = spied_disk();
        let (log, appender) = Log::begin(Arc::clone(&disk), options, LIFE, 2, &[]).unwrap();
        Rig { disk, knobs, log: Arc::new(log), appender }
    }

    fn try_append(&mut self, payload: &[u8]) -> Result<Lsn> {
        append(&self.log, &mut self.appender, payload)
    }

    pub(super) fn append(&mut self, payload: &[u8]) -> Lsn {
        self.try_append(payload).unwrap()
    }

    fn scan(&self) -> Result<(Vec<Vec<u8>>, Tail)> {
        scan(&self.disk, Lsn::ZERO)
    }

    fn overwrite(&self, at: Lsn, bytes: &[u8]) {
        let file = self.disk.open(&segment_name(at.get() / S)).unwrap();
        file.write_at(at.get() % S, bytes).unwrap();
    }

    fn read(&self, at: Lsn, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let file = self.disk.open(&segment_name(at.get() / S)).unwrap();
        file.read_at(at.get() % S, &mut bytes).unwrap();
        bytes
    }
}

/// Appends as the engine does.
fn append(log: &Log, appender: &mut Appender, payload: &[u8]) -> Result<Lsn> {
    loop {
        log.reserve(payload.len())?;
        if let Some(lsn) = log.append(appender, 9, payload, crc32fast::hash(payload)) {
            log.publish(lsn);
            return Ok(lsn);
        }
    }
}

/// The payloads of the log that began in segment 2.
fn scan(disk: &Arc<dyn Disk>, known_durable: Lsn) -> Result<(Vec<Vec<u8>>, Tail)> {
    let from = Lsn::new(2 * S);
    let mut scan = Scan::open(Arc::clone(disk), LIFE, S, from, known_durable)?;
    let mut payloads = Vec::new();
    while let Some(entry) = scan.next()? {
        assert_eq!(entry.class, 9);
        payloads.push(entry.payload.to_vec());
    }
    Ok((payloads, scan.tail().clone()))
}

/// A payload that depends on `number`.
fn payload(number: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (number * 31 + at * 7 + at / 256) as u8 | 1).collect()
}
