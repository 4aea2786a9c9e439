//! Cases: the rows of the table before they are measured.

use super::engine::{Guarantee, Mode};
use super::measure::Sample;
use super::record::Ratio;
use super::{BenchError, floor};

/// Who does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Who {
    /// Nobody: the hardware alone.
    Floor,
    /// The engine with this index; 0 is our own.
    Engine(usize),
}

impl Who {
    pub(super) const SYNCLINE: Who = Who::Engine(0);
}

/// What is measured: one row to be.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) workload: &'static str,
    pub(super) variant: &'static str,
    pub(super) who: Who,
    /// As the engine calls it.
    pub(super) mode: &'static str,
    pub(super) guarantee: Option<Guarantee>,
    pub(super) threads: usize,
    pub(super) value_bytes: usize,
    pub(super) batch: usize,
    pub(super) distribution: &'static str,
    pub(super) rate: Option<f64>,
    /// What its ratio to the floor compares.
    pub(super) ratio: Ratio,
    pub(super) peer_ratio: Ratio,
    /// The index of the case that is its floor.
    pub(super) floor: Option<usize>,
    /// The variant that does the same undisturbed, if it is another one.
    pub(super) undisturbed: Option<&'static str>,
}

impl Case {
    /// One row in one thread, with no floor.
    pub(super) fn new(workload: &'static str, variant: &'static str, value_bytes: usize) -> Case {
        Case {
            workload,
            variant,
            who: Who::Floor,
            mode: "",
            guarantee: None,
            threads: 1,
            value_bytes,
            batch: 1,
            distribution: "",
            rate: None,
            ratio: Ratio::Throughput,
            peer_ratio: Ratio::Throughput,
            floor: None,
            undisturbed: None,
        }
    }

    /// The same by the floor in one thread.
    pub(super) fn by_floor(&self, mode: &'static str) -> Case {
        Case { who: Who::Floor, mode, threads: 1, ..self.clone() }
    }

    /// The same by the floor that writes, and flushes or not.
    pub(super) fn by_writing(&self, flush: floor::Flush) -> Case {
        let guarantee = match flush {
            floor::Flush::Never => Guarantee::ProcessEnd,
            floor::Flush::EachRecord => Guarantee::PowerLoss,
        };
        Case { guarantee: Some(guarantee), ..self.by_floor(flush.name()) }
    }

    /// The same by an engine that commits in `mode`.
    pub(super) fn in_mode(&self, engine: usize, mode: &Mode) -> Case {
        let guarantee = Some(mode.guarantee);
        Case { who: Who::Engine(engine), mode: mode.name, guarantee, ..self.clone() }
    }

    /// Whether `other` does the same, whoever does it and whatever he promises.
    pub(super) fn is_like(&self, other: &Case) -> bool {
        let key = |case: &Case| {
            (
                (case.workload, case.variant, case.threads, case.value_bytes),
                (case.batch, case.distribution, case.rate.map(f64::to_bits)),
            )
        };
        key(self) == key(other)
    }

    /// For the progress bar.
    pub(super) fn label(&self, name: &str) -> String {
        let threads = match self.threads {
            1 => String::new(),
            threads => format!(", {threads} threads"),
        };
        format!("{} {}: {name} {}{threads}", self.workload, self.variant, self.mode)
    }
}

/// Cases that are measured in turns.
pub(super) trait Suite {
    fn cases(&self) -> &[Case];
    fn measure(&mut self, case: usize) -> Result<Sample, BenchError>;
}
