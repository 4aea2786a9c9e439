//! The counters of the simulated tier, one set per worker.

use std::time::Duration;

use super::explore::CrashAt;
use super::history::{History, Mark};
use super::rot::RotCount;
use super::shape::Coverage;
use super::site::Sites;
use super::step::Kept;
use super::watch::Point;
use crate::tools::torture::{FaultRow, Moment, Picture};

/// The names of the faults of the fault model.
pub(crate) const FAULTS: [&str; 10] = [
    "process killed",
    "power loss",
    "failed flush",
    "disk full",
    "bit flipped",
    "page write torn, lost, misdirected",
    "crash during recovery",
    "clock jumps",
    "file truncated, missing, swapped",
    "call failed or interrupted",
];

/// The counters of one worker.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) runs: u64,
    pub(crate) crash_points: u64,
    pub(crate) states: u64,
    /// The most bytes in files at a crash point.
    pub(crate) largest: u64,
    /// Crash states of stores of up to [`SMALL_STORE`], with their time.
    pub(crate) small: SmallStores,
    pub(crate) by_depth: Vec<u64>,
    pub(crate) faults: [FaultCount; FAULTS.len()],
    pub(crate) windows_exhausted: u64,
    pub(crate) widest_exhausted: u32,
    pub(crate) windows_sampled: u64,
    pub(crate) traces_compared: u64,
    pub(crate) bits_flipped: u64,
    /// Bits of pages that are never read, flipped a page at a time.
    pub(crate) bits_unread: u64,
    /// All bits of the golden stores.
    pub(crate) bits: u64,
    /// Pairs of call fault and site.
    pub(crate) sites: Sites,
    /// Damage, by its result.
    pub(crate) rot: RotCount,
    /// Pairs of facts of commits.
    pub(crate) coverage: Coverage,
    /// The crash points of a run, if its picture is to be drawn.
    pub(crate) picture: Option<Picture>,
}

/// The most bytes in files of a small store: 256 KiB of pages and as much log.
pub(crate) const SMALL_STORE: u64 = 512 << 10;

/// Crash states of small stores, and the time to make, recover and judge them, with their workloads.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SmallStores {
    pub(crate) states: u64,
    pub(crate) time: Duration,
}

/// The states that a fault has led to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FaultCount {
    pub(crate) states: u64,
    pub(crate) sync: u64,
    pub(crate) unsynced: u64,
}

impl Tally {
    /// Keeps crash points for the picture from now on.
    pub(crate) fn draw(&mut self, title: String) {
        self.picture = Some(Picture { title, moments: Vec::new() });
    }

    /// Counts a state that `fault` (from 1 on) has led to.
    pub(crate) fn fault(&mut self, fault: usize, history: &History, mark: &Mark) {
        let count = &mut self.faults[fault - 1];
        count.states += 1;
        count.sync += u64::from(mark.has_sync);
        count.unsynced += u64::from(mark.acknowledged > mark.durable && !history.is_empty());
    }

    /// The states that faults other than crashes have led to.
    pub(crate) fn faults(&self) -> u64 {
        let numbered = (1..).zip(&self.faults);
        numbered
            .filter(|(fault, _)| ![1, 2, 7].contains(fault))
            .map(|(_, count)| count.states)
            .sum()
    }

    /// Counts a crash state.
    pub(super) fn state(&mut self, path: &[CrashAt], history: &History, mark: &Mark) {
        self.states += 1;
        let depth = path.len() - 1;
        if self.by_depth.len() <= depth {
            self.by_depth.resize(depth + 1, 0);
        }
        self.by_depth[depth] += 1;
        let fault = match path {
            [.., _, _] => 7,
            [CrashAt { kept: Kept::Everything, .. }] => 1,
            _ => 2,
        };
        self.fault(fault, history, mark);
    }

    pub(super) fn window(&mut self, choices: usize, is_exhaustive: bool) {
        if is_exhaustive {
            self.windows_exhausted += 1;
            self.widest_exhausted = self.widest_exhausted.max(choices as u32);
        } else {
            self.windows_sampled += 1;
        }
    }

    pub(super) fn moment(&mut self, point: &Point, history: &History, recovered: &[usize]) {
        let Some(picture) = &mut self.picture else { return };
        let mut counts = std::collections::BTreeMap::new();
        recovered.iter().for_each(|&k| *counts.entry(k as u64).or_insert(0) += 1);
        picture.moments.push(Moment {
            operation: point.number,
            what: format!("{:?} {}", point.op, point.path),
            submitted: point.mark.submitted as u64,
            acknowledged: history.count_to(point.mark.acknowledged) as u64,
            durable: history.count_to(point.mark.durable) as u64,
            choices: point.disk.dirty() as u64,
            recovered: counts.into_iter().collect(),
        });
    }

    /// Adds the counts of another worker.
    pub(crate) fn add(&mut self, other: Tally) {
        self.runs += other.runs;
        self.crash_points += other.crash_points;
        self.states += other.states;
        self.largest = self.largest.max(other.largest);
        self.small.states += other.small.states;
        self.small.time += other.small.time;
        self.by_depth.resize(self.by_depth.len().max(other.by_depth.len()), 0);
        self.by_depth.iter_mut().zip(other.by_depth).for_each(|(to, from)| *to += from);
        for (to, from) in self.faults.iter_mut().zip(other.faults) {
            to.states += from.states;
            to.sync += from.sync;
            to.unsynced += from.unsynced;
        }
        self.windows_exhausted += other.windows_exhausted;
        self.widest_exhausted = self.widest_exhausted.max(other.widest_exhausted);
        self.windows_sampled += other.windows_sampled;
        self.traces_compared += other.traces_compared;
        self.bits_flipped += other.bits_flipped;
        self.bits_unread += other.bits_unread;
        self.bits = self.bits.max(other.bits);
        self.sites.add(other.sites);
        self.rot.merge(other.rot);
        self.coverage.add(&other.coverage);
        self.picture = self.picture.take().or(other.picture);
    }

    /// Notes that the states of one workload took `time`.
    pub(crate) fn took(&mut self, time: Duration) {
        if self.largest <= SMALL_STORE {
            self.small = SmallStores { states: self.states, time };
        }
    }

    /// One row per fault.
    pub(crate) fn rows(&self) -> Vec<FaultRow> {
        let rows = FAULTS.iter().zip(&self.faults).zip(1..);
        rows.map(|((name, count), fault)| FaultRow {
            fault,
            name: (*name).to_owned(),
            states: count.states,
            sync: count.sync,
            unsynced: count.unsynced,
        })
        .collect()
    }
}
