//! Whether something else had the processors during a measurement.
//!
//! | | is | disturbs from |
//! |---|---|---|
//! | steal | time that the host gave to other machines | a twentieth of one processor's time |
//! | others | time in user mode of other processes of this machine | the same |
//!
//! Time that the kernel spends is not counted: it writes back what the stores wrote. Linux only;
//! elsewhere nothing is known to disturb.

use std::fmt;
use std::fs;
use std::time::Instant;

/// A reading of the counters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interference {
    at: Instant,
    ticks: Option<Ticks>,
}

/// In hundredths of a second, since the machine started; of this process, since it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ticks {
    user: u64,
    steal: u64,
    all: u64,
    own_user: u64,
}

/// What was found: parts of one processor's time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Found {
    steal: f64,
    others: f64,
    /// Of the time of all processors, if it is known.
    pub(super) steal_of_all: Option<f64>,
}

/// Linux tells times in this unit, whatever its own clock.
const TICKS_PER_S: f64 = 100.0;

const DISTURBS_FROM: f64 = 0.05;

impl Interference {
    pub(super) fn now() -> Interference {
        Interference { at: Instant::now(), ticks: Ticks::now() }
    }

    /// What has disturbed since.
    pub(super) fn since(self) -> Found {
        let seconds = self.at.elapsed().as_secs_f64();
        let both = self.ticks.zip(Ticks::now());
        both.map_or(Found::default(), |(before, now)| now.against(before, seconds))
    }
}

impl Ticks {
    fn now() -> Option<Ticks> {
        Ticks::parse(
            &fs::read_to_string("/proc/stat").ok()?,
            &fs::read_to_string("/proc/self/stat").ok()?,
        )
    }

    /// The first line of the machine's account has user, nice, system, idle, waiting, interrupts, soft
    /// interrupts, steal; the times of guests are in the first two. Of the process's account the
    /// fields 14 and 16 count: its own time in user mode, and that of its children which have ended.
    fn parse(machine: &str, process: &str) -> Option<Ticks> {
        let all = machine.lines().next()?.strip_prefix("cpu ")?;
        let all: Vec<u64> = all.split_whitespace().map_while(|word| word.parse().ok()).collect();
        // The name of the process may have spaces and brackets in it.
        let (_, fields) = process.rsplit_once(") ")?;
        let field = |number: usize| fields.split(' ').nth(number - 3)?.parse::<u64>().ok();
        Some(Ticks {
            user: all.first()? + all.get(1)?,
            steal: *all.get(7)?,
            all: all[..8].iter().sum(),
            own_user: field(14)? + field(16)?,
        })
    }

    fn against(self, before: Ticks, seconds: f64) -> Found {
        let part = |ticks: u64| ticks as f64 / TICKS_PER_S / seconds.max(1e-3);
        let own = self.own_user.saturating_sub(before.own_user);
        let user = self.user.saturating_sub(before.user);
        let steal = self.steal.saturating_sub(before.steal);
        let all = self.all.saturating_sub(before.all).max(1);
        Found {
            steal: part(steal),
            others: part(user.saturating_sub(own)),
            steal_of_all: Some(steal as f64 / all as f64),
        }
    }
}

impl Found {
    #[cfg(test)]
    pub(super) fn by_others(others: f64) -> Found {
        Found { others, ..Found::default() }
    }

    /// Whether a measurement meanwhile should be made again.
    pub(super) fn disturbs(self) -> bool {
        self.worst() > DISTURBS_FROM
    }

    /// To choose the least disturbed of several tries.
    pub(super) fn worst(self) -> f64 {
        self.steal.max(self.others)
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |part: f64| part * 100.0;
        write!(f, "steal {:.0} %, others {:.0} %", percent(self.steal), percent(self.others))
    }
}

/// The load average of the last minute.
pub(super) fn load_average() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROCESS: &str = "7 (a) b c) S 1 7 7 0 -1 4194304 1 0 0 0 150 20 30 4 20 0 1";

    #[test]
    fn the_accounts_of_machine_and_process_are_read() {
        let ticks = Ticks::parse("cpu  100 20 30 400 5 0 6 77 9 9\ncpu0 1 1 1", PROCESS).unwrap();
        assert_eq!(ticks, Ticks { user: 120, steal: 77, all: 638, own_user: 180 });
        assert_eq!(Ticks::parse("intr 5", PROCESS), None);
        assert_eq!(Ticks::parse("cpu  1 2 3", PROCESS), None);
    }

    #[test]
    fn what_others_use_disturbs_and_what_we_use_does_not() {
        let before = Ticks { user: 1000, steal: 50, all: 10_000, own_user: 900 };
        let found = |user, steal, own_user| {
            let now = Ticks { user, steal, all: 10_200, own_user };
            now.against(before, 1.0)
        };
        assert!(!found(1100, 50, 1000).disturbs());
        assert!(found(1110, 50, 1000).disturbs());
        assert!(found(1100, 60, 1000).disturbs());
        assert_eq!(found(1100, 60, 1000).steal_of_all, Some(0.05));
        assert_eq!(found(1110, 70, 1000).to_string(), "steal 20 %, others 10 %");
        // Accounts are not read at the same moment.
        assert!(!found(1000, 50, 910).disturbs());
    }
}
