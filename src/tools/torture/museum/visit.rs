//! One showing of an exhibit.

use super::script::Script;
use crate::tools::torture::sim::{
    Case, Depth, Effort, Setup, Violation, crash_point, explorer, play, story,
};

/// A few states per crash point, and many per window of unsynced changes.
pub(super) const WELL: Depth = Depth {
    point_one_in: 1,
    window_one_in: 1,
    points_of_step: u64::MAX,
    windows: Effort { exhaustive: 64, sampled: 4 },
    scattered: 1,
    nested_one_in: 32,
    deepest: 2,
    again_one_in: 16,
};

/// Few states per crash point, for workloads with many crash points.
pub(super) const LIGHT: Depth = Depth {
    point_one_in: 1,
    window_one_in: 1,
    points_of_step: u64::MAX,
    windows: Effort { exhaustive: 4, sampled: 1 },
    scattered: 0,
    nested_one_in: 64,
    deepest: 2,
    again_one_in: 16,
};

/// As [`LIGHT`]; besides, many states are crashed during recovery, opened again and written to.
pub(super) const NESTED: Depth = Depth { nested_one_in: 5, deepest: 3, again_one_in: 6, ..LIGHT };

/// A violation, and its story if that is not in the visit's notes.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) violation: Violation,
    pub(super) story: Vec<String>,
}

impl From<Violation> for Broken {
    fn from(violation: Violation) -> Broken {
        Broken { violation, story: Vec::new() }
    }
}

/// The record of a showing so far.
#[derive(Debug, Default)]
pub(super) struct Visit {
    /// States that were judged.
    pub(super) states: u64,
    /// The steps since the last stage began.
    pub(super) notes: Vec<String>,
}

impl Visit {
    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Runs a workload and judges the states that a crash can leave at each of its moments.
    pub(super) fn explore(
        &mut self,
        setup: &Setup,
        script: Script,
        depth: Depth,
    ) -> Result<(), Broken> {
        const SEED: u64 = 1;
        let case = Case { setup: setup.clone(), steps: script.steps };
        let mut explorer = explorer(&case, depth, SEED);
        let result = play(&case, &mut explorer);
        self.states += explorer.tally.states;
        let Err(found) = result else { return Ok(()) };
        let crash = crash_point(&case, &found.crashes);
        let crash = crash.as_ref().map(|(point, history)| (point, history));
        let story = story::tell(&case, &found, crash);
        Err(Broken { violation: found.violation, story })
    }
}
