//! The shape of a commit, in independent dimensions, and the pairwise coverage of a run.
//!
//! | dimension | values |
//! |---|---|
//! | size of a value | by the thresholds of the code: empty, inline, the longest inline, a page, several, sixteen pages, an eighth of the cache, more |
//! | repetition of keys | none, twice, often; first a long value and then a short one, or the reverse |
//! | length | from one change to hundreds |
//! | kinds | puts, deletes, both |
//! | keyspaces | one, two, more |
//! | theme | of the workload |
//!
//! A fact is one value of one dimension. A bug that needs two facts at once shows itself only if their
//! pair is covered. A commit with values of several sizes has several facts of that dimension. The
//! coverage counts the facts of the commit that is made, not those that were drawn: a keyspace may be
//! missing. It leaves out the slow themes, because a run has too few of their workloads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use super::case::{Case, Setup};
use super::contents::Stamp;
use super::generate::{self, Theme};
use super::step::{Change, Step};
use crate::engine::base::random::SplitMix64;
use crate::engine::space::PAGE_HEADER;
use crate::engine::tree::max_inline;

/// A value of more pages than this bypasses the cache.
const BYPASSES: u64 = 16;
/// A value of more than one part in this many of the cache does, too.
const SHARE: u64 = 8;

/// The size of a value, by the thresholds of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Size {
    Empty,
    Inline,
    /// The longest inline value, one byte less, or one more.
    Brim,
    /// The part of a long value that one page holds, one byte less, or one more.
    Page,
    /// Out of line, between the thresholds.
    Pages,
    /// Sixteen pages, one byte less, or one more.
    Sixteen,
    /// An eighth of the cache, one byte less, or one more.
    Eighth,
    /// More than all of these.
    More,
}

/// How a commit repeats keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Repeats {
    Never,
    Twice,
    Often,
    /// An out-of-line value, and then an inline one, of the same key.
    LongFirst,
    ShortFirst,
}

/// How many changes a commit has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Length {
    One,
    Few,
    Some,
    Many,
    Hundreds,
}

/// The kinds of changes of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kinds {
    Puts,
    Both,
    Deletes,
}

/// How many keyspaces a commit changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Spread {
    One,
    Two,
    More,
}

impl Size {
    pub(crate) const ALL: [Size; 8] = [
        Size::Empty,
        Size::Inline,
        Size::Brim,
        Size::Page,
        Size::Pages,
        Size::Sixteen,
        Size::Eighth,
        Size::More,
    ];

    /// The size class of a value of this many bytes.
    fn of(bytes: u64, setup: &Setup) -> Size {
        let [inline, page, sixteen, eighth] = thresholds(setup);
        let is_near = |threshold: u64| bytes.abs_diff(threshold) <= 1;
        match bytes {
            0 => Size::Empty,
            _ if is_near(inline) => Size::Brim,
            _ if is_near(page) => Size::Page,
            _ if is_near(sixteen) => Size::Sixteen,
            _ if is_near(eighth) => Size::Eighth,
            _ if bytes < inline => Size::Inline,
            _ if bytes > sixteen.max(eighth) => Size::More,
            _ => Size::Pages,
        }
    }

    /// The length in bytes of a random value of this size.
    pub(crate) fn draw(self, setup: &Setup, rng: &mut SplitMix64) -> u32 {
        let [inline, page, sixteen, eighth] = thresholds(setup);
        let mut near = |threshold: u64| threshold - 1 + rng.below(3);
        let bytes = match self {
            Size::Empty => 0,
            Size::Brim => near(inline),
            Size::Page => near(page),
            Size::Sixteen => near(sixteen),
            Size::Eighth => near(eighth),
            Size::Inline if rng.below(4) > 0 => 1 + rng.below(80),
            Size::Inline => 1 + rng.below(inline - 2),
            Size::Pages => inline + 2 + rng.below(3 * page),
            Size::More => sixteen.max(eighth) + 2 + rng.below(8 * page),
        };
        bytes as u32
    }
}

/// In bytes: the longest inline value, the part of a longer one in one page, in sixteen, in an eighth of
/// the cache.
fn thresholds(setup: &Setup) -> [u64; 4] {
    let page = u64::from(setup.page_bytes);
    let inline = max_inline(setup.page_bytes as usize) as u64;
    let body = page - PAGE_HEADER as u64;
    [inline, body, BYPASSES * body, setup.cache_bytes / SHARE / page * body]
}

/// Whether a value is out of line.
pub(crate) fn is_long(value: Stamp, setup: &Setup) -> bool {
    value.bytes as usize > max_inline(setup.page_bytes as usize)
}

impl Length {
    pub(crate) const ALL: [Length; 5] =
        [Length::One, Length::Few, Length::Some, Length::Many, Length::Hundreds];

    /// The least and the most changes.
    pub(crate) fn range(self) -> (u64, u64) {
        match self {
            Length::One => (1, 1),
            Length::Few => (2, 7),
            Length::Some => (8, 30),
            Length::Many => (31, 199),
            Length::Hundreds => (200, 260),
        }
    }

    fn of(changes: usize) -> Length {
        let is_in = |length: &&Length| (changes as u64) <= length.range().1;
        Length::ALL.iter().find(is_in).copied().unwrap_or(Length::Hundreds)
    }
}

/// One value of one dimension of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fact {
    Size(Size),
    Repeats(Repeats),
    Length(Length),
    Kinds(Kinds),
    Spread(Spread),
    Theme(Theme),
}

impl Fact {
    fn all() -> Vec<Fact> {
        use {Kinds as K, Repeats as R, Spread as S};
        let repeats = [R::Never, R::Twice, R::Often, R::LongFirst, R::ShortFirst];
        let sizes = Size::ALL.map(Fact::Size).into_iter();
        sizes
            .chain(repeats.map(Fact::Repeats))
            .chain(Length::ALL.map(Fact::Length))
            .chain([K::Puts, K::Both, K::Deletes].map(Fact::Kinds))
            .chain([S::One, S::Two, S::More].map(Fact::Spread))
            .chain(Theme::ALL.into_iter().filter(|theme| !theme.is_slow()).map(Fact::Theme))
            .collect()
    }

    fn dimension(self) -> usize {
        match self {
            Fact::Size(_) => 0,
            Fact::Repeats(_) => 1,
            Fact::Length(_) => 2,
            Fact::Kinds(_) => 3,
            Fact::Spread(_) => 4,
            Fact::Theme(_) => 5,
        }
    }

    /// Whether a commit can have both facts, and `self` is of the earlier dimension.
    fn goes_with(self, other: Fact) -> bool {
        use {Fact as F, Repeats as R};
        match (self, other) {
            _ if self.dimension() >= other.dimension() => false,
            (F::Size(_), F::Kinds(Kinds::Deletes)) => false,
            (F::Repeats(R::LongFirst | R::ShortFirst), F::Kinds(Kinds::Deletes)) => false,
            (F::Repeats(repeats), F::Length(Length::One)) => repeats == R::Never,
            (F::Length(Length::One), F::Kinds(kinds)) => kinds != Kinds::Both,
            (F::Length(Length::One), F::Spread(spread)) => spread == Spread::One,
            _ => true,
        }
    }

    fn words(self) -> String {
        let text = match self {
            Fact::Size(size) => format!("size {size:?}"),
            Fact::Repeats(repeats) => format!("keys repeated {repeats:?}"),
            Fact::Length(length) => format!("changes {length:?}"),
            Fact::Kinds(kinds) => format!("kinds {kinds:?}"),
            Fact::Spread(spread) => format!("keyspaces {spread:?}"),
            Fact::Theme(theme) => format!("theme {theme:?}"),
        };
        text.to_lowercase()
    }
}

/// The facts of a commit.
fn facts(changes: &[Change], setup: &Setup, theme: Theme) -> BTreeSet<Fact> {
    let mut facts = BTreeSet::from([Fact::Length(Length::of(changes.len()))]);
    if !theme.is_slow() {
        facts.insert(Fact::Theme(theme));
    }
    let mut keys: BTreeMap<_, Vec<Option<Stamp>>> = BTreeMap::new();
    let mut keyspaces = BTreeSet::new();
    let mut puts = 0;
    for change in changes {
        keyspaces.insert(change.keyspace());
        match *change {
            Change::Put { keyspace, key, value } => {
                puts += 1;
                facts.insert(Fact::Size(Size::of(u64::from(value.bytes), setup)));
                keys.entry((keyspace, key)).or_default().push(Some(value));
            }
            Change::Delete { keyspace, key } => {
                keys.entry((keyspace, key)).or_default().push(None);
            }
        }
    }
    let most = keys.values().map(Vec::len).max().unwrap_or(0);
    facts.insert(Fact::Repeats(match most {
        0 | 1 => Repeats::Never,
        2 => Repeats::Twice,
        _ => Repeats::Often,
    }));
    for pair in keys.values().flat_map(|values| values.windows(2)) {
        let [Some(first), Some(second)] = pair else { continue };
        match (is_long(*first, setup), is_long(*second, setup)) {
            (true, false) => facts.insert(Fact::Repeats(Repeats::LongFirst)),
            (false, true) => facts.insert(Fact::Repeats(Repeats::ShortFirst)),
            _ => false,
        };
    }
    facts.insert(Fact::Kinds(match puts {
        0 => Kinds::Deletes,
        puts if puts == changes.len() => Kinds::Puts,
        _ => Kinds::Both,
    }));
    facts.insert(Fact::Spread(match keyspaces.len() {
        0 | 1 => Spread::One,
        2 => Spread::Two,
        _ => Spread::More,
    }));
    facts
}

/// The number of commits that had each pair of facts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Coverage(BTreeMap<(Fact, Fact), u64>);

impl Coverage {
    /// Counts a commit.
    pub(crate) fn commit(&mut self, changes: &[Change], setup: &Setup, theme: Theme) {
        for pair in pairs(&facts(changes, setup, theme)) {
            *self.0.entry(pair).or_default() += 1;
        }
    }

    /// Adds the counts of another worker.
    pub(crate) fn add(&mut self, other: &Coverage) {
        for (pair, count) in &other.0 {
            *self.0.entry(*pair).or_default() += count;
        }
    }

    /// The number of possible pairs.
    pub(crate) fn pairs() -> u64 {
        all_pairs().len() as u64
    }

    /// The number of covered pairs.
    pub(crate) fn met(&self) -> u64 {
        self.0.len() as u64
    }

    /// The pairs that are not covered, in words.
    pub(crate) fn empty(&self) -> Vec<String> {
        let empty = all_pairs().into_iter().filter(|pair| !self.0.contains_key(pair));
        empty.map(|(one, other)| format!("{} with {}", one.words(), other.words())).collect()
    }
}

/// The number of workloads that are sampled for rare pairs.
const SAMPLE: u64 = 300;
/// A pair in fewer workloads of the sample is rare.
const RARE: u64 = 10;
/// The most seeds that a search tries.
const MOST_TRIED: usize = 10_000;

/// The rare pairs of facts, the rarest first.
static RARITIES: LazyLock<Vec<(Fact, Fact)>> = LazyLock::new(|| {
    let mut counts: BTreeMap<(Fact, Fact), u64> = BTreeMap::new();
    for seed in 0..SAMPLE {
        for pair in pairs_of(&generate::case(seed), Theme::of(seed)) {
            *counts.entry(pair).or_default() += 1;
        }
    }
    let count = |pair: &(Fact, Fact)| counts.get(pair).copied().unwrap_or(0);
    let mut rare = all_pairs();
    rare.retain(|pair| count(pair) < RARE);
    rare.sort_by_key(count);
    rare
});

/// A seed, derived from `seed`, of a workload with the rare pair of facts whose turn it is. The turns
/// repeat through all of them.
pub(crate) fn seed_with(turn: u64, seed: u64) -> u64 {
    let pair @ (_, other) = RARITIES[(turn % RARITIES.len() as u64) as usize];
    let mut fitting = seeds_after(seed).filter(|&seed| match (other, Theme::of(seed)) {
        (Fact::Theme(wanted), theme) => theme == wanted,
        (_, theme) => !theme.is_slow(),
    });
    let has = |seed: &u64| pairs_of(&generate::case(*seed), Theme::of(*seed)).contains(&pair);
    fitting.find(has).unwrap_or(seed)
}

/// A seed, derived from `seed`, of a workload with this theme.
pub(crate) fn seed_of(theme: Theme, seed: u64) -> u64 {
    seeds_after(seed).find(|&seed| Theme::of(seed) == theme).unwrap_or(seed)
}

/// Seeds derived from `seed`.
fn seeds_after(seed: u64) -> impl Iterator<Item = u64> {
    let mut rng = SplitMix64::new(seed);
    std::iter::repeat_with(move || rng.next()).take(MOST_TRIED)
}

fn all_pairs() -> Vec<(Fact, Fact)> {
    pairs(&Fact::all().into_iter().collect()).collect()
}

/// The pairs of these facts that can go together.
fn pairs(facts: &BTreeSet<Fact>) -> impl Iterator<Item = (Fact, Fact)> {
    let with = |one: &Fact| {
        let one = *one;
        facts
            .iter()
            .copied()
            .filter(move |other| one.goes_with(*other))
            .map(move |other| (one, other))
    };
    facts.iter().flat_map(with)
}

/// The pairs of facts of all commits of a workload. Changes to keyspaces that do not exist are left out.
fn pairs_of(case: &Case, theme: Theme) -> BTreeSet<(Fact, Fact)> {
    let (mut existing, mut found) = (BTreeSet::new(), BTreeSet::new());
    for step in &case.steps {
        match step {
            Step::Create { keyspace } => drop(existing.insert(*keyspace)),
            Step::Drop { keyspace } => drop(existing.remove(keyspace)),
            Step::Commit { changes, .. } => {
                let possible =
                    changes.iter().filter(|change| existing.contains(&change.keyspace()));
                let changes: Vec<Change> = possible.copied().collect();
                found.extend(pairs(&facts(&changes, &case.setup, theme)));
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawn_size_is_recognised() {
        let mut rng = SplitMix64::new(1);
        for seed in 0..40 {
            let setup = generate::case(seed).setup;
            for size in Size::ALL {
                for _ in 0..40 {
                    let bytes = u64::from(size.draw(&setup, &mut rng));
                    let found = Size::of(bytes, &setup);
                    // Thresholds may be near each other, in any order.
                    let is_near = size >= Size::Page && found >= Size::Page;
                    assert!(found == size || is_near, "{size:?}: {bytes} is {found:?}, {setup:?}");
                }
            }
        }
    }

    #[test]
    fn the_workloads_have_every_pair_of_facts() {
        let mut coverage = Coverage::default();
        for seed in 0..3000 {
            let case = generate::case(seed);
            for step in &case.steps {
                if let Step::Commit { changes, .. } = step {
                    coverage.commit(changes, &case.setup, Theme::of(seed));
                }
            }
        }
        assert_eq!(coverage.empty(), Vec::<String>::new());
        assert_eq!(coverage.met(), Coverage::pairs());
    }

    #[test]
    fn a_round_of_turns_has_every_rare_pair() {
        let mut found = BTreeSet::new();
        let turns = RARITIES.len() as u64;
        assert!((20..300).contains(&turns), "{turns}");
        for turn in 0..turns {
            let seed = seed_with(turn, turn);
            found.extend(pairs_of(&generate::case(seed), Theme::of(seed)));
        }
        let missing: Vec<_> = RARITIES.iter().filter(|pair| !found.contains(pair)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
