//! Builds a workload step by step: `Script::new().sync(1, 100).checkpoint()`.

use crate::tools::torture::sim::{Change, Kept, KeyNo, KeyspaceNo, Mode, Setup, Stamp, Step};

/// The setup of most exhibits: several pages fit, a segment is soon full, and no checkpoint or flush
/// comes unless a step asks for it.
pub(super) const SMALL: Setup = Setup {
    page_bytes: 4096,
    cache_bytes: 512 << 10,
    segment_bytes: 16 << 10,
    checkpoint_log_bytes: 1 << 20,
    max_unsynced_bytes: 1 << 20,
};

/// Steps on numbered keyspaces; the first step creates keyspace 0. All values differ.
#[derive(Clone, Debug)]
pub(super) struct Script {
    pub(super) steps: Vec<Step>,
    next: u32,
}

impl Script {
    pub(super) fn new() -> Script {
        Script { steps: Vec::new(), next: 1 }.create(0)
    }

    /// A continuation of `other`, whose values differ from the values there.
    pub(super) fn after(other: &Script) -> Script {
        Script { steps: Vec::new(), next: other.next }
    }

    pub(super) fn step(mut self, step: Step) -> Script {
        self.steps.push(step);
        self
    }

    /// A synchronous commit of one key.
    pub(super) fn sync(self, key: KeyNo, bytes: u32) -> Script {
        self.commit(Mode::Sync, [key], bytes)
    }

    /// An asynchronous commit of one key.
    pub(super) fn quick(self, key: KeyNo, bytes: u32) -> Script {
        self.commit(Mode::Async, [key], bytes)
    }

    /// One commit of several keys.
    pub(super) fn commit(
        mut self,
        mode: Mode,
        keys: impl IntoIterator<Item = KeyNo>,
        bytes: u32,
    ) -> Script {
        let changes = keys.into_iter().map(|key| self.put(0, key, bytes)).collect();
        self.step(Step::Commit { mode, changes })
    }

    /// One asynchronous commit per key.
    pub(super) fn each(self, keys: impl IntoIterator<Item = KeyNo>, bytes: u32) -> Script {
        keys.into_iter().fold(self, |script, key| script.quick(key, bytes))
    }

    /// One asynchronous commit of several keys.
    pub(super) fn together(self, keys: impl IntoIterator<Item = KeyNo>, bytes: u32) -> Script {
        self.commit(Mode::Async, keys, bytes)
    }

    /// An asynchronous commit of one key of another keyspace.
    pub(super) fn quick_in(mut self, keyspace: KeyspaceNo, key: KeyNo, bytes: u32) -> Script {
        let changes = vec![self.put(keyspace, key, bytes)];
        self.step(Step::Commit { mode: Mode::Async, changes })
    }

    pub(super) fn delete(self, mode: Mode, keys: impl IntoIterator<Item = KeyNo>) -> Script {
        let changes = keys.into_iter().map(|key| Change::Delete { keyspace: 0, key }).collect();
        self.step(Step::Commit { mode, changes })
    }

    pub(super) fn create(self, keyspace: KeyspaceNo) -> Script {
        self.step(Step::Create { keyspace })
    }

    pub(super) fn drop(self, keyspace: KeyspaceNo) -> Script {
        self.step(Step::Drop { keyspace })
    }

    pub(super) fn flush(self) -> Script {
        self.step(Step::Flush)
    }

    pub(super) fn checkpoint(self) -> Script {
        self.step(Step::Checkpoint)
    }

    pub(super) fn snapshot(self) -> Script {
        self.step(Step::Snapshot)
    }

    pub(super) fn end_snapshot(self) -> Script {
        self.step(Step::EndSnapshot)
    }

    pub(super) fn read(self) -> Script {
        self.step(Step::Read)
    }

    pub(super) fn reopen(self) -> Script {
        self.step(Step::Reopen)
    }

    pub(super) fn kill(self) -> Script {
        self.step(Step::Crash { keep: Kept::Everything })
    }

    pub(super) fn power_loss(self) -> Script {
        self.step(Step::Crash { keep: Kept::Nothing })
    }

    /// Asynchronous commits of these keys by others, from the `after`-th call of the next step on.
    pub(super) fn beside<K: IntoIterator<Item = KeyNo>>(
        mut self,
        after: u8,
        commits: impl IntoIterator<Item = K>,
        bytes: u32,
    ) -> Script {
        let mut changes =
            |keys: K| keys.into_iter().map(|key| self.put(0, key, bytes)).collect::<Vec<_>>();
        let commits = commits.into_iter().map(&mut changes).collect();
        self.step(Step::Beside { after, commits })
    }

    fn put(&mut self, keyspace: KeyspaceNo, key: KeyNo, bytes: u32) -> Change {
        let value = Stamp { id: self.next, bytes };
        self.next += 1;
        Change::Put { keyspace, key, value }
    }
}
