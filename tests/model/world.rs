//! One store on a simulated disk, its model, and the objects that its user holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use syncline::disk::SimDisk;
use syncline::{CommitMode, Error, Keyspace, Lsn, Options, Receipt, Snapshot, Store, Watermarks};

use crate::contents::{Failed, contents};
use crate::held::Holding;
use crate::model::{Model, State};
use crate::random::SplitMix64;

/// The faults that a run injects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    Calm,
    /// Crashes at any operation and at any call, during recovery too.
    Crashes,
    /// Failed flushes, sometimes together with crashes.
    FailedFlushes,
    /// A disk that is full now and then.
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

/// The fault that keeps the open store from working normally.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InjectedFault {
    None,
    /// The disk is gone: every call fails.
    DiskGone,
    /// A flush has failed: reads still work.
    Poisoned,
}

/// A held snapshot, and what it must show.
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
    /// Whether this run holds many objects. Other runs have times without any snapshot.
    pub(crate) holds: bool,
    pub(crate) model: Model,
    pub(crate) fault: InjectedFault,
    /// The disk may be full.
    pub(crate) is_full: bool,
    seen: Option<Watermarks>,
    story: Story,
}

/// The steps of a run, the last of which are printed when a check fails.
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
            fault: InjectedFault::None,
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

    /// The result of a call that may fail only because of an injected fault.
    pub(crate) fn excuse<T>(&mut self, result: Result<T, Error>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.blame(&error);
                None
            }
        }
    }

    /// As [`World::excuse`], for a call that also compares.
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

    /// Finds out why a call failed; panics unless an injected fault explains it.
    pub(crate) fn blame(&mut self, error: &Error) {
        self.note(format!("  failed: {error}"));
        if self.disk.is_gone() {
            self.fault = InjectedFault::DiskGone;
            return;
        }
        let is_flush = self.plan == Plan::FailedFlushes && self.disk.faults_happened() > 0;
        match error {
            // The keyspace whose dropping is in flight.
            Error::NoSuchKeyspace { .. } if self.model.is_ambiguous() => {}
            // A segment could not be begun: nothing was changed.
            Error::Io { .. } if is_flush => {}
            Error::Poisoned { .. } if is_flush => self.fault = InjectedFault::Poisoned,
            Error::DiskFull { .. } if self.is_full => {}
            _ => panic!("a call failed for no reason: {error:?}"),
        }
    }

    /// Checks the watermarks, and tells the model what is durable.
    pub(crate) fn observe(&mut self) {
        if self.disk.is_gone() && self.fault == InjectedFault::None {
            self.fault = InjectedFault::DiskGone;
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

    /// Checks all contents of the open store.
    pub(crate) fn check_all(&mut self) {
        let store = self.store().clone();
        let found = contents(&store);
        if let Some(found) = self.expect(found)
            && let Err(what) = self.model.peek(&found)
        {
            panic!("the store's contents: {what}");
        }
        if self.fault == InjectedFault::None {
            let found = store.verify();
            if let Some(found) = self.excuse(found) {
                assert!(found.is_clean(), "verify: {:#?}", found.problems);
            }
        }
    }

    /// Drops everything that belongs to the open store.
    pub(crate) fn let_go(&mut self) {
        self.drop_iterators();
        self.handles.clear();
        self.stale.clear();
        self.snapshots.clear();
        self.receipts.clear();
        self.seen = None;
        self.store = None;
        self.fault = InjectedFault::None;
    }

    pub(crate) fn opened(disk: &SimDisk, options: &Options) -> syncline::Result<Store> {
        options.clone().open_on(Arc::new(disk.clone()))
    }
}
