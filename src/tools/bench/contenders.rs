//! The cases of all contenders for the same work: each engine in each mode that it has (BENCH-6), and the
//! bare ways of the same guarantee beneath them (BENCH-5).

use std::thread;

use super::case::{Case, Contender};
use super::engine::{Guarantee, Mode};
use super::floor::BareWrite;
use super::stage::Stage;

impl Stage<'_> {
    /// The cases of each engine for `case`, in each of its modes. Cases that are compared stand together.
    pub(super) fn by_all(&self, case: &Case) -> Vec<Case> {
        const GROUPS: [Guarantee; 3] =
            [Guarantee::ProcessEnd, Guarantee::PowerLoss, Guarantee::Nothing];
        GROUPS.into_iter().flat_map(|guarantee| self.by_all_with(case, guarantee)).collect()
    }

    /// The same in the modes with one guarantee.
    pub(super) fn by_all_with(&self, case: &Case, guarantee: Guarantee) -> Vec<Case> {
        let with = |(engine, modes): (usize, &'static [Mode])| {
            let mode = modes.iter().find(|mode| mode.guarantee == guarantee)?;
            Some(case.in_mode(engine, mode))
        };
        let modes = self.engines.iter().map(|engine| engine.modes());
        modes.enumerate().filter_map(with).collect()
    }

    /// One floor for each bare way to write with this guarantee, and then the cases of all engines in
    /// the modes with it, which are compared with the fastest. `cases` is what precedes them.
    pub(super) fn above_floors(&self, cases: &mut Vec<Case>, case: &Case, guarantee: Guarantee) {
        let by_engines = self.by_all_with(case, guarantee);
        if by_engines.is_empty() {
            return;
        }
        // Floors serve all numbers of threads and all orders.
        let serves = |floor: &&(usize, &Case)| {
            floor.1.contender == Contender::Floor
                && (floor.1.variant, floor.1.value_bytes, floor.1.batch)
                    == (case.variant, case.value_bytes, case.batch)
                && BareWrite::with(guarantee).any(|way| way.name() == floor.1.mode)
        };
        let known = cases.iter().enumerate();
        let mut floors: Vec<usize> =
            known.filter(|floor| serves(&floor)).map(|(index, _)| index).collect();
        if floors.is_empty() {
            let ways = BareWrite::with(guarantee).map(|way| case.by_writing(way));
            floors = (cases.len()..)
                .zip(ways)
                .map(|(index, way)| {
                    cases.push(way);
                    index
                })
                .collect();
            for floor in floors.clone() {
                cases[floor].floors.clone_from(&floors);
            }
        }
        cases.extend(by_engines.into_iter().map(|case| Case { floors: floors.clone(), ..case }));
    }

    /// The same for changes that read first: an engine in which they are not atomic has a note.
    pub(super) fn noting_what_is_not_atomic(&self, case: &Case) -> Vec<Case> {
        let mut cases = self.by_all(case);
        for case in &mut cases {
            if let Contender::Engine(engine) = case.contender
                && !self.engines[engine].changes_atomically()
            {
                case.note = "not atomic: a get and a put, where the others have a transaction";
            }
        }
        cases
    }

    /// The same in the light mode of each.
    pub(super) fn by_all_lightly(&self, case: &Case) -> Vec<Case> {
        let engines = 0..self.engines.len();
        engines.map(|engine| case.in_mode(engine, self.light_mode(engine))).collect()
    }

    /// The same where nothing is committed: `mode` names the call instead.
    pub(super) fn by_all_reading(&self, case: &Case, mode: &'static str) -> Vec<Case> {
        let engines = 0..self.engines.len();
        engines
            .map(|engine| Case { contender: Contender::Engine(engine), mode, ..case.clone() })
            .collect()
    }
}

/// 1, 2, 4, 8 threads, and one for each processor.
pub(super) fn up_to_cores() -> Vec<usize> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let mut threads = vec![1, 2, 4, 8, cores];
    threads.sort_unstable();
    threads.dedup();
    threads
}
