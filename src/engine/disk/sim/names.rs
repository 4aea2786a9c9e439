//! The names in a directory: the seen names, the durable names, and the changes between.
//!
//! Invariants:
//!
//! - SIMDIR-1 `durable` with every pending change applied in order is `seen`.
//! - SIMDIR-2 A crash applies some of the pending changes: for each name a prefix of those that
//!   concern it. So each name shows a file that it has had since the last sync, and a rename, which
//!   concerns two names, is applied to both or to neither.

use std::collections::{BTreeMap, BTreeSet};

/// The file behind a name. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct FileId(pub(super) u64);

/// A change that is not durable yet.
#[derive(Clone, Debug)]
struct Pending {
    change: NameChange,
    /// Whether a sync of the directory with this change failed. The next sync takes it for done.
    in_doubt: bool,
}

#[derive(Clone, Debug)]
enum NameChange {
    Create { name: String, id: FileId },
    Rename { from: String, to: String, id: FileId },
    Remove { name: String },
}

impl NameChange {
    fn names(&self) -> [&str; 2] {
        match self {
            NameChange::Create { name, .. } | NameChange::Remove { name } => [name, name],
            NameChange::Rename { from, to, .. } => [from, to],
        }
    }

    fn id(&self) -> Option<FileId> {
        match self {
            NameChange::Create { id, .. } | NameChange::Rename { id, .. } => Some(*id),
            NameChange::Remove { .. } => None,
        }
    }

    fn apply(&self, names: &mut BTreeMap<String, FileId>) {
        match self {
            NameChange::Create { name, id } => {
                names.insert(name.clone(), *id);
            }
            NameChange::Rename { from, to, id } => {
                names.remove(from);
                names.insert(to.clone(), *id);
            }
            NameChange::Remove { name } => {
                names.remove(name);
            }
        }
    }

    fn describe(&self) -> String {
        match self {
            NameChange::Create { name, .. } => format!("create {name}"),
            NameChange::Rename { from, to, .. } => format!("rename {from} to {to}"),
            NameChange::Remove { name } => format!("remove {name}"),
        }
    }
}

/// The names in a directory.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    seen: BTreeMap<String, FileId>,
    durable: BTreeMap<String, FileId>,
    pending: Vec<Pending>,
}

impl Names {
    /// A directory in which everything seen is durable.
    pub(super) fn settled(names: BTreeMap<String, FileId>) -> Names {
        Names { seen: names.clone(), durable: names, pending: Vec::new() }
    }

    pub(super) fn lookup(&self, name: &str) -> Option<FileId> {
        self.seen.get(name).copied()
    }

    pub(super) fn list(&self) -> Vec<String> {
        self.seen.keys().cloned().collect()
    }

    pub(super) fn is_seen(&self, id: FileId) -> bool {
        self.seen.values().any(|&seen| seen == id)
    }

    /// Whether the file has a name now or may have one after a crash.
    pub(super) fn may_show(&self, id: FileId) -> bool {
        self.is_seen(id)
            || self.durable.values().any(|&durable| durable == id)
            || self.pending.iter().any(|pending| pending.change.id() == Some(id))
    }

    /// A name that the file has, had, or may have again.
    pub(super) fn name_of(&self, id: FileId) -> Option<&str> {
        let bound = self.seen.iter().chain(&self.durable).find(|&(_, &bound)| bound == id);
        bound.map(|(name, _)| name.as_str()).or_else(|| {
            let pending = self.pending.iter().find(|pending| pending.change.id() == Some(id))?;
            Some(pending.change.names()[1])
        })
    }

    pub(super) fn create(&mut self, name: &str, id: FileId) {
        self.change(NameChange::Create { name: name.to_owned(), id });
    }

    pub(super) fn rename(&mut self, from: &str, to: &str, id: FileId) {
        if from != to {
            self.change(NameChange::Rename { from: from.to_owned(), to: to.to_owned(), id });
        }
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.change(NameChange::Remove { name: name.to_owned() });
    }

    /// Makes the changes since the last sync, failed or not, durable. A change in doubt stays in doubt,
    /// unless a later change to the same name settles it.
    pub(super) fn sync(&mut self) {
        let mut settled: BTreeSet<String> = BTreeSet::new();
        loop {
            let before = settled.len();
            for pending in &self.pending {
                let names = pending.change.names();
                if !pending.in_doubt || names.iter().any(|&name| settled.contains(name)) {
                    settled.extend(names.map(str::to_owned));
                }
            }
            if settled.len() == before {
                break;
            }
        }
        self.pending.retain(|pending| !settled.contains(pending.change.names()[0]));
        for name in settled {
            match self.seen.get(&name) {
                Some(&id) => self.durable.insert(name, id),
                None => self.durable.remove(&name),
            };
        }
    }

    /// A sync fails: the changes so far are in doubt.
    pub(super) fn fail_sync(&mut self) {
        for pending in &mut self.pending {
            pending.in_doubt = true;
        }
    }

    /// Makes everything durable, also changes in doubt.
    pub(super) fn settle(&mut self) {
        self.durable = self.seen.clone();
        self.pending.clear();
    }

    /// Describes each pending change, in the order in which [`Names::survivors`] asks.
    pub(super) fn choices(&self) -> impl Iterator<Item = String> {
        self.pending.iter().map(|pending| pending.change.describe())
    }

    /// The names after a crash; calls `keep` once per pending change (SIMDIR-2).
    pub(super) fn survivors(&self, mut keep: impl FnMut() -> bool) -> BTreeMap<String, FileId> {
        let mut names = self.durable.clone();
        let mut stopped = BTreeSet::new();
        for Pending { change, .. } in &self.pending {
            let kept = keep();
            if kept && !change.names().iter().any(|name| stopped.contains(name)) {
                change.apply(&mut names);
            } else {
                stopped.extend(change.names());
            }
        }
        names
    }

    fn change(&mut self, change: NameChange) {
        change.apply(&mut self.seen);
        self.pending.push(Pending { change, in_doubt: false });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every directory that a crash may leave, as "name=id" lists.
    fn reachable(names: &Names) -> BTreeSet<String> {
        let bits = names.pending.len();
        (0..1u32 << bits)
            .map(|mask| {
                let mut next = 0;
                let survivors = names.survivors(|| {
                    next += 1;
                    mask >> (next - 1) & 1 == 1
                });
                let shown: Vec<_> =
                    survivors.iter().map(|(name, id)| format!("{name}={}", id.0)).collect();
                shown.join(" ")
            })
            .collect()
    }

    fn set<const N: usize>(states: [&str; N]) -> BTreeSet<String> {
        states.map(str::to_owned).into()
    }

    #[test]
    fn each_name_shows_a_prefix_of_its_changes() {
        let mut names = Names::default();
        names.create("a", FileId(1));
        names.create("b", FileId(2));
        assert_eq!(reachable(&names), set(["", "a=1", "b=2", "a=1 b=2"]));
        names.remove("a");
        names.create("a", FileId(3));
        assert_eq!(reachable(&names), set(["", "a=1", "b=2", "a=1 b=2", "a=3", "a=3 b=2"]));
    }

    #[test]
    fn a_rename_changes_both_names_or_neither() {
        let mut names = Names::default();
        names.create("old", FileId(1));
        names.sync();
        names.create("new", FileId(2));
        names.rename("new", "old", FileId(2));
        assert_eq!(reachable(&names), set(["old=1", "new=2 old=1", "old=2"]));
        let mut removed = names.clone();
        removed.remove("old"); // never without the rename before it
        assert_eq!(reachable(&removed), set(["old=1", "new=2 old=1", "old=2", ""]));
        names.sync();
        assert_eq!(reachable(&names), set(["old=2"]));
    }

    #[test]
    fn a_sync_after_a_failed_one_proves_nothing() {
        let mut names = Names::default();
        names.create("a", FileId(1));
        names.fail_sync();
        names.create("b", FileId(2));
        names.sync();
        assert_eq!(reachable(&names), set(["b=2", "a=1 b=2"]));
        names.rename("a", "c", FileId(1)); // settles `a`
        names.sync();
        assert_eq!(reachable(&names), set(["b=2 c=1"]));

        names.rename("b", "d", FileId(2));
        names.fail_sync();
        names.create("b", FileId(3)); // settles the rename, of both names or neither
        names.sync();
        assert_eq!(reachable(&names), set(["b=3 c=1 d=2"]));
    }
}
