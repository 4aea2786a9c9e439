//! The group-commit delay: how long the leader of a flush waits for more committers.
//!
//! A committer that a flush has answered often commits again at once. A flush that begins right
//! after the last one misses it, so the committers split into two groups that take turns:
//!
//! ```text
//!   no delay     |-- A --|-- B --|-- A --|-- B --|      each commit waits for two flushes
//!   with delay   |-- A and B --|..|-- A and B --|..     each commit waits for one, and the delay
//! ```
//!
//! So a leader waits until as many committers are there as lately: those that the last flush
//! answered, and those that came meanwhile. It waits for a quarter of a flush at most ([`MAX_SHARE`]).
//! After a delay that cost more than it brought, the next flushes begin without one, twice as many
//! each time. A lone committer never waits.
//!
//! After the timers of Helland et al., "Group commit timers and high volume transaction systems"
//! (1987), but without a setting.

use std::time::Duration;

/// The delay is at most a flush's duration divided by this.
const MAX_SHARE: u32 = 4;
/// The longest delay: the leader spins.
const MAX_DELAY: Duration = Duration::from_micros(500);
/// Flushes without a delay after a useless one: the first time, and at most.
const MIN_SKIPS: u32 = 4;
const MAX_SKIPS: u32 = 256;

/// How many committers came lately, and whether a delay was worth its cost.
#[derive(Debug, Default)]
pub(super) struct GroupDelay {
    pub(super) expected: usize,
    pub(super) flush_took: Duration,
    /// How many of the next flushes begin without a delay.
    skips_left: u32,
    /// The last value that `skips_left` was set to.
    pub(super) last_skips: u32,
}

impl GroupDelay {
    /// How many committers in all the next flush waits for, and how long at most, if `here` wait now.
    pub(super) fn delay_for(&mut self, here: usize) -> Option<(usize, Duration)> {
        let delay = (self.flush_took / MAX_SHARE).min(MAX_DELAY);
        if here >= self.expected || delay.is_zero() {
            return None;
        }
        if self.skips_left > 0 {
            self.skips_left -= 1;
            return None;
        }
        Some((self.expected, delay))
    }

    /// Judges a delay of `waited`, during which `before` committers became `after`.
    pub(super) fn record_delay(&mut self, before: usize, after: usize, waited: Duration) {
        // Worth it if more commits are served in the time: `after / (flush + waited) >= before / flush`.
        let came = after.saturating_sub(before) as u128;
        if came * self.flush_took.as_nanos() >= before as u128 * waited.as_nanos() {
            self.last_skips = 0;
        } else {
            self.last_skips = (2 * self.last_skips).clamp(MIN_SKIPS, MAX_SKIPS);
            self.skips_left = self.last_skips;
        }
    }

    /// A flush has taken `took` and answered `answered` committers, while `waiting` more had come.
    pub(super) fn record_flush(&mut self, answered: usize, waiting: usize, took: Duration) {
        self.expected = answered + waiting;
        self.flush_took = took;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLUSH: Duration = Duration::from_micros(400);

    fn after(answered: usize, waiting: usize) -> GroupDelay {
        let mut group_delay = GroupDelay::default();
        group_delay.record_flush(answered, waiting, FLUSH);
        group_delay
    }

    #[test]
    fn a_lone_or_complete_group_has_no_delay() {
        assert_eq!(GroupDelay::default().delay_for(1), None);
        assert_eq!(after(1, 0).delay_for(1), None);
        assert_eq!(after(32, 32).delay_for(64), None);
        assert_eq!(after(32, 32).delay_for(32), Some((64, FLUSH / MAX_SHARE)));
        let mut slow = after(32, 32);
        slow.record_flush(32, 32, Duration::from_secs(1));
        assert_eq!(slow.delay_for(32), Some((64, MAX_DELAY)));
    }

    #[test]
    fn useless_delays_become_rarer() {
        let mut group_delay = after(1, 1);
        for skips in [4, 8, 16, 32, 64, 128, 256, 256] {
            assert!(group_delay.delay_for(1).is_some());
            group_delay.record_delay(1, 1, FLUSH / MAX_SHARE);
            let mut without_delay = 0;
            while group_delay.skips_left > 0 {
                assert_eq!(group_delay.delay_for(1), None);
                without_delay += 1;
            }
            assert_eq!(without_delay, skips);
        }
        group_delay.record_delay(1, 2, FLUSH / MAX_SHARE);
        assert!(group_delay.delay_for(1).is_some(), "it was worth it");
        group_delay.record_delay(1, 1, FLUSH / MAX_SHARE);
        group_delay.delay_for(1);
        assert_eq!(group_delay.skips_left, MIN_SKIPS - 1, "it begins again");
    }

    #[test]
    fn a_delay_for_few_of_many_is_not_worth_it() {
        let mut group_delay = after(32, 32);
        group_delay.record_delay(32, 39, FLUSH / 4);
        assert_eq!(group_delay.skips_left, MIN_SKIPS, "a fifth more in a quarter more time");
        let mut group_delay = after(32, 32);
        group_delay.record_delay(32, 40, FLUSH / 4);
        assert_eq!(group_delay.skips_left, 0);
    }
}
