//! The steps of a user, each of one call or a few.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use syncline::{CommitMode, Error, Receipt, WriteBatch};

use crate::generate::{self, Crowded};
use crate::model::Change;
use crate::reads::{self, Source};
use crate::world::{Held, InjectedFault, Plan, World};

/// Above this size the store is made to shrink.
const CROWDED_BYTES: usize = 5 << 20;
const SNAPSHOTS: usize = 4;
/// The most snapshots in a run that holds many objects.
const MANY_SNAPSHOTS: usize = 30;
const KEYSPACES: usize = 5;

/// A waker that panics.
struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        std::panic::resume_unwind(Box::new("a waker panics")); // prints no message
    }
}

impl World {
    pub(crate) fn step(&mut self) {
        if self.handles.is_empty() {
            return self.create();
        }
        match self.rng.below(436) {
            0..150 => self.commit(),
            150..260 => self.read(),
            260..275 => self.open_snapshot(),
            275..315 => self.read_snapshot(),
            315..327 => self.drop_snapshot(),
            327..345 => self.ask_receipts(),
            345..353 => self.flush(),
            353..365 => self.checkpoint(),
            365..370 => self.read_while_writing(),
            370..376 => self.create(),
            376..380 => self.drop_keyspace(),
            380..384 => self.use_stale(),
            384..388 => self.refused(),
            388..391 => self.check_all(),
            391..394 => self.check_tokens(),
            394..403 => self.hold(),
            403..425 => self.look_at_held(),
            425..430 => self.drop_held(),
            _ => self.fill_disk(),
        }
        self.observe();
    }

    fn mode(&mut self) -> CommitMode {
        if self.rng.once_in(3) { CommitMode::Sync } else { CommitMode::Async }
    }

    pub(crate) fn commit(&mut self) {
        let is_crowded = self.rng.once_in(4) && self.model.bytes() > CROWDED_BYTES;
        let crowded = if is_crowded { Crowded::Yes } else { Crowded::No };
        let changes = generate::changes(self.model.now(), crowded, &mut self.rng);
        let mode = self.mode();
        self.note(format!("commit {} changes, {mode:?}: {}", changes.len(), brief(&changes)));
        let result = if changes.len() == 1 && self.rng.once_in(2) {
            self.write_one(&changes[0], mode)
        } else {
            let mut batch = WriteBatch::new();
            for change in &changes {
                match change {
                    Change::Put { keyspace, key, value } => {
                        batch.put(&self.handles[keyspace], key, value);
                    }
                    Change::Delete { keyspace, key } => batch.delete(&self.handles[keyspace], key),
                    _ => unreachable!("only puts and deletes are generated"),
                }
            }
            assert_eq!(batch.len(), changes.len());
            match mode == self.default_mode {
                true => self.store().write(batch),
                false => self.store().write_with(batch, mode),
            }
        };
        self.done(result, mode, changes);
    }

    fn write_one(&self, change: &Change, mode: CommitMode) -> syncline::Result<Receipt> {
        match change {
            Change::Put { keyspace, key, value } => {
                let keyspace = &self.handles[keyspace];
                match mode == self.default_mode {
                    true => keyspace.put(key, value),
                    false => keyspace.put_with(key, value, mode),
                }
            }
            Change::Delete { keyspace, key } => {
                let keyspace = &self.handles[keyspace];
                match mode == self.default_mode {
                    true => keyspace.delete(key),
                    false => keyspace.delete_with(key, mode),
                }
            }
            _ => unreachable!("only puts and deletes are generated"),
        }
    }

    /// Tells the model the outcome of a commit.
    fn done(&mut self, result: syncline::Result<Receipt>, mode: CommitMode, changes: Vec<Change>) {
        let was_poisoned = self.fault == InjectedFault::Poisoned;
        match result {
            Ok(receipt) => {
                assert!(!was_poisoned, "a commit was accepted after a failed flush");
                self.model.committed(&receipt, changes);
                if mode == CommitMode::Sync {
                    assert!(receipt.is_durable(), "acknowledged before it was durable");
                }
                if receipt.is_durable() {
                    self.durable(receipt.lsn());
                }
                if self.rng.once_in(3) {
                    self.receipts.push(receipt);
                }
            }
            Err(error) => {
                self.blame(&error);
                let is_open = match error {
                    Error::Poisoned { .. } => !was_poisoned,
                    _ => self.fault == InjectedFault::DiskGone,
                };
                if is_open && !self.model.is_ambiguous() {
                    self.model.in_flight(changes);
                }
            }
        }
    }

    fn read(&mut self) {
        if self.model.is_ambiguous() {
            return self.check_all();
        }
        let names: Vec<&String> = self.handles.keys().collect();
        let name = self.rng.pick(&names).to_string();
        let keyspace = self.handles[&name].clone();
        let expected = Arc::clone(&self.model.now()[&name]);
        let found = reads::check(Source::Now(&keyspace), &expected, &mut self.rng);
        self.expect(found);
    }

    pub(crate) fn open_snapshot(&mut self) {
        let most = if self.holds { MANY_SNAPSHOTS } else { SNAPSHOTS };
        if self.model.is_ambiguous() || self.snapshots.len() >= most {
            return;
        }
        let snapshot = self.store().snapshot();
        if let Some(snapshot) = self.excuse(snapshot) {
            self.note(format!("snapshot at {}", snapshot.lsn()));
            let (state, handles) = (self.model.now().clone(), self.handles.clone());
            self.snapshots.push(Held { snapshot, state, handles });
        }
    }

    fn read_snapshot(&mut self) {
        if self.snapshots.is_empty() {
            return;
        }
        let at = self.rng.below(self.snapshots.len() as u64) as usize;
        let held = &self.snapshots[at];
        if self.rng.once_in(10) && held.snapshot.receipt().is_durable() {
            let lsn = held.snapshot.lsn();
            return self.durable(lsn);
        }
        let names: Vec<&String> = held.handles.keys().collect();
        let name = *self.rng.pick(&names);
        let source = Source::At(&held.snapshot, &held.handles[name]);
        let found = reads::check(source, &held.state[name], &mut self.rng);
        self.expect(found);
        // A keyspace created later is not in the snapshot.
        let held = &self.snapshots[at];
        let newer = self.handles.iter().find(|(name, _)| !held.handles.contains_key(*name));
        if let Some((_, newer)) = newer {
            let found = held.snapshot.get(newer, "k");
            assert!(matches!(found, Err(Error::NoSuchKeyspace { .. })), "{found:?}");
        }
    }

    fn drop_snapshot(&mut self) {
        if !self.snapshots.is_empty() {
            let at = self.rng.below(self.snapshots.len() as u64) as usize;
            let held = self.snapshots.swap_remove(at);
            self.note(format!("drop the snapshot at {}", held.snapshot.lsn()));
        }
    }

    fn ask_receipts(&mut self) {
        for at in (0..self.receipts.len()).rev() {
            if self.rng.once_in(2) {
                continue;
            }
            let mut receipt = self.receipts.swap_remove(at);
            let mut is_durable = receipt.is_durable();
            if self.rng.once_in(3) {
                self.note(format!("poll {}", receipt.lsn()));
                let waker = Waker::from(Arc::new(Panics));
                let polled = Pin::new(&mut receipt).poll(&mut Context::from_waker(&waker));
                let Poll::Ready(waited) = polled else {
                    panic!("pending, but nobody else flushes")
                };
                is_durable |= self.excuse(waited).is_some();
            } else if self.rng.once_in(3) {
                self.note(format!("wait for {}", receipt.lsn()));
                let waited = receipt.wait();
                is_durable |= self.excuse(waited).is_some();
            }
            if is_durable {
                assert!(receipt.is_durable());
                self.durable(receipt.lsn());
            }
        }
    }

    fn flush(&mut self) {
        self.note("flush".into());
        let (before, flushed) = (self.store().watermarks().appended, self.store().flush());
        if let Some(line) = self.excuse(flushed) {
            assert!(line >= before, "a flush up to {line}, but {before} was appended");
            self.durable(line);
        }
    }

    pub(crate) fn checkpoint(&mut self) {
        self.note("checkpoint".into());
        if self.plan == Plan::Crashes && self.rng.once_in(3) {
            let after = self.rng.spread(1, 120);
            self.note(format!("the disk freezes after {after} operations"));
            self.disk.crash_after(after);
        }
        let (before, made) = (self.store().watermarks().visible, self.store().checkpoint());
        if let Some(at) = self.excuse(made) {
            assert!(at >= before, "a checkpoint at {at}, but {before} was visible");
            self.durable(at);
        }
    }

    /// Holds an iterator and a value during commits.
    fn read_while_writing(&mut self) {
        if self.model.is_ambiguous() {
            return;
        }
        let names: Vec<&String> = self.handles.keys().collect();
        let name = self.rng.pick(&names).to_string();
        let keyspace = self.handles[&name].clone();
        let expected = Arc::clone(&self.model.now()[&name]);
        let (range, key) = (keyspace.iter(), generate::key(&mut self.rng));
        let Some(mut range) = self.excuse(range) else { return };
        let held = keyspace.get(&key);
        let Some(held) = self.excuse(held) else { return };
        let mut left = expected.iter();
        for _ in 0..self.rng.below(10) {
            let entry = range.next().transpose();
            let Some(entry) = self.excuse(entry) else { return };
            let wanted = left.next();
            assert_eq!(entry.as_ref().map(|e| e.key()), wanted.map(|(key, _)| &key[..]));
        }
        for _ in 0..self.rng.below(4) {
            self.commit();
            if self.fault != InjectedFault::None {
                return;
            }
        }
        let left: Vec<_> = left.collect();
        let walked = reads::walk(range, &left, &mut self.rng);
        self.expect(walked);
        assert_eq!(held.as_deref(), expected.get(&key).map(|value| &value[..]), "a held value");
    }

    fn create(&mut self) {
        if self.handles.len() >= KEYSPACES || self.fault != InjectedFault::None {
            return;
        }
        let name = format!("keyspace {}", self.rng.below(8));
        self.note(format!("create {name}"));
        let store = self.store().clone();
        if self.model.now().contains_key(&name) {
            let again = store.create_keyspace(&name);
            match again {
                Err(Error::KeyspaceExists { .. }) => {}
                Err(error) => self.blame(&error),
                Ok(_) => panic!("an existing keyspace was created"),
            }
            return;
        }
        let made = match self.rng.once_in(2) {
            true => store.create_keyspace(&name),
            false => store.keyspace(&name),
        };
        let changes = vec![Change::Create { keyspace: name.clone() }];
        match made {
            Ok(keyspace) => {
                // Creating a keyspace is durable when it returns.
                let at = store.watermarks().durable;
                self.model.committed_durably(at, changes);
                self.handles.insert(name, keyspace);
            }
            Err(error) => {
                self.blame(&error);
                if self.fault != InjectedFault::None {
                    self.model.in_flight(changes);
                }
            }
        }
    }

    fn drop_keyspace(&mut self) {
        if self.fault != InjectedFault::None {
            return;
        }
        let names: Vec<&String> = self.handles.keys().collect();
        let name = self.rng.pick(&names).to_string();
        self.note(format!("drop {name}"));
        let changes = vec![Change::Drop { keyspace: name.clone() }];
        let result = self.store().drop_keyspace(&name);
        let is_done = result.is_ok();
        self.done(result, self.default_mode, changes);
        if is_done {
            let gone = self.handles.remove(&name).expect("a handle for each");
            self.stale.push(gone);
        }
    }

    fn use_stale(&mut self) {
        let Some(stale) = self.stale.last() else { return };
        let refused = |error| matches!(error, Error::NoSuchKeyspace { .. });
        assert!(stale.get("k").is_err_and(refused));
        assert!(stale.iter().is_err_and(refused));
        if self.fault == InjectedFault::None && !self.is_full {
            let result = stale.put("k", "v").map(|_| ());
            match result {
                Err(error) if refused(error.clone()) => {}
                Ok(()) => panic!("a put into a dropped keyspace"),
                Err(error) => self.blame(&error),
            }
        }
    }

    /// Makes calls that must be refused and change nothing.
    fn refused(&mut self) {
        let (_, keyspace) = self.handles.first_key_value().expect("a keyspace");
        let long = vec![0; 2000];
        let error = keyspace.put(&long, "v").map(|_| ());
        assert!(matches!(error, Err(Error::KeyTooLong { .. })), "{error:?}");
        let mut batch = WriteBatch::new();
        batch.put(keyspace, "unseen", "unseen");
        batch.delete(keyspace, &long);
        let error = self.store().write(batch).map(|_| ());
        assert!(matches!(error, Err(Error::KeyTooLong { .. })), "{error:?}");
        let error = self.store().status("no token").map(|_| ());
        assert!(matches!(error, Err(Error::InvalidToken { .. })), "{error:?}");
    }

    pub(crate) fn check_tokens(&mut self) {
        let store = self.store().clone();
        if let Err(what) = self.model.check_tokens(&store) {
            if self.disk.is_gone() || self.is_full {
                return;
            }
            panic!("{what}");
        }
    }

    /// Lets the disk run full, or gives it space again.
    fn fill_disk(&mut self) {
        if self.plan != Plan::FullDisk || self.fault != InjectedFault::None {
            return;
        }
        if self.is_full {
            self.give_space();
            // The store works again without reopening.
            if self.fault == InjectedFault::None {
                self.commit();
            }
        } else {
            let free = if self.rng.once_in(2) { 0 } else { self.rng.spread(1 << 10, 1 << 20) };
            self.note(format!("{free} bytes of space left"));
            self.disk.set_capacity(Some(self.disk.used_bytes() + free));
            self.is_full = true;
        }
    }

    pub(crate) fn give_space(&mut self) {
        self.note("space again".into());
        self.disk.set_capacity(None);
        self.is_full = false;
    }
}

fn brief(changes: &[Change]) -> String {
    let mut text = String::new();
    for change in changes.iter().take(3) {
        text += &match change {
            Change::Put { keyspace, key, value } => {
                format!("{keyspace}/{}={}b ", key.escape_ascii(), value.len())
            }
            Change::Delete { keyspace, key } => format!("{keyspace}/{} gone ", key.escape_ascii()),
            other => format!("{other:?} "),
        };
    }
    text
}
