//! Company: for whom a flush waits a little before it begins.
//!
//! Whom a flush has answered often comes back with the next commit at once. A flush that begins
//! the moment the last one has ended goes without them, and two halves take turns:
//!
//! ```text
//!   at once       |-- A --|-- B --|-- A --|-- B --|      each commit waits for two flushes
//!   in company    |-- A and B --|..|-- A and B --|..     and here for one, and a little more
//! ```
//!
//! So who leads a flush waits for as many as there were lately: those whom the last flush has
//! answered, and those who had come meanwhile. Not for longer than a [`SHARE`] of what a flush
//! takes; and when that has brought less than it cost, the next flushes do not wait at all, twice
//! as many each time. Alone nobody waits.
//!
//! After the timers of Helland et al., "Group commit timers and high volume transaction systems"
//! (1987), but with nothing to be set.

use std::time::Duration;

/// One part in so many of what a flush takes is waited at most.
const SHARE: u32 = 4;
/// And never for longer: whoever waits keeps looking.
const LONGEST: Duration = Duration::from_micros(500);
/// Flushes that do not wait after it was not worth it: the first time, and at most.
const REST: u32 = 4;
const LONGEST_REST: u32 = 256;

/// Who came lately, and whether it was worth to wait for them.
#[derive(Debug, Default)]
pub(super) struct Company {
    pub(super) expected: usize,
    pub(super) flush_took: Duration,
    /// So many flushes begin at once.
    rest: u32,
    /// How many that were when it began.
    pub(super) last_rest: u32,
}

impl Company {
    /// For how many in all the next flush may wait, and how long, if there are `here` now.
    pub(super) fn invite(&mut self, here: usize) -> Option<(usize, Duration)> {
        let patience = (self.flush_took / SHARE).min(LONGEST);
        if here >= self.expected || patience.is_zero() {
            return None;
        }
        if self.rest > 0 {
            self.rest -= 1;
            return None;
        }
        Some((self.expected, patience))
    }

    /// `before` have waited for `waited`, until there were `after`.
    pub(super) fn judge(&mut self, before: usize, after: usize, waited: Duration) {
        // Worth it if more are served in the time: `after / (flush + waited) >= before / flush`.
        let came = after.saturating_sub(before) as u128;
        if came * self.flush_took.as_nanos() >= before as u128 * waited.as_nanos() {
            self.last_rest = 0;
        } else {
            self.last_rest = (2 * self.last_rest).clamp(REST, LONGEST_REST);
            self.rest = self.last_rest;
        }
    }

    /// A flush has answered so many, while others had come already.
    pub(super) fn flushed(&mut self, answered: usize, waiting: usize, took: Duration) {
        self.expected = answered + waiting;
        self.flush_took = took;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLUSH: Duration = Duration::from_micros(400);

    fn after(answered: usize, waiting: usize) -> Company {
        let mut company = Company::default();
        company.flushed(answered, waiting, FLUSH);
        company
    }

    #[test]
    fn nobody_waits_alone_or_when_all_are_there() {
        assert_eq!(Company::default().invite(1), None);
        assert_eq!(after(1, 0).invite(1), None);
        assert_eq!(after(32, 32).invite(64), None);
        assert_eq!(after(32, 32).invite(32), Some((64, FLUSH / SHARE)));
        let mut slow = after(32, 32);
        slow.flushed(32, 32, Duration::from_secs(1));
        assert_eq!(slow.invite(32), Some((64, LONGEST)));
    }

    #[test]
    fn who_waited_in_vain_waits_less_often() {
        let mut company = after(1, 1);
        for rest in [4, 8, 16, 32, 64, 128, 256, 256] {
            assert!(company.invite(1).is_some());
            company.judge(1, 1, FLUSH / SHARE);
            let mut at_once = 0;
            while company.rest > 0 {
                assert_eq!(company.invite(1), None);
                at_once += 1;
            }
            assert_eq!(at_once, rest);
        }
        company.judge(1, 2, FLUSH / SHARE);
        assert!(company.invite(1).is_some(), "it was worth it");
        company.judge(1, 1, FLUSH / SHARE);
        company.invite(1);
        assert_eq!(company.rest, REST - 1, "and is forgotten");
    }

    #[test]
    fn to_wait_for_few_of_many_is_not_worth_it() {
        let mut company = after(32, 32);
        company.judge(32, 39, FLUSH / 4);
        assert_eq!(company.rest, REST, "a fifth more in a quarter more time");
        let mut company = after(32, 32);
        company.judge(32, 40, FLUSH / 4);
        assert_eq!(company.rest, 0);
    }
}
