//! Generates random workloads. The same seed gives the same workload.
//!
//! A theme has habits: how long its values are, how many changes its commits have. Habits exclude some
//! combinations. So a part of all commits is free of them: each dimension of [`super::shape`] is drawn
//! independently, whatever the theme.

use super::case::{Case, Setup};
use super::contents::{KeyNo, KeyspaceNo, Stamp, key};
use super::shape::{Kinds, Length, Repeats, Size, Spread};
use super::step::{Change, Kept, Mode, Step};
use crate::engine::base::random::SplitMix64;

/// The theme of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Theme {
    Mixed,
    /// Each commit waits for the device.
    Sync,
    /// Commits do not wait, and flushes come between.
    Async,
    /// Other threads commit while the engine waits for the device.
    Beside,
    /// Many crashes and reopenings.
    Lives,
    /// More data than fits in the cache.
    Evicting,
    /// Large commits over several segments, and values out of line.
    Large,
    /// Many keyspaces are created and dropped.
    Keyspaces,
    /// Snapshots are held during many changes.
    Snapshots,
    /// Records of one length in small segments that are recycled often.
    Recycling,
    /// Many keys are written and then deleted in key order, with few pages in the cache.
    Emptying,
    /// Enough pages for several leaves of the maps. Slow.
    Big,
    /// Hundreds of keyspaces. Slow.
    Crowd,
}

impl Theme {
    pub(crate) const ALL: [Theme; 13] = [
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
        Theme::Emptying,
        Theme::Big,
        Theme::Crowd,
    ];

    /// The theme of a seed. The slow ones are rare.
    pub(crate) fn of(seed: u64) -> Theme {
        let mut rng = SplitMix64::new(!seed);
        match Theme::ALL[rng.below(Theme::ALL.len() as u64) as usize] {
            theme if theme.is_slow() && rng.below(8) > 0 => Theme::Mixed,
            theme => theme,
        }
    }

    /// Whether each state of its stores takes long.
    pub(crate) fn is_slow(self) -> bool {
        matches!(self, Theme::Big | Theme::Crowd)
    }
}

/// Keyspaces of [`Theme::Crowd`], at least and at most.
const CROWD: (u64, u64) = (200, 1000);
/// Once a commit has this many bytes, its further values are short.
const COMMIT_BYTES: u64 = 256 << 10;
/// Keys that [`Theme::Emptying`] writes and deletes.
const LEAVES: KeyNo = 220;

/// The workload of a seed.
pub(crate) fn case(seed: u64) -> Case {
    themed(Theme::of(seed), seed)
}

/// The workload of a seed with this theme.
pub(crate) fn themed(theme: Theme, seed: u64) -> Case {
    let mut rng = SplitMix64::new(seed);
    let setup = setup(theme, &mut rng);
    let mut draw = Draw {
        keyspaces: *pick(&mut rng, &[1, 2, 2, 2, 2, 4, 8]),
        longest: *pick(&mut rng, &[Size::Page, Size::Page, Size::Page, Size::Eighth, Size::More]),
        rng,
        setup,
        theme,
        next_stamp: 0,
    };
    if theme == Theme::Crowd {
        draw.keyspaces = draw.spread(CROWD.0, CROWD.1) as KeyspaceNo;
    }
    let mut steps: Vec<Step> =
        (0..draw.keyspaces).map(|keyspace| Step::Create { keyspace }).collect();
    match theme {
        Theme::Big => draw.fill(&mut steps),
        Theme::Emptying => draw.fill_leaves(&mut steps),
        _ => {}
    }
    let count = match theme {
        Theme::Big | Theme::Crowd => draw.spread(4, 10),
        Theme::Recycling => draw.spread(60, 100),
        _ => draw.spread(12, 36),
    };
    for _ in 0..count {
        draw.step(&mut steps);
    }
    steps.push(Step::Read);
    steps.push(Step::Quiet);
    Case { setup: draw.setup, steps }
}

struct Draw {
    rng: SplitMix64,
    setup: Setup,
    theme: Theme,
    /// The longest size of values in commits without habits.
    longest: Size,
    next_stamp: u32,
    keyspaces: KeyspaceNo,
}

fn setup(theme: Theme, rng: &mut SplitMix64) -> Setup {
    let roomy = matches!(theme, Theme::Beside | Theme::Big);
    Setup {
        page_bytes: 4096,
        cache_bytes: match theme {
            Theme::Evicting | Theme::Emptying => *pick(rng, &[128 << 10, 192 << 10]),
            Theme::Large => 1 << 20,
            Theme::Big => 3 << 20,
            _ => *pick(rng, &[256 << 10, 512 << 10]),
        },
        segment_bytes: match theme {
            Theme::Recycling => 16 << 10,
            Theme::Big => 64 << 10,
            _ => *pick(rng, &[16 << 10, 16 << 10, 32 << 10, 64 << 10]),
        },
        checkpoint_log_bytes: match roomy {
            true => 16 << 20,
            false if theme == Theme::Recycling => 8 << 10,
            false => *pick(rng, &[8 << 10, 24 << 10, 1 << 20]),
        },
        max_unsynced_bytes: match roomy {
            true => 16 << 20,
            false => *pick(rng, &[4 << 10, 64 << 10, 1 << 20]),
        },
    }
}

fn pick<'a, T>(rng: &mut SplitMix64, list: &'a [T]) -> &'a T {
    &list[rng.below(list.len() as u64) as usize]
}

impl Draw {
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
            Theme::Emptying => [80, 3, 6, 1, 1, 6, 1, 0],
            Theme::Crowd => [60, 3, 10, 4, 4, 10, 6, 3],
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
        let free = if self.theme == Theme::Recycling { 1 } else { 4 };
        if self.rng.below(10) < free {
            return Step::Commit { mode, changes: self.free() };
        }
        if self.theme == Theme::Emptying && self.rng.below(4) > 0 {
            return Step::Commit { mode, changes: self.in_order() };
        }
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
                    let keyspace = number % self.keyspaces.min(2);
                    Change::Put { keyspace, key: number * 8 + key, value }
                })
                .collect();
            steps.push(Step::Commit { mode: Mode::Async, changes });
        }
        steps.push(Step::Checkpoint);
    }

    /// Fills more leaves of a keyspace than the cache has frames.
    fn fill_leaves(&mut self, steps: &mut Vec<Step>) {
        for first in (0..LEAVES).step_by(20) {
            let changes = (first..first + 20).map(|key| {
                let bytes = self.spread(300, 1000);
                Change::Put { keyspace: 0, key, value: self.stamp(bytes as u32) }
            });
            let changes = changes.collect();
            steps.push(Step::Commit { mode: Mode::Async, changes });
        }
        steps.push(if self.rng.below(2) == 0 { Step::Checkpoint } else { Step::Reopen });
    }

    /// Deletes neighbouring keys.
    fn in_order(&mut self) -> Vec<Change> {
        let mut keys: Vec<KeyNo> = (0..LEAVES).collect();
        keys.sort_by_cached_key(|&number| key(number));
        let count = self.spread(5, 60);
        let first = self.rng.below(u64::from(LEAVES) - count) as usize;
        let keys = keys[first..first + count as usize].iter();
        keys.map(|&key| Change::Delete { keyspace: 0, key }).collect()
    }

    /// The changes of a commit without habits.
    fn free(&mut self) -> Vec<Change> {
        use {Kinds as K, Length as L, Repeats as R, Spread as S};
        let weighed = [L::One, L::One, L::Few, L::Few, L::Few, L::Some, L::Some, L::Many];
        let length = match self.rng.below(12) {
            0 => L::Hundreds,
            _ => *self.pick(&weighed),
        };
        let (least, most) = length.range();
        let count = self.spread(least, most + 1);
        let kinds = *self.pick(&[K::Puts, K::Puts, K::Puts, K::Both, K::Both, K::Deletes]);
        let repeats =
            *self.pick(&[R::Never, R::Never, R::Twice, R::Often, R::LongFirst, R::ShortFirst]);
        let size = self.size();
        let homes = match *self.pick(&[S::One, S::One, S::Two, S::More]) {
            S::One => 1,
            S::Two => 2,
            S::More => self.spread(3, 12),
        };
        let homes: Vec<KeyspaceNo> = (0..homes).map(|_| self.any_keyspace()).collect();
        let mut changes = Vec::new();
        for key in self.different_keys(count) {
            let keyspace = *self.pick(&homes);
            changes.push(self.free_change(keyspace, key, kinds, size));
        }
        self.repeat(&mut changes, repeats, size);
        shorten(&mut changes);
        changes
    }

    /// The size of most values of a commit: inline in at least half of all commits.
    fn size(&mut self) -> Size {
        let longest = Size::ALL.iter().position(|size| *size == self.longest).expect("one of all");
        match self.rng.below(2) {
            0 => Size::Inline,
            _ => *self.pick(&Size::ALL[..=longest]),
        }
    }

    fn free_change(
        &mut self,
        keyspace: KeyspaceNo,
        key: KeyNo,
        kinds: Kinds,
        size: Size,
    ) -> Change {
        let is_delete = match kinds {
            Kinds::Puts => false,
            Kinds::Both => self.rng.below(3) == 0,
            Kinds::Deletes => true,
        };
        if is_delete {
            return Change::Delete { keyspace, key };
        }
        let size = if self.rng.below(3) == 0 { Size::Inline } else { size };
        Change::Put { keyspace, key, value: self.sized(size) }
    }

    /// Makes a commit repeat keys. A single change stays as it is.
    fn repeat(&mut self, changes: &mut [Change], repeats: Repeats, size: Size) {
        let last = changes.len() - 1;
        if last == 0 {
            return;
        }
        let first = self.rng.below(last as u64) as usize;
        let second = self.spread(first as u64 + 1, last as u64 + 1) as usize;
        let long = if size < Size::Page { Size::Pages } else { size };
        let sizes = match repeats {
            Repeats::Never => return,
            Repeats::Twice => None,
            Repeats::Often => {
                let stride = if last - first < 6 { 1 } else { 2 };
                for at in (first..=last).step_by(stride) {
                    changes[at] = with_key_of(changes[at], changes[first]);
                }
                return;
            }
            Repeats::LongFirst => Some((long, Size::Inline)),
            Repeats::ShortFirst => Some((Size::Inline, long)),
        };
        changes[second] = with_key_of(changes[second], changes[first]);
        for (at, size) in sizes.into_iter().flat_map(|(one, two)| [(first, one), (second, two)]) {
            if let Change::Put { keyspace, key, .. } = changes[at] {
                changes[at] = Change::Put { keyspace, key, value: self.sized(size) };
            }
        }
    }

    /// Different keys: of the usual range, if `count` fits in it.
    fn different_keys(&mut self, count: u64) -> Vec<KeyNo> {
        let keys: u64 = if count < 80 { 89 } else { 409 };
        let (first, stride) = (self.rng.below(keys), 1 + self.rng.below(keys - 1));
        // The number of keys is prime, so every stride visits all of them before the first comes again.
        (0..count).map(|at| ((first + at * stride) % keys) as KeyNo).collect()
    }

    fn sized(&mut self, size: Size) -> Stamp {
        let bytes = size.draw(&self.setup, &mut self.rng);
        self.stamp(bytes)
    }

    fn stamp(&mut self, bytes: u32) -> Stamp {
        self.next_stamp += 1;
        Stamp { id: self.next_stamp, bytes }
    }

    fn any_keyspace(&mut self) -> KeyspaceNo {
        self.rng.below(u64::from(self.keyspaces)) as KeyspaceNo
    }

    fn changes(&mut self, count: u64) -> Vec<Change> {
        let home = self.any_keyspace();
        let deletes = *self.pick(&[0, 1, 1, 6]);
        (0..count)
            .map(|_| {
                let keyspace = match self.rng.below(5) {
                    0 => self.any_keyspace(),
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
        self.stamp(bytes as u32)
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
        let keyspace = self.rng.below(4.max(u64::from(self.keyspaces))) as KeyspaceNo;
        self.keyspaces = self.keyspaces.max(keyspace + 1);
        match self.rng.below(2) {
            0 => Step::Create { keyspace },
            _ => Step::Drop { keyspace },
        }
    }

    /// Commits of other threads during a checkpoint, a flush, or a `Sync` commit.
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
        // A flush of the log is one call.
        let calls = if next == Step::Checkpoint { 8 } else { 1 };
        steps.push(Step::Beside { after: self.rng.below(calls) as u8, commits });
        steps.push(next);
    }

    fn spread(&mut self, from: u64, to: u64) -> u64 {
        from + self.rng.below(to - from)
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        pick(&mut self.rng, list)
    }
}

/// Makes values short once those before them have [`COMMIT_BYTES`] in all.
fn shorten(changes: &mut [Change]) {
    let mut left = COMMIT_BYTES;
    for change in changes {
        let Change::Put { value, .. } = change else { continue };
        if left == 0 {
            value.bytes %= 64;
        }
        left = left.saturating_sub(u64::from(value.bytes));
    }
}

/// `change`, applied to the key of `other`.
fn with_key_of(change: Change, other: Change) -> Change {
    let (Change::Put { keyspace, key, .. } | Change::Delete { keyspace, key }) = other;
    match change {
        Change::Put { value, .. } => Change::Put { keyspace, key, value },
        Change::Delete { .. } => Change::Delete { keyspace, key },
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
            (0..1000).map(|seed| format!("{:?}", Theme::of(seed))).collect();
        assert_eq!(themes.len(), Theme::ALL.len());
    }

    /// The stamps of all puts of a workload.
    fn stamps(case: &Case) -> impl Iterator<Item = Stamp> {
        let commits = case.steps.iter().flat_map(|step| match step {
            Step::Commit { changes, .. } => vec![changes],
            Step::Beside { commits, .. } => commits.iter().collect(),
            _ => vec![],
        });
        commits.flatten().filter_map(|change| match change {
            Change::Put { value, .. } => Some(*value),
            Change::Delete { .. } => None,
        })
    }

    /// A value begins with the id of its stamp, which needs up to four bytes.
    #[test]
    fn no_two_values_of_four_bytes_or_more_of_a_run_are_alike() {
        for seed in 0..200 {
            let case = case(seed);
            let mut numbers = std::collections::HashSet::new();
            let mut values = std::collections::HashSet::new();
            for stamp in stamps(&case) {
                assert!(numbers.insert(stamp.id), "seed {seed}: {stamp:?}");
                let value = stamp.value();
                assert_eq!(value.len(), stamp.bytes as usize);
                assert!(value.len() < 4 || values.insert(value), "seed {seed}: {stamp:?}");
            }
            assert!(!numbers.is_empty(), "seed {seed}: nothing is put");
        }
    }

    #[test]
    fn a_case_survives_serialization() {
        for seed in 0..50 {
            let case = case(seed);
            let text = serde_json::to_string(&case).unwrap();
            assert_eq!(serde_json::from_str::<Case>(&text).unwrap(), case);
        }
    }
}
