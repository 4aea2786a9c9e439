//! Workloads by chance. The same seed gives the same workload.

use super::case::{Case, Setup};
use super::contents::Stamp;
use super::step::{Change, Kept, Mode, Step};
use crate::disk::sim::rng::SplitMix64;

/// What a workload is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Theme {
    /// A bit of everything.
    Mixed,
    /// Each commit waits.
    Sync,
    /// Commits do not wait, and flushes come between.
    Async,
    /// Others commit while the device is waited for.
    Beside,
    /// Many crashes and reopenings.
    Lives,
    /// More data than fits in the cache.
    Evicting,
    /// Large commits over several segments, and values out of line.
    Large,
    /// Keyspaces come and go.
    Keyspaces,
    /// Snapshots are held while much is changed.
    Snapshots,
    /// Records of one length in small segments that are used again and again.
    Recycling,
    /// So many pages that the maps have several leaves. Slow.
    Big,
}

impl Theme {
    pub(crate) const ALL: [Theme; 11] = [
        Theme::Mixed,
        Theme::Sync,
        Theme::Async,
        Theme::Beside,
        Theme::Lives,
        Theme::Evicting,
        Theme::Large,
        Theme::Keyspaces,
        Theme::Snapshots,
        Theme::Recycling,
        Theme::Big,
    ];

    /// The theme that a seed is given. The slow one comes seldom.
    pub(crate) fn of(seed: u64) -> Theme {
        let mut rng = SplitMix64::new(!seed);
        match Theme::ALL[rng.below(Theme::ALL.len() as u64) as usize] {
            Theme::Big if rng.below(8) > 0 => Theme::Mixed,
            theme => theme,
        }
    }
}

/// The workload of a seed.
pub(crate) fn case(seed: u64) -> Case {
    themed(Theme::of(seed), seed)
}

/// The workload of a seed with this theme.
pub(crate) fn themed(theme: Theme, seed: u64) -> Case {
    let mut draw = Draw { rng: SplitMix64::new(seed), theme, next_stamp: 0, keyspaces: 2 };
    let setup = draw.setup();
    let mut steps = vec![Step::Create { keyspace: 0 }, Step::Create { keyspace: 1 }];
    if theme == Theme::Big {
        draw.fill(&mut steps);
    }
    let count = match theme {
        Theme::Big => draw.spread(4, 10),
        Theme::Recycling => draw.spread(60, 100),
        _ => draw.spread(12, 36),
    };
    for _ in 0..count {
        draw.step(&mut steps);
    }
    steps.push(Step::Read);
    Case { setup, steps }
}

struct Draw {
    rng: SplitMix64,
    theme: Theme,
    next_stamp: u32,
    keyspaces: u8,
}

impl Draw {
    fn setup(&mut self) -> Setup {
        let roomy = matches!(self.theme, Theme::Beside | Theme::Big);
        Setup {
            page_bytes: 4096,
            cache_bytes: match self.theme {
                Theme::Evicting => *self.pick(&[128 << 10, 192 << 10]),
                Theme::Large => 1 << 20,
                Theme::Big => 3 << 20,
                _ => *self.pick(&[256 << 10, 512 << 10]),
            },
            segment_bytes: match self.theme {
                Theme::Recycling => 16 << 10,
                Theme::Big => 64 << 10,
                _ => *self.pick(&[16 << 10, 16 << 10, 32 << 10, 64 << 10]),
            },
            checkpoint_log_bytes: match roomy {
                true => 16 << 20,
                false if self.theme == Theme::Recycling => 8 << 10,
                false => *self.pick(&[8 << 10, 24 << 10, 1 << 20]),
            },
            max_unsynced_bytes: match roomy {
                true => 16 << 20,
                false => *self.pick(&[4 << 10, 64 << 10, 1 << 20]),
            },
        }
    }

    fn step(&mut self, steps: &mut Vec<Step>) {
        let [commit, flush, checkpoint, snapshot, end, lives, keyspace, beside] = match self.theme {
            Theme::Mixed => [60, 6, 6, 4, 4, 4, 4, 0],
            Theme::Sync => [80, 0, 6, 1, 1, 2, 1, 0],
            Theme::Async => [75, 10, 6, 2, 2, 2, 1, 0],
            Theme::Beside => [40, 4, 14, 4, 4, 2, 1, 30],
            Theme::Lives => [60, 3, 6, 1, 1, 25, 2, 0],
            Theme::Evicting => [80, 3, 6, 4, 4, 2, 2, 0],
            Theme::Large => [60, 4, 6, 3, 3, 3, 2, 0],
            Theme::Keyspaces => [50, 3, 6, 3, 3, 4, 25, 0],
            Theme::Snapshots => [50, 2, 8, 16, 12, 1, 5, 0],
            Theme::Recycling => [90, 3, 3, 1, 1, 2, 0, 0],
            Theme::Big => [50, 3, 12, 4, 4, 8, 2, 12],
        };
        let weights = [commit, flush, checkpoint, snapshot, end, lives, keyspace, beside, 3, 4];
        let mut at = self.rng.below(weights.iter().sum());
        let kind = weights.iter().position(|&weight| match at.checked_sub(weight) {
            Some(rest) => {
                at = rest;
                false
            }
            None => true,
        });
        match kind.expect("below the sum") {
            0 => steps.push(self.commit()),
            1 => steps.push(Step::Flush),
            2 => steps.push(Step::Checkpoint),
            3 => steps.push(Step::Snapshot),
            4 => steps.push(Step::EndSnapshot),
            5 => steps.push(self.end_of_life()),
            6 => steps.push(self.keyspace()),
            7 => self.beside(steps),
            8 => steps.push(Step::Read),
            _ => steps.push(Step::Wait { back: self.rng.below(4) as u8 }),
        }
    }

    fn commit(&mut self) -> Step {
        let mode = match self.theme {
            Theme::Sync => Mode::Sync,
            Theme::Async => Mode::Async,
            _ if self.rng.below(3) == 0 => Mode::Sync,
            _ => Mode::Async,
        };
        let count = match (self.theme, self.rng.below(10)) {
            (Theme::Large, 0..4) => self.spread(20, 60),
            (Theme::Evicting, 0..3) => self.spread(10, 40),
            (Theme::Evicting, 3) => self.spread(60, 200),
            (Theme::Recycling, _) => 1,
            (_, 0..6) => 1,
            (_, 6..9) => self.spread(2, 8),
            _ => self.spread(8, 30),
        };
        Step::Commit { mode, changes: self.changes(count) }
    }

    /// Fills several leaves of the page map.
    fn fill(&mut self, steps: &mut Vec<Step>) {
        for number in 0..10 {
            let changes = (0..8)
                .map(|key| {
                    self.next_stamp += 1;
                    let value = Stamp { id: self.next_stamp, bytes: 36_000 };
                    Change::Put { keyspace: number % 2, key: u16::from(number) * 8 + key, value }
                })
                .collect();
            steps.push(Step::Commit { mode: Mode::Async, changes });
        }
        steps.push(Step::Checkpoint);
    }

    fn changes(&mut self, count: u64) -> Vec<Change> {
        let home = self.rng.below(u64::from(self.keyspaces)) as u8;
        let deletes = *self.pick(&[0, 1, 1, 6]);
        (0..count)
            .map(|_| {
                let keyspace = match self.rng.below(5) {
                    0 => self.rng.below(u64::from(self.keyspaces)) as u8,
                    _ => home,
                };
                let keys = if self.theme == Theme::Evicting { 220 } else { 90 };
                let mut key = self.rng.below(keys) as u16;
                if self.theme == Theme::Recycling {
                    key -= key % 5; // keys of one length
                }
                if self.rng.below(8) < deletes {
                    return Change::Delete { keyspace, key };
                }
                Change::Put { keyspace, key, value: self.value(count) }
            })
            .collect()
    }

    fn value(&mut self, of: u64) -> Stamp {
        let is_long = match self.theme {
            Theme::Beside => of < 5 && self.rng.below(2) == 0,
            Theme::Keyspaces => of < 5 && self.rng.below(5) == 0,
            Theme::Big => of < 5 && self.rng.below(3) == 0,
            _ => false,
        };
        let bytes = match self.rng.below(20) {
            0 if is_long => self.spread(40_000, 120_000),
            1..12 if is_long => self.spread(1100, 4000),
            _ if is_long => self.spread(4000, 12_000),
            _ if self.theme == Theme::Evicting => self.spread(200, 1000),
            _ if self.theme == Theme::Recycling => 200,
            0 => 0,
            1..14 => self.rng.below(80),
            14..18 => self.spread(80, 500),
            18 => self.spread(500, 1100),
            _ if of > 10 => self.spread(500, 1000),
            _ if self.theme == Theme::Large => self.spread(1100, 20_000),
            _ => self.spread(1100, 4500),
        };
        self.next_stamp += 1;
        Stamp { id: self.next_stamp, bytes: bytes as u32 }
    }

    fn end_of_life(&mut self) -> Step {
        let keep = match self.rng.below(6) {
            0 | 1 => return Step::Reopen,
            2 => Kept::Everything,
            3 => Kept::Nothing,
            _ => Kept::Seeded(self.rng.next()),
        };
        Step::Crash { keep }
    }

    fn keyspace(&mut self) -> Step {
        let keyspace = self.rng.below(4) as u8;
        self.keyspaces = self.keyspaces.max(keyspace + 1);
        match self.rng.below(2) {
            0 => Step::Create { keyspace },
            _ => Step::Drop { keyspace },
        }
    }

    /// Others commit during a checkpoint, a flush, or a commit that waits.
    fn beside(&mut self, steps: &mut Vec<Step>) {
        let commits = self.spread(1, 5);
        let commits = (0..commits)
            .map(|_| {
                let count = self.spread(1, 4);
                self.changes(count)
            })
            .collect();
        let next = match self.rng.below(4) {
            0 | 1 => Step::Checkpoint,
            2 => Step::Flush,
            _ => {
                let count = self.spread(1, 3);
                Step::Commit { mode: Mode::Sync, changes: self.changes(count) }
            }
        };
        // A flush of the log is a single call.
        let calls = if next == Step::Checkpoint { 8 } else { 1 };
        steps.push(Step::Beside { after: self.rng.below(calls) as u8, commits });
        steps.push(next);
    }

    fn spread(&mut self, from: u64, to: u64) -> u64 {
        from + self.rng.below(to - from)
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.rng.below(list.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_workload_and_another_gives_another() {
        assert_eq!(case(3), case(3));
        assert_ne!(case(3), case(4));
        let themes: std::collections::HashSet<_> =
            (0..100).map(|seed| format!("{:?}", Theme::of(seed))).collect();
        assert_eq!(themes.len(), Theme::ALL.len());
    }

    #[test]
    fn a_case_can_be_written_down() {
        for seed in 0..50 {
            let case = case(seed);
            let text = serde_json::to_string(&case).unwrap();
            assert_eq!(serde_json::from_str::<Case>(&text).unwrap(), case);
        }
    }
}
