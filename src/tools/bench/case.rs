//! Cases: the rows of the table before they are measured.

use super::engine::{Guarantee, Mode};
use super::error::BenchError;
use super::floor::BareWrite;
use super::measure::Sample;
use super::record::Ratio;

/// A store, or the bare hardware.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Contender {
    /// The bare hardware.
    Floor,
    /// The engine at this index; 0 is our own.
    Engine(usize),
}

impl Contender {
    pub(super) const SYNCLINE: Contender = Contender::Engine(0);
}

/// One row of the result, before it is measured.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) workload: &'static str,
    pub(super) variant: &'static str,
    pub(super) contender: Contender,
    /// The engine's name for it.
    pub(super) mode: &'static str,
    pub(super) guarantee: Option<Guarantee>,
    pub(super) threads: usize,
    pub(super) value_bytes: usize,
    pub(super) batch: usize,
    pub(super) distribution: &'static str,
    pub(super) rate: Option<f64>,
    /// The figure that its ratio to the floor compares.
    pub(super) ratio: Ratio,
    pub(super) peer_ratio: Ratio,
    /// The indices of the cases that are its floors: it is compared with the fastest of each round.
    pub(super) floors: Vec<usize>,
    /// The number of different keys, if it is not that of the run.
    pub(super) keys: Option<u64>,
    /// What a reader must know before comparing it: then it is not compared with peers.
    pub(super) note: &'static str,
    /// The undisturbed variant of the same work, if it is another one.
    pub(super) undisturbed: Option<&'static str>,
}

impl Case {
    /// One row in one thread, with no floor.
    pub(super) fn new(workload: &'static str, variant: &'static str, value_bytes: usize) -> Case {
        Case {
            workload,
            variant,
            contender: Contender::Floor,
            mode: "",
            guarantee: None,
            threads: 1,
            value_bytes,
            batch: 1,
            distribution: "",
            rate: None,
            ratio: Ratio::Throughput,
            peer_ratio: Ratio::Throughput,
            floors: Vec::new(),
            keys: None,
            note: "",
            undisturbed: None,
        }
    }

    /// The same by the floor in one thread.
    pub(super) fn by_floor(&self, mode: &'static str) -> Case {
        Case { contender: Contender::Floor, mode, threads: 1, ..self.clone() }
    }

    /// The same by the floor that writes in this way.
    pub(super) fn by_writing(&self, way: BareWrite) -> Case {
        Case { guarantee: Some(way.guarantee()), ..self.by_floor(way.name()) }
    }

    /// The same by an engine that commits in `mode`.
    pub(super) fn in_mode(&self, engine: usize, mode: &Mode) -> Case {
        let guarantee = Some(mode.guarantee);
        Case { contender: Contender::Engine(engine), mode: mode.name, guarantee, ..self.clone() }
    }

    /// The engine of a case that has no floor.
    pub(super) fn engine(&self) -> usize {
        let Contender::Engine(engine) = self.contender else { unreachable!("there is no floor") };
        engine
    }

    /// Whether `other` does the same work, by any contender in any mode.
    pub(super) fn is_like(&self, other: &Case) -> bool {
        let key = |case: &Case| {
            (
                (case.workload, case.variant, case.threads, case.value_bytes),
                (case.batch, case.distribution, case.rate.map(f64::to_bits), case.keys),
            )
        };
        key(self) == key(other)
    }

    /// The line of the progress display.
    pub(super) fn label(&self, name: &str) -> String {
        let threads = match self.threads {
            1 => String::new(),
            threads => format!(", {threads} threads"),
        };
        format!("{} {}: {name} {}{threads}", self.workload, self.variant, self.mode)
    }
}

/// Cases that are measured in turns.
pub(super) trait CaseSuite {
    fn cases(&self) -> &[Case];
    fn measure(&mut self, case: usize) -> Result<Sample, BenchError>;

    /// How often each case is measured, of `asked` times: what takes minutes, less often.
    fn rounds(&self, asked: u32) -> u32 {
        asked
    }

    /// After the last measurement.
    fn end(&mut self) -> Result<(), BenchError> {
        Ok(())
    }
}
