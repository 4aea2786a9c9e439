//! The problems that a check finds: all are counted, the first ones are listed.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// How many problems are listed.
pub(crate) const MOST_LISTED: usize = 100;

/// Problems in the order in which they were found, each once: a check may meet the same damage twice.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    listed: Vec<String>,
    /// The hashes of all problems, without prefixes. A store may have as many problems as pages.
    seen: HashSet<u64>,
}

impl Problems {
    /// Adds a problem, unless it is there already.
    pub(crate) fn add(&mut self, problem: impl Into<String>) {
        self.add_after("", problem.into());
    }

    /// How many problems were found.
    pub(crate) fn count(&self) -> u64 {
        self.seen.len() as u64
    }

    /// Adds the problems of another check, each with `prefix` before it.
    pub(crate) fn append(&mut self, prefix: &str, mut other: Problems) {
        for problem in std::mem::take(&mut other.listed) {
            self.add_after(prefix, problem);
        }
        self.seen.extend(other.seen);
    }

    fn add_after(&mut self, prefix: &str, problem: String) {
        if self.seen.insert(hash(&problem)) && self.listed.len() < MOST_LISTED {
            self.listed.push(format!("{prefix}{problem}"));
        }
    }

    /// The listed problems, and, as the last entry, how many more there are.
    pub(crate) fn into_list(mut self) -> Vec<String> {
        let unlisted = self.seen.len() - self.listed.len();
        if unlisted > 0 {
            self.listed.push(format!("and {unlisted} more"));
        }
        self.listed
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
    fn the_first_problems_are_listed_and_all_are_counted_once() {
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
        assert_eq!(list.len(), MOST_LISTED + 1);
        assert_eq!(
            (&*list[0], &*list[1], &*list[100]),
            ("twice", "page: problem 0", "and 52 more")
        );
    }
}
