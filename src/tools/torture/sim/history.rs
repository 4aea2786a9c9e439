//! What was committed, in log order, and what was said about it: what oracle P judges by.
//!
//! ```text
//!   T1 ... Tk  recovered by a former crash  ...  Tn             a commit that failed may follow
//!   '---------- certain: at or below D ----'  '- a crash may take, from the end -'
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
    pub(crate) what: What,
    /// The hash of the contents after it.
    pub(crate) hash: u64,
    /// How many keys there are after it.
    pub(crate) keys: u64,
}

/// What a commit did.
#[derive(Clone, Debug)]
pub(crate) enum What {
    Changes(Vec<Change>),
    Create(KeyspaceNo),
    Drop(KeyspaceNo),
}

/// What was promised at a moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mark {
    /// Commits that had been submitted: more cannot be there.
    pub(crate) submitted: usize,
    /// The highest LSN that was acknowledged.
    pub(crate) acknowledged: Lsn,
    /// A kill takes nothing up to here: what was acknowledged, unless a power loss came between.
    pub(crate) written: Lsn,
    /// `D`: the highest LSN ever reported to be durable.
    pub(crate) durable: Lsn,
    /// A `Sync` commit has been acknowledged.
    pub(crate) has_sync: bool,
}

impl Mark {
    /// Someone was told that his commit at `lsn` is done.
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
    /// A commit whose caller was told that a flush failed: it is there or not, after all others.
    doubt: Option<(What, Contents)>,
    /// Tokens of commits that a crash took: lost for ever.
    pub(crate) lost: Vec<String>,
    pub(crate) mark: Mark,
}

impl History {
    /// What the store must show now.
    pub(crate) fn now(&self) -> &Contents {
        &self.now
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.commits.is_empty()
    }

    pub(crate) fn commits(&self) -> &[Commit] {
        &self.commits
    }

    /// How many of the commits lie at or below `lsn`.
    pub(crate) fn count_to(&self, lsn: Lsn) -> usize {
        self.commits.partition_point(|commit| commit.lsn <= lsn)
    }

    /// The hash of the contents, and the number of keys, after `k` commits.
    pub(crate) fn after(&self, k: usize) -> (u64, u64) {
        k.checked_sub(1).map_or((0, 0), |at| (self.commits[at].hash, self.commits[at].keys))
    }

    /// Someone was told that everything up to `lsn` is durable.
    pub(crate) fn durable(&mut self, lsn: Lsn) {
        self.mark.durable = self.mark.durable.max(lsn);
    }

    /// Someone was told that his commit at `lsn` is done.
    pub(crate) fn acknowledged(&mut self, lsn: Lsn) {
        self.mark.acknowledge(lsn);
    }

    /// Adds a commit where its LSN has it: commits that were made beside another one return
    /// before it.
    pub(crate) fn push(&mut self, commit: Commit) {
        let at = self.count_to(commit.lsn);
        self.commits.insert(at, commit);
        if at + 1 < self.commits.len() {
            self.replay(at);
            return;
        }
        let what = self.commits[at].what.clone();
        apply(&mut self.now, &what);
        self.note(at);
    }

    /// A commit may be there or not: its caller was told that a flush failed.
    pub(crate) fn in_doubt(&mut self, what: What) {
        assert!(self.doubt.is_none(), "no commit is taken after the first that failed");
        let mut contents = self.now.clone();
        apply(&mut contents, &what);
        self.doubt = Some((what, contents));
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

    /// A recovery has found the first `k` commits, of which the one in doubt is the last: the
    /// others are lost, and nothing that was promised about them counts any more.
    pub(crate) fn recovered(&mut self, k: usize, to: Lsn) {
        if let Some((what, _)) = self.doubt.take()
            && k > self.commits.len()
        {
            self.push(Commit { lsn: to, token: None, what, hash: 0, keys: 0 });
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
        self.commits[..k].iter().for_each(|commit| apply(&mut contents, &commit.what));
        contents
    }

    fn replay(&mut self, from: usize) {
        self.now = self.contents(from);
        for at in from..self.commits.len() {
            let what = self.commits[at].what.clone();
            apply(&mut self.now, &what);
            self.note(at);
        }
    }

    fn note(&mut self, at: usize) {
        self.commits[at].hash = self.now.hash;
        self.commits[at].keys = self.now.keys();
    }
}

fn apply(contents: &mut Contents, what: &What) {
    match what {
        What::Create(keyspace) => contents.create(*keyspace),
        What::Drop(keyspace) => contents.drop_keyspace(*keyspace),
        What::Changes(changes) => {
            for change in changes {
                match *change {
                    Change::Put { keyspace, key, value } => contents.put(keyspace, key, value),
                    Change::Delete { keyspace, key } => contents.delete(keyspace, key),
                }
            }
        }
    }
}
