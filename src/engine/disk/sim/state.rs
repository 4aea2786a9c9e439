//! The whole state of a simulated disk, behind its one lock.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::crash::{Choice, Chooser, Keep};
use super::fault::{Faults, Op};
use super::inode::{Inode, InodeChoice};
use super::names::{FileId, Names};
use super::pages::Pages;
use crate::engine::base::random::mix;

/// The longest file: bounds the cost of a wrong length.
pub(super) const MAX_BYTES: u64 = 1 << 38;

/// The effect of the next write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum NextWrite {
    #[default]
    Arrives,
    /// Reported as done, but not done.
    Lost,
    /// Done this many bytes away from its place.
    Misdirected(i64),
    /// Only the sectors whose bits are set arrive: the lowest bit is that of the first sector, and of the
    /// 65th again.
    Torn(u64),
    /// Its old bytes are remembered.
    Remembered,
}

/// The old bytes of a write.
#[derive(Clone, Debug)]
pub(super) struct Overwritten {
    pub(super) id: FileId,
    pub(super) offset: u64,
    pub(super) bytes: Vec<u8>,
}

/// The state of a simulated disk.
#[derive(Clone, Default)]
pub(super) struct State {
    pub(super) names: Names,
    inodes: BTreeMap<FileId, Inode>,
    last_id: u64,
    /// The bytes of a removed file, whose blocks may turn up in new files.
    removed: Pages,
    pub(super) faults: Faults,
    pub(super) next_write: NextWrite,
    pub(super) overwritten: Option<Overwritten>,
    pub(super) capacity: Option<u64>,
    pub(super) locked: bool,
    /// Crashed or frozen: nothing works any more.
    pub(super) gone: bool,
    /// How many more counted operations work.
    pub(super) countdown: Option<u64>,
    pub(super) operations: u64,
    pub(super) trace: u64,
    /// Random bytes follow from this and the trace.
    pub(super) seed: u64,
    /// How many words were drawn.
    draws: u64,
    /// The pages that were read, if recorded.
    pub(super) reads: Option<BTreeSet<(FileId, u64)>>,
}

impl State {
    // --- operations ---

    /// Begins an operation. The outer error says that the disk is gone: nothing happens. The inner error
    /// is a fault, whose effect is up to the caller.
    pub(super) fn begin(
        &mut self,
        op: Op,
        id: FileId,
        offset: u64,
        bytes: &[u8],
    ) -> io::Result<Result<(), io::Error>> {
        self.tick(op, id, offset, bytes)?;
        Ok(self.faults.check(op).map_or(Ok(()), Err))
    }

    /// As [`State::begin`], for operations that have no effect if they fail.
    pub(super) fn step(&mut self, op: Op, id: FileId, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.begin(op, id, offset, bytes)?
    }

    /// Counts one operation, or one part of it before which a crash can happen.
    pub(super) fn tick(&mut self, op: Op, id: FileId, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if !self.gone && op.is_counted() {
            match &mut self.countdown {
                Some(0) => self.gone = true,
                Some(left) => *left -= 1,
                None => {}
            }
        }
        if self.gone {
            return Err(io::Error::other("the simulated disk is gone"));
        }
        if op.is_counted() {
            self.operations += 1;
        }
        let what = [op as u64, id.0, offset, bytes.len() as u64, crc32fast::hash(bytes).into()];
        self.trace = what.iter().fold(self.trace, |trace, &word| mix(trace ^ mix(word + 1)));
        Ok(())
    }

    /// A random word.
    pub(super) fn draw(&mut self) -> u64 {
        self.draws += 1;
        mix(self.trace ^ mix(self.seed ^ mix(self.draws)))
    }

    // --- files ---

    pub(super) fn lookup(&self, name: &str) -> io::Result<FileId> {
        self.names.lookup(name).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The file, which has a name or is open.
    pub(super) fn inode(&mut self, id: FileId) -> &mut Inode {
        self.inodes.get_mut(&id).expect("open files and names have inodes")
    }

    /// Whether the file has a name or is open.
    pub(super) fn exists(&self, id: FileId) -> bool {
        self.inodes.contains_key(&id)
    }

    /// Remembers the bytes of a file at `offset`.
    pub(super) fn remember(&mut self, id: FileId, offset: u64, len: usize) {
        let mut bytes = vec![0; len];
        self.inode(id).seen().read(offset, &mut bytes);
        self.overwritten = Some(Overwritten { id, offset, bytes });
    }

    /// Adds a file without a name.
    pub(super) fn add(&mut self, inode: Inode) -> FileId {
        self.last_id += 1;
        let id = FileId(self.last_id);
        self.inodes.insert(id, inode);
        id
    }

    /// Makes a file longer, if there is space.
    pub(super) fn grow(&mut self, id: FileId, bytes: u64) -> io::Result<()> {
        let more = bytes.saturating_sub(self.inode(id).bytes());
        if more == 0 {
            return Ok(());
        }
        if bytes > MAX_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if self.capacity.is_some_and(|capacity| self.used_bytes() + more > capacity) {
            self.faults.happened += 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.inode(id).grow(bytes);
        Ok(())
    }

    /// The bytes of all files that have a name or are open.
    pub(super) fn used_bytes(&self) -> u64 {
        let used =
            self.inodes.iter().filter(|(id, inode)| inode.handles > 0 || self.names.is_seen(**id));
        used.map(|(_, inode)| inode.used_bytes()).sum()
    }

    /// Forgets the files that are unreachable, now and after a crash.
    pub(super) fn collect(&mut self) {
        let names = &self.names;
        let gone =
            self.inodes.extract_if(.., |id, inode| inode.handles == 0 && !names.may_show(*id));
        for (_, inode) in gone.filter(|(_, inode)| inode.bytes() > 0) {
            self.removed = inode.seen().clone();
        }
    }

    /// Drops the clean pages from the cache.
    pub(super) fn evict(&mut self) {
        self.inodes.values_mut().for_each(Inode::evict);
    }

    // --- crashes ---

    /// The state that survives a crash.
    pub(super) fn survivor(&self, keep: &Keep) -> State {
        let mut state = State {
            last_id: self.last_id,
            removed: self.removed.clone(),
            capacity: self.capacity,
            trace: self.trace,
            seed: self.seed,
            draws: self.draws,
            overwritten: self.overwritten.clone(),
            ..State::default()
        };
        let Some(mut chooser) = Chooser::new(keep) else {
            state.names = self.names.clone();
            state.inodes = self.inodes.clone();
            for inode in state.inodes.values_mut() {
                (inode.handles, inode.mappings) = (0, 0);
            }
            state.collect();
            return state;
        };
        state.names = Names::settled(self.names.survivors(|| chooser.keep()));
        // Every file that could have survived is asked, so that a choice never shifts another.
        for (&id, inode) in self.inodes.iter().filter(|(id, _)| self.names.may_show(**id)) {
            chooser.start(id);
            let inode = inode.survivor(&mut chooser, &self.removed);
            if state.names.is_seen(id) {
                state.inodes.insert(id, inode);
            }
        }
        state
    }

    /// The choices of [`State::survivor`], in its order.
    pub(super) fn choices(&self) -> Vec<Choice> {
        let mut choices: Vec<Choice> =
            self.names.choices().map(|change| Choice::Name { change }).collect();
        for (&id, inode) in &self.inodes {
            let Some(name) = self.names.name_of(id) else { continue };
            choices.extend(inode.choices().map(|choice| {
                let file = name.to_owned();
                match choice {
                    InodeChoice::Length => Choice::Length { file },
                    InodeChoice::Stale => Choice::Stale { file },
                    InodeChoice::Sector(sector, versions) => {
                        Choice::Sector { file, sector, versions }
                    }
                }
            }));
        }
        choices
    }

    /// How many choices there are.
    pub(super) fn dirty(&self) -> usize {
        let inodes = self.inodes.iter().filter(|(id, _)| self.names.may_show(**id));
        self.names.choices().count()
            + inodes.map(|(_, inode)| inode.choices().count()).sum::<usize>()
    }
}
