//! The history of a run: its commits in log order and the promises about them. Oracle P judges by it.
//!
//! ```text
//!   T1 ... Tk  (k recovered by the last crash)  ...     Tn       a commit in doubt may follow
//!   '---------- certain: at or below D ---------'  '-- a crash may take these, from the end --'
//! ```

use crate::Lsn;

use super::contents::{Contents, KeyspaceNo};
use super::step::Change;

/// One commit.
#[derive(Clone, Debug)]
pub(crate) struct Commit {
    pub(crate) lsn: Lsn,
    /// None if the store gave no receipt.
    pub(crate) token: Option<String>,
    pub(crate) effect: CommitEffect,
    /// The hash of the contents after it.
    pub(crate) hash: u64,
    /// The number of keys after it.
    pub(crate) keys: u64,
}

impl Commit {
    /// A commit whose contents [`History::push`] notes.
    pub(crate) fn new(lsn: Lsn, token: Option<String>, effect: CommitEffect) -> Commit {
        Commit { lsn, token, effect, hash: 0, keys: 0 }
    }
}

/// The changes that a commit makes.
#[derive(Clone, Debug)]
pub(crate) enum CommitEffect {
    Changes(Vec<Change>),
    Create(KeyspaceNo),
    Drop(KeyspaceNo),
}

/// The promises at a moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mark {
    /// The number of submitted commits: more cannot be there.
    pub(crate) submitted: usize,
    /// The highest LSN that was acknowledged.
    pub(crate) acknowledged: Lsn,
    /// A kill takes nothing up to here: as `acknowledged`, or lower where a power loss took data.
    pub(crate) written: Lsn,
    /// `D`: the highest LSN ever reported to be durable.
    pub(crate) durable: Lsn,
    /// A `Sync` commit has been acknowledged.
    pub(crate) has_sync: bool,
}

impl Mark {
    /// Notes that the commit at `lsn` was acknowledged.
    pub(crate) fn acknowledge(&mut self, lsn: Lsn) {
        self.acknowledged = self.acknowledged.max(lsn);
        self.written = self.written.max(lsn);
    }
}

/// All commits of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    commits: Vec<Commit>,
    now: Contents,
    /// The commit in doubt, whose flush failed: it is there or not, after all others.
    doubt: Option<(CommitEffect, Contents)>,
    /// Receipt tokens of commits that a crash took: lost for ever.
    pub(crate) lost: Vec<String>,
    pub(crate) mark: Mark,
}

impl History {
    /// The contents that the store must show now.
    pub(crate) fn now(&self) -> &Contents {
        &self.now
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.commits.is_empty()
    }

    pub(crate) fn commits(&self) -> &[Commit] {
        &self.commits
    }

    /// The number of commits at or below `lsn`.
    pub(crate) fn count_to(&self, lsn: Lsn) -> usize {
        self.commits.partition_point(|commit| commit.lsn <= lsn)
    }

    /// The hash of the contents, and the number of keys, after `k` commits.
    pub(crate) fn after(&self, k: usize) -> (u64, u64) {
        k.checked_sub(1).map_or((0, 0), |at| (self.commits[at].hash, self.commits[at].keys))
    }

    /// Notes that everything up to `lsn` was reported durable.
    pub(crate) fn durable(&mut self, lsn: Lsn) {
        self.mark.durable = self.mark.durable.max(lsn);
    }

    /// Notes that the commit at `lsn` was acknowledged.
    pub(crate) fn acknowledged(&mut self, lsn: Lsn) {
        self.mark.acknowledge(lsn);
    }

    /// Inserts a commit by its LSN: one that another thread made during a commit returns before it.
    pub(crate) fn push(&mut self, commit: Commit) {
        let at = self.count_to(commit.lsn);
        self.commits.insert(at, commit);
        if at + 1 < self.commits.len() {
            self.replay(at);
            return;
        }
        let effect = self.commits[at].effect.clone();
        apply(&mut self.now, &effect);
        self.note(at);
    }

    /// Notes a commit whose flush failed: it may be there or not.
    pub(crate) fn in_doubt(&mut self, effect: CommitEffect) {
        assert!(self.doubt.is_none(), "no commit is taken after the first that failed");
        let mut contents = self.now.clone();
        apply(&mut contents, &effect);
        self.doubt = Some((effect, contents));
    }

    pub(crate) fn is_in_doubt(&self) -> bool {
        self.doubt.is_some()
    }

    /// The hash and the number of keys after all commits and the one in doubt.
    pub(crate) fn after_doubt(&self) -> Option<(u64, u64)> {
        self.doubt.as_ref().map(|(_, contents)| (contents.hash, contents.keys()))
    }

    /// Whether a store that is open may show this.
    pub(crate) fn may_show(&self, hash: u64) -> bool {
        hash == self.now.hash || self.after_doubt().is_some_and(|(doubt, _)| hash == doubt)
    }

    /// Notes that a recovery has found the first `k` commits; `k` may count the one in doubt, as the
    /// last. The other commits are lost, and no promise about them counts any more.
    pub(crate) fn recovered(&mut self, k: usize, to: Lsn) {
        if let Some((effect, _)) = self.doubt.take()
            && k > self.commits.len()
        {
            self.push(Commit::new(to, None, effect));
        }
        let lost = self.commits.split_off(k);
        self.lost.extend(lost.into_iter().filter_map(|commit| commit.token));
        self.replay(0);
        self.mark.submitted = k;
        self.mark.acknowledged = self.commits.last().map_or(Lsn::ZERO, |commit| commit.lsn);
        self.mark.written = self.mark.acknowledged;
        self.durable(to);
    }

    /// The contents after `k` commits.
    pub(crate) fn contents(&self, k: usize) -> Contents {
        let mut contents = Contents::default();
        self.commits[..k].iter().for_each(|commit| apply(&mut contents, &commit.effect));
        contents
    }

    fn replay(&mut self, from: usize) {
        self.now = self.contents(from);
        for at in from..self.commits.len() {
            let effect = self.commits[at].effect.clone();
            apply(&mut self.now, &effect);
            self.note(at);
        }
    }

    fn note(&mut self, at: usize) {
        self.commits[at].hash = self.now.hash;
        self.commits[at].keys = self.now.keys();
    }
}

fn apply(contents: &mut Contents, effect: &CommitEffect) {
    match effect {
        CommitEffect::Create(keyspace) => contents.create(*keyspace),
        CommitEffect::Drop(keyspace) => contents.drop_keyspace(*keyspace),
        CommitEffect::Changes(changes) => {
            for change in changes {
                match *change {
                    Change::Put { keyspace, key, value } => contents.put(keyspace, key, value),
                    Change::Delete { keyspace, key } => contents.delete(keyspace, key),
                }
            }
        }
    }
}
