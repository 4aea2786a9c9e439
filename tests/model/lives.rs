//! The lives of a store: open, use, crash or close, recover, check.
//!
//! After every recovery (oracle P):
//!
//! 1. the contents of all keyspaces are exactly those after the k-th commit;
//! 2. `D <= k <= last submitted`;
//! 3. the store reports k;
//! 4. `verify` is clean;
//! 5. opening again gives the same contents;
//! 6. so does another crash at once that keeps nothing;
//! 7. every kept token has the true status.

use std::sync::Arc;

use syncline::disk::{Fault, FaultError, Keep, Op, Persistence, SimDisk};
use syncline::{Error, Store};

use crate::contents::{Failed, contents};
use crate::model::Model;
use crate::world::{InjectedFault, Plan, World};

/// How many recoveries in a row are crashed.
const DEPTH: u32 = 3;

impl World {
    /// One run, from an empty directory.
    pub(crate) fn run(&mut self, lives: u32, steps: u64) {
        self.open();
        for _ in 0..lives {
            self.arm();
            for _ in 0..self.rng.below(steps) {
                self.step();
                match self.fault {
                    InjectedFault::None => {}
                    InjectedFault::DiskGone => break,
                    InjectedFault::Poisoned if self.rng.once_in(20) => break,
                    InjectedFault::Poisoned => {}
                }
            }
            self.end_life();
            self.open();
        }
        // The last life has no faults.
        self.disk.crash_after(u64::MAX);
        self.disk.clear_faults();
        self.close();
        self.open();
        self.let_go();
    }

    /// Arms the faults of this life.
    fn arm(&mut self) {
        match self.plan {
            Plan::Calm | Plan::FullDisk => {}
            Plan::Crashes => {
                if !self.rng.once_in(4) {
                    let after = self.rng.spread(1, 30_000);
                    self.note(format!("the disk freezes after {after} operations"));
                    self.disk.crash_after(after);
                }
            }
            Plan::FailedFlushes => {
                let after = self.rng.spread(1, 120) - 1;
                self.note(format!("a flush fails after {after}"));
                if self.rng.once_in(2) {
                    self.disk.fail_sync(after);
                } else {
                    // A flush of the data file, which is rarer than one of the log.
                    self.disk.fail(Fault {
                        op: Op::Sync,
                        after: after / 8,
                        error: FaultError::Io,
                        persistence: Persistence::Once,
                    });
                }
            }
        }
    }

    fn end_life(&mut self) {
        if self.fault == InjectedFault::Poisoned {
            // Commits are refused from now on; reads still work.
            if let Some(keyspace) = self.handles.values().next() {
                let refused = keyspace.put("refused", "refused").map(|_| ());
                let is_refused = matches!(
                    refused,
                    Err(Error::Poisoned { .. }
                        | Error::NoSuchKeyspace { .. }
                        | Error::DiskFull { .. })
                );
                assert!(is_refused, "{refused:?}");
            }
            self.check_all();
        }
        let closes = match self.fault {
            InjectedFault::DiskGone => false,
            _ => self.plan == Plan::Calm || self.rng.once_in(3),
        };
        if closes {
            self.close();
        }
        if self.disk.is_gone() || self.plan != Plan::Calm && self.rng.once_in(2) || !closes {
            self.crash();
        }
        if self.plan == Plan::FailedFlushes {
            if self.rng.once_in(2) {
                self.disk.evict();
            }
            if self.rng.once_in(3) {
                self.disk.fail_sync(self.rng.spread(1, 12) - 1);
            }
        }
        if self.is_full && self.rng.once_in(2) {
            self.give_space();
        }
    }

    fn close(&mut self) {
        self.note("close".into());
        let store = self.store().clone();
        let was_poisoned = self.fault == InjectedFault::Poisoned;
        let closed = store.clone().close();
        assert!(!(was_poisoned && closed.is_ok()), "a poisoned store closed without an error");
        for _ in 0..self.rng.below(3) {
            let again = store.clone().close();
            assert_eq!(format!("{again:?}"), format!("{closed:?}"), "closed again");
        }
        if self.excuse(closed).is_some() {
            let durable = store.watermarks().durable;
            assert_eq!(durable, store.watermarks().appended, "closed with unflushed commits");
            self.durable(durable);
        }
        let after = store.flush().map(|_| ());
        assert!(matches!(after, Err(Error::Closed)), "{after:?}");
        self.let_go();
    }

    fn crash(&mut self) {
        let keep = self.keep();
        self.note(format!("crash, keeping {}", brief(&keep)));
        self.disk = self.disk.crash(keep);
        self.disk.set_capacity(None);
        self.is_full = false;
        self.let_go();
    }

    fn keep(&mut self) -> Keep {
        match self.rng.below(10) {
            0..3 => Keep::Nothing,
            3..5 => Keep::Everything,
            5..9 => Keep::Seeded(self.rng.next()),
            _ => {
                let bits = u128::from(self.rng.next()) << 64 | u128::from(self.rng.next());
                Keep::bits(bits)
            }
        }
    }

    /// Opens the store, with crashes during recovery if the plan has them, and checks its contents.
    pub(crate) fn open(&mut self) {
        let mut depth = 0;
        loop {
            let freezes = self.plan == Plan::Crashes && depth < DEPTH && self.rng.once_in(3);
            let after = if freezes { self.rng.spread(1, 400) } else { u64::MAX };
            self.disk.crash_after(after);
            self.note(format!("open, freezing after {after}"));
            match World::opened(&self.disk, &self.options) {
                Ok(store) => {
                    self.note(format!("recovered to {}", store.stats().recovery.recovered_to));
                    self.store = Some(store);
                    if self.disk.is_gone() {
                        // Nobody has read the recovered contents.
                        depth += 1;
                        self.crash();
                        continue;
                    }
                    self.disk.crash_after(u64::MAX);
                    return self.check_recovered(false);
                }
                Err(error) => {
                    depth += 1;
                    self.note(format!("  failed: {error}"));
                    self.open_failed(&error);
                }
            }
        }
    }

    fn open_failed(&mut self, error: &Error) {
        if self.disk.is_gone() {
            return self.crash();
        }
        match error {
            Error::DiskFull { .. } if self.is_full => self.give_space(),
            _ if self.plan == Plan::FailedFlushes && self.disk.faults_happened() > 0 => {
                match self.rng.below(3) {
                    0 => self.crash(),
                    1 => {
                        self.disk.clear_faults();
                        self.disk.evict();
                    }
                    _ => self.disk.clear_faults(),
                }
            }
            _ => panic!("the store does not open: {error:?}"),
        }
    }

    fn check_recovered(&mut self, is_judged: bool) {
        let store = self.store().clone();
        if !is_judged {
            let judged = self.model.recovered(&store);
            self.judged(judged.err());
        }
        let found = contents(&store);
        let Some(found) = self.expect(found) else {
            // Only a full disk can refuse a read now.
            self.give_space();
            return self.check_recovered(true);
        };
        let judged = self.model.compare(&found);
        self.judged(judged.err());
        for name in found.keys() {
            let keyspace = store.open_keyspace(name).expect("open").expect("listed");
            self.handles.insert(name.clone(), keyspace);
        }
        self.check_all();
        self.check_tokens();
        self.model.thin_tokens();
        self.observe();
        if self.plan != Plan::Calm && self.rng.once_in(2) {
            // A crash after recovery takes nothing that recovery served.
            let keep = if self.rng.once_in(2) { Keep::Nothing } else { self.keep() };
            let fork = self.disk.fork(keep.clone());
            let again = World::opened(&fork, &self.options);
            let again =
                again.map_err(Failed::Refused).and_then(|store| same(&mut self.model, &store));
            if let Err(error) = again {
                panic!("after another crash, keeping {}: {error:?}", brief(&keep));
            }
        }
    }

    fn judged(&mut self, wrong: Option<String>) {
        if let Some(wrong) = wrong {
            panic!("after recovery: {wrong}");
        }
    }
}

/// Checks that a second recovery serves the same as the first.
fn same(model: &mut Model, store: &Store) -> Result<(), Failed> {
    let found = contents(store)?;
    model.peek(&found).map_err(Failed::Wrong)?;
    model.check_tokens(store).map_err(Failed::Wrong)?;
    let verified = store.verify()?;
    if !verified.is_clean() {
        return Err(Failed::Wrong(format!("verify: {:#?}", verified.problems)));
    }
    Ok(())
}

fn brief(keep: &Keep) -> String {
    match keep {
        Keep::Mask(_) => "some".to_owned(),
        other => format!("{other:?}"),
    }
}

/// The trace hash of a run on a fresh disk.
pub(crate) fn trace(seed: u64, plan: Plan, lives: u32, steps: u64) -> u64 {
    let mut world = World::new(seed, plan);
    world.run(lives, steps);
    let disk: &SimDisk = &world.disk;
    assert!(Arc::new(disk.clone()).operations() > 0);
    disk.trace_hash()
}
