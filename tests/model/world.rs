//! One store on a simulated disk, its model, and all that a user of it holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use syncline::disk::SimDisk;
use syncline::{CommitMode, Error, Keyspace, Lsn, Options, Receipt, Snapshot, Store, Watermarks};

use crate::held::Holding;
use crate::model::{Model, State};
use crate::random::SplitMix64;
use crate::reads::{Failed, contents};

/// What befalls the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Nothing.
    Calm,
    /// Crashes at any operation and at any call, during recovery too.
    Crashes,
    /// Flushes fail, at times together with crashes.
    FailedFlushes,
    /// The disk is full now and then.
    FullDisk,
}

impl Plan {
    /// The plan of a run with this seed.
    pub(crate) fn of(seed: u64) -> Plan {
        match seed % 8 {
            6 => Plan::FailedFlushes,
            7 => Plan::FullDisk,
            _ => Plan::Crashes,
        }
    }
}

/// What keeps the store from going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    Nothing,
    /// The disk is gone: everything fails.
    DiskGone,
    /// A flush has failed: reads go on.
    Poisoned,
}

/// A snapshot that is held, and what it must show.
pub(crate) struct Held {
    pub(crate) snapshot: Snapshot,
    pub(crate) state: State,
    pub(crate) handles: BTreeMap<String, Keyspace>,
}

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) rng: SplitMix64,
    pub(crate) disk: SimDisk,
    pub(crate) options: Options,
    pub(crate) default_mode: CommitMode,
    pub(crate) store: Option<Store>,
    pub(crate) handles: BTreeMap<String, Keyspace>,
    /// Handles of keyspaces that were dropped.
    pub(crate) stale: Vec<Keyspace>,
    pub(crate) snapshots: Vec<Held>,
    pub(crate) receipts: Vec<Receipt>,
    pub(crate) held: Vec<Holding>,
    /// Whether much is held in this run. Otherwise there are times without any snapshot.
    pub(crate) holds: bool,
    pub(crate) model: Model,
    pub(crate) trouble: Trouble,
    /// The disk may be full.
    pub(crate) is_full: bool,
    seen: Option<Watermarks>,
    story: Story,
}

/// The last things that happened, told when a check fails.
#[derive(Default)]
struct Story(Vec<String>);

impl Drop for Story {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let from = self.0.len().saturating_sub(40);
            eprintln!("... {from} steps before, then:");
            self.0[from..].iter().for_each(|line| eprintln!("  {line}"));
        }
    }
}

impl World {
    pub(crate) fn new(seed: u64, plan: Plan) -> World {
        let mut rng = SplitMix64::new(seed);
        let default_mode = *rng.pick(&[CommitMode::Sync, CommitMode::Async]);
        let options = Options::new()
            .cache_bytes(1 << 20)
            .page_bytes(*rng.pick(&[4096, 8192]))
            .segment_bytes(*rng.pick(&[64 << 10, 64 << 10, 256 << 10]))
            .checkpoint_log_bytes(rng.spread(16 << 10, 2 << 20))
            .max_unsynced_bytes(rng.spread(4 << 10, 1 << 20))
            .commit_mode(default_mode)
            .without_threads()
            .store_id([7; 16]);
        World {
            plan,
            rng,
            disk: SimDisk::new(),
            options,
            default_mode,
            store: None,
            handles: BTreeMap::new(),
            stale: Vec::new(),
            snapshots: Vec::new(),
            receipts: Vec::new(),
            held: Vec::new(),
            holds: seed.is_multiple_of(3),
            model: Model::default(),
            trouble: Trouble::Nothing,
            is_full: false,
            seen: None,
            story: Story::default(),
        }
    }

    pub(crate) fn store(&self) -> &Store {
        self.store.as_ref().expect("the store is open")
    }

    pub(crate) fn note(&mut self, what: String) {
        if std::env::var_os("SYNCLINE_TRACE").is_some() {
            eprintln!("{what}");
        }
        self.story.0.push(what);
    }

    /// The result of a call that may fail only for what was done to the disk.
    pub(crate) fn excuse<T>(&mut self, result: Result<T, Error>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.blame(&error);
                None
            }
        }
    }

    /// As [`World::excuse`], for what also compares.
    pub(crate) fn expect<T>(&mut self, result: Result<T, Failed>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(Failed::Wrong(what)) => panic!("{what}"),
            Err(Failed::Refused(error)) => {
                self.blame(&error);
                None
            }
        }
    }

    /// Finds out why a call failed; panics unless the disk was made to fail it.
    pub(crate) fn blame(&mut self, error: &Error) {
        self.note(format!("  failed: {error}"));
        if self.disk.is_gone() {
            self.trouble = Trouble::DiskGone;
            return;
        }
        let is_flush = self.plan == Plan::FailedFlushes && self.disk.faults_happened() > 0;
        match error {
            // It is the one whose dropping is in flight.
            Error::NoSuchKeyspace { .. } if self.model.is_ambiguous() => {}
            // A segment that could not be begun: nothing was changed.
            Error::Io { .. } if is_flush => {}
            Error::Poisoned { .. } if is_flush => self.trouble = Trouble::Poisoned,
            Error::DiskFull { .. } if self.is_full => {}
            _ => panic!("a call failed for no reason: {error:?}"),
        }
    }

    /// Looks at the watermarks; what they call durable must never be lost.
    pub(crate) fn observe(&mut self) {
        if self.disk.is_gone() && self.trouble == Trouble::Nothing {
            self.trouble = Trouble::DiskGone;
        }
        let Some(store) = &self.store else { return };
        let now = store.watermarks();
        assert!(now.checkpoint <= now.durable && now.durable <= now.appended, "LSN-1: {now:?}");
        assert!(now.visible <= now.appended, "LSN-2: {now:?}");
        if let Some(seen) = self.seen.replace(now) {
            let of = |w: Watermarks| [w.appended, w.visible, w.durable, w.checkpoint];
            let fell = of(seen).into_iter().zip(of(now)).any(|(before, after)| after < before);
            assert!(!fell, "LSN-3: from {seen:?} to {now:?}");
        }
        self.durable(now.durable);
    }

    pub(crate) fn durable(&mut self, lsn: Lsn) {
        self.model.durable(lsn);
    }

    /// Checks the whole store as it is; it must be open.
    pub(crate) fn check_all(&mut self) {
        let store = self.store().clone();
        let found = contents(&store);
        if let Some(found) = self.expect(found)
            && let Err(what) = self.model.peek(&found)
        {
            panic!("the store's contents: {what}");
        }
        if self.trouble == Trouble::Nothing {
            let found = store.verify();
            if let Some(found) = self.excuse(found) {
                assert!(found.is_clean(), "verify: {:#?}", found.problems);
            }
        }
    }

    /// Lets go of everything that belongs to the open store.
    pub(crate) fn let_go(&mut self) {
        self.let_go_of_iterators();
        self.handles.clear();
        self.stale.clear();
        self.snapshots.clear();
        self.receipts.clear();
        self.seen = None;
        self.store = None;
        self.trouble = Trouble::Nothing;
    }

    /// A handle to the simulated disk, as the store takes it.
    pub(crate) fn opened(disk: &SimDisk, options: &Options) -> syncline::Result<Store> {
        options.clone().open_on(Arc::new(disk.clone()))
    }
}
