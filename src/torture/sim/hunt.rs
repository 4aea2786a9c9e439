//! Looks for a failure by every means in turn: for builds that are broken on purpose.

use std::time::Instant;

use super::generate::{self, Theme};
use super::judge::Violation;
use super::pace::Pace;
use super::panics;
use super::play::{explorer, play};
use super::work::WIDE;
use crate::disk::sim::rng::SplitMix64;

/// What a hunt came to.
#[derive(Debug)]
pub(crate) struct Hunt {
    /// None if nothing was found in time.
    pub(crate) found: Option<Violation>,
    /// By which means.
    pub(crate) by: String,
    /// States that were judged until then.
    pub(crate) states: u64,
}

/// Looks for a failure until `deadline`.
pub(crate) fn hunt(seed: u64, deadline: Instant) -> Hunt {
    panics::catch();
    let pace = Pace::until(Some(deadline));
    let mut rng = SplitMix64::new(seed);
    let mut states = 0;
    while !pace.is_over() {
        let seed = rng.next();
        let case = generate::case(seed);
        let mut explorer = explorer(&case, WIDE, seed);
        explorer.pace = pace.clone();
        let result = play(&case, &mut explorer);
        states += explorer.tally.states;
        if let Err(found) = result {
            return Hunt {
                found: Some(found.violation),
                by: format!("{:?}", Theme::of(seed)).to_lowercase(),
                states,
            };
        }
    }
    Hunt { found: None, by: String::new(), states }
}
