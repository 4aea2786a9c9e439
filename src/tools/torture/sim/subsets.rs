//! Chooses the subsets of the unsynced changes that a power loss keeps.
//!
//! A window is the set of unsynced changes at a moment. A small window has all its outcomes tried:
//! each sector in each of its versions, each name, each length, independently. A larger one has a
//! sample: single changes, all but one, pairs, and random ones.
//!
//! Example: sector 1 has two unsynced versions, and a rename is unsynced. That gives 3 * 2 outcomes:
//! sector 1 old, in its first or in its second version, each with the rename and without it.
//!
//! Just before a flush everything unsynced since the flush before is still unsynced. So the outcomes
//! of that moment include those of all moments between, and its promises are the strictest.

use super::step::Kept;
use crate::engine::base::random::SplitMix64;
use crate::engine::disk::Choice;

/// How many outcomes of one window are tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// A window with at most this many outcomes is tried whole.
    pub(crate) exhaustive: u64,
    /// The outcomes per kind for a larger one: single changes, all but one, pairs, random.
    pub(crate) sampled: usize,
}

impl Effort {
    pub(crate) fn sparser(self) -> Effort {
        Effort { exhaustive: self.exhaustive / 4, sampled: self.sampled.div_ceil(2) }
    }
}

/// The outcomes of a window to try.
#[derive(Debug)]
pub(crate) enum Outcomes {
    All(Counter),
    Some(std::vec::IntoIter<Kept>),
}

impl Outcomes {
    pub(crate) fn of(choices: &[Choice], effort: Effort, rng: &mut SplitMix64) -> Outcomes {
        if count(choices) <= effort.exhaustive {
            return Outcomes::All(Counter::new(choices));
        }
        Outcomes::Some(sample(choices, effort.sampled, rng).into_iter())
    }

    pub(crate) fn is_exhaustive(&self) -> bool {
        matches!(self, Outcomes::All(_))
    }
}

impl Iterator for Outcomes {
    type Item = Kept;

    fn next(&mut self) -> Option<Kept> {
        match self {
            Outcomes::All(counter) => counter.next().map(Kept::Versions),
            Outcomes::Some(list) => list.next(),
        }
    }
}

/// The number of outcomes of a window.
pub(crate) fn count(choices: &[Choice]) -> u64 {
    let radix = choices.iter().map(|choice| choice.versions() as u64 + 1);
    radix.fold(1, |product, radix| product.saturating_mul(radix))
}

/// Counts through all outcomes, from nothing kept to everything in its newest version.
#[derive(Debug)]
pub(crate) struct Counter {
    most: Vec<u8>,
    next: Option<Vec<u8>>,
}

impl Counter {
    fn new(choices: &[Choice]) -> Counter {
        Counter { most: newest(choices), next: Some(vec![0; choices.len()]) }
    }
}

impl Iterator for Counter {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let this = self.next.take()?;
        let mut next = this.clone();
        for (digit, &most) in next.iter_mut().zip(&self.most) {
            if *digit < most {
                *digit += 1;
                self.next = Some(next);
                return Some(this);
            }
            *digit = 0;
        }
        Some(this)
    }
}

fn newest(choices: &[Choice]) -> Vec<u8> {
    choices.iter().map(|choice| choice.versions().min(255) as u8).collect()
}

fn sample(choices: &[Choice], each: usize, rng: &mut SplitMix64) -> Vec<Kept> {
    let all = newest(choices);
    let none = vec![0; choices.len()];
    let mut list = vec![Kept::Nothing, Kept::Versions(all.clone())];
    // Every change if there are few, else random ones.
    let positions: Vec<usize> = if choices.len() <= each {
        (0..choices.len()).collect()
    } else {
        (0..each).map(|_| rng.below(choices.len() as u64) as usize).collect()
    };
    for &at in &positions {
        let mut alone = none.clone();
        alone[at] = all[at];
        let mut all_but = all.clone();
        all_but[at] = 0;
        let mut pair = alone.clone();
        let other = rng.below(choices.len() as u64) as usize;
        pair[other] = 1 + rng.below(u64::from(all[other])) as u8;
        list.extend([alone, all_but, pair].map(Kept::Versions));
    }
    list.extend((0..each).map(|_| Kept::Seeded(rng.next())));
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn sectors(versions: &[usize]) -> Vec<Choice> {
        let choice = |(sector, &versions): (usize, &usize)| Choice::Sector {
            file: "data".into(),
            sector: sector as u64,
            versions,
        };
        versions.iter().enumerate().map(choice).collect()
    }

    #[test]
    fn a_small_window_is_tried_whole() {
        let effort = Effort { exhaustive: 100, sampled: 3 };
        let outcomes = Outcomes::of(&sectors(&[1, 2, 1, 3]), effort, &mut SplitMix64::new(1));
        assert!(outcomes.is_exhaustive());
        let all: HashSet<_> = outcomes
            .map(|kept| match kept {
                Kept::Versions(versions) => versions,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(all.len(), 2 * 3 * 2 * 4);
        assert!(all.contains(&vec![0; 4]) && all.contains(&vec![1, 2, 1, 3]));
        let nothing = Outcomes::of(&[], effort, &mut SplitMix64::new(1));
        assert_eq!(nothing.count(), 1);
    }

    #[test]
    fn a_large_window_is_sampled() {
        let choices = sectors(&[1; 64]);
        assert_eq!(count(&choices), u64::MAX);
        let effort = Effort { exhaustive: 1 << 16, sampled: 5 };
        let outcomes = Outcomes::of(&choices, effort, &mut SplitMix64::new(1));
        assert!(!outcomes.is_exhaustive());
        assert_eq!(outcomes.count(), 2 + 4 * 5);
        let few = Outcomes::of(
            &sectors(&[9; 20]),
            Effort { sampled: 20, ..effort },
            &mut SplitMix64::new(1),
        );
        let alone = few.filter(|kept| match kept {
            Kept::Versions(versions) => {
                versions.iter().filter(|version| **version > 0).count() == 1
            }
            _ => false,
        });
        assert!(alone.count() >= 20, "each change alone");
    }
}
