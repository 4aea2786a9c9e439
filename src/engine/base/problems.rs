//! What a check finds wrong, in words: all of it counted, the first of it told.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// So many problems are told one by one.
pub(crate) const MOST_TOLD: usize = 100;

/// Problems in the order in which they were found, each once: the same damage is met on many ways.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    told: Vec<String>,
    /// The hashes of all of them, as they were before somebody's prefix. A store may have as many as
    /// it has pages.
    seen: HashSet<u64>,
}

impl Problems {
    /// Adds a problem, unless it is there already.
    pub(crate) fn add(&mut self, problem: impl Into<String>) {
        self.add_after("", problem.into());
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.seen.len() as u64
    }

    /// Adds what another check has found, each problem after `prefix`.
    pub(crate) fn append(&mut self, prefix: &str, mut other: Problems) {
        for problem in std::mem::take(&mut other.told) {
            self.add_after(prefix, problem);
        }
        self.seen.extend(other.seen);
    }

    fn add_after(&mut self, prefix: &str, problem: String) {
        if self.seen.insert(hash(&problem)) && self.told.len() < MOST_TOLD {
            self.told.push(format!("{prefix}{problem}"));
        }
    }

    /// Those that are told, and, as the last one, how many are not.
    pub(crate) fn into_list(mut self) -> Vec<String> {
        let untold = self.seen.len() - self.told.len();
        if untold > 0 {
            self.told.push(format!("and {untold} more"));
        }
        self.told
    }
}

fn hash(problem: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    problem.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
#[cfg(not(syncline_shuttle))]
mod tests {
    use super::*;

    #[test]
    fn problems_are_told_up_to_a_number_and_all_counted_once() {
        let mut problems = Problems::default();
        problems.add("twice");
        problems.add("twice");
        assert_eq!(problems.count(), 1);
        let mut others = Problems::default();
        (0..150).for_each(|n| others.add(format!("problem {n}")));
        problems.append("page: ", others);
        (0..151).for_each(|n| problems.add(format!("problem {n}")));
        assert_eq!(problems.count(), 152);
        let list = problems.into_list();
        assert_eq!(list.len(), MOST_TOLD + 1);
        assert_eq!(
            (&*list[0], &*list[1], &*list[100]),
            ("twice", "page: problem 0", "and 52 more")
        );
    }
}
