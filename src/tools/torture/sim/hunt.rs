//! Looks for a failure in a build that is broken on purpose, by every means in turn.

use super::explore::Depth;
use super::fault_jobs::FaultJobs;
use super::generate::{self, Theme};
use super::judge::Violation;
use super::pace::Pace;
use super::panics;
use super::play::{explorer, play};
use super::site::Sites;
use super::subsets::Effort;
use super::work::WIDE;
use crate::engine::base::random::SplitMix64;
use crate::tools::torture::Tier;

/// The result of a hunt.
#[derive(Debug)]
pub(crate) struct Hunt {
    /// None if nothing was found in time.
    pub(crate) found: Option<Violation>,
    /// The means that found it.
    pub(crate) by: String,
    /// The states that were judged.
    pub(crate) states: u64,
}

/// Workloads without crash points, per workload whose crash points are explored.
const BLIND: u64 = 12;

/// A few states of some crash points: many workloads find more than one explored in depth.
const GLANCE: Depth = Depth {
    point_one_in: 12,
    windows: Effort { exhaustive: 16, sampled: 2 },
    nested_one_in: 48,
    ..WIDE
};

/// Looks for a failure until `pace` is over: all themes in turn, each first without crash points, and
/// between them failing calls, rot and flipped bits.
pub(crate) fn hunt(seed: u64, pace: &Pace) -> Hunt {
    panics::catch();
    let mut rng = SplitMix64::new(seed);
    let mut hunt = Hunt { found: None, by: String::new(), states: 0 };
    let fault_jobs = FaultJobs::of(Tier::Smoke);
    let mut sites = Sites::default();
    for (turn, theme) in Theme::ALL.iter().cycle().enumerate() {
        let blind = if theme.is_slow() { 1 } else { BLIND };
        for at in 0..=blind {
            if pace.is_over() || hunt.found.is_some() {
                return hunt;
            }
            hunt.one(*theme, rng.next(), at < blind, pace);
        }
        if hunt.found.is_none() {
            let job = FAULT_JOBS[turn % FAULT_JOBS.len()];
            hunt.fault_job(&fault_jobs, job, rng.next(), &mut sites, pace);
        }
    }
    hunt
}

/// Jobs without crashes: failing calls, rot, flipped bits.
const FAULT_JOBS: [u64; 6] = [1, 2, 5, 2, 1, FLIP];
const FLIP: u64 = 6;

impl Hunt {
    fn fault_job(&mut self, jobs: &FaultJobs, job: u64, seed: u64, sites: &mut Sites, pace: &Pace) {
        let done = match job {
            FLIP => jobs.flip(seed, pace),
            job => jobs.one(job, seed, pace, sites),
        };
        let Some((explorer, found)) = done else { return };
        self.states += explorer.tally.states;
        if let Some((_, found)) = found {
            self.found = Some(found.violation);
            self.by = match job {
                1 | 5 => "failing call",
                2 => "rot",
                _ => "flipped bit",
            }
            .to_owned();
        }
    }

    fn one(&mut self, theme: Theme, seed: u64, is_blind: bool, pace: &Pace) {
        let case = generate::themed(theme, seed);
        let mut explorer = explorer(&case, GLANCE, seed);
        explorer.pace = pace.clone();
        explorer.skips_points = is_blind;
        if theme == Theme::Crowd {
            explorer.depth = explorer.depth.sparsest();
        }
        let result = play(&case, &mut explorer);
        self.states += explorer.tally.states + u64::from(is_blind);
        if let Err(found) = result {
            self.found = Some(found.violation);
            self.by = format!("{theme:?}").to_lowercase();
        }
    }
}
