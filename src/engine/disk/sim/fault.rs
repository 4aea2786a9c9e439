//! Failures that a test injects into a simulated disk.

use std::io;

/// A kind of operation on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Op {
    /// [`Disk::lock`](crate::disk::Disk::lock)
    Lock,
    /// [`Disk::list`](crate::disk::Disk::list)
    List,
    /// [`Disk::open`](crate::disk::Disk::open)
    Open,
    /// [`Disk::create`](crate::disk::Disk::create)
    Create,
    /// [`Disk::rename`](crate::disk::Disk::rename)
    Rename,
    /// [`Disk::remove`](crate::disk::Disk::remove)
    Remove,
    /// [`Disk::sync_dir`](crate::disk::Disk::sync_dir)
    SyncDir,
    /// [`DiskFile::bytes`](crate::disk::DiskFile::bytes)
    Length,
    /// [`DiskFile::allocate`](crate::disk::DiskFile::allocate)
    Allocate,
    /// [`DiskFile::read_at`](crate::disk::DiskFile::read_at)
    Read,
    /// [`DiskFile::write_at`](crate::disk::DiskFile::write_at)
    Write,
    /// [`DiskFile::sync`](crate::disk::DiskFile::sync)
    Sync,
    /// [`DiskFile::map`](crate::disk::DiskFile::map)
    Map,
    /// [`Mapping::write`](crate::disk::Mapping::write), which cannot fail: a fault for it never happens.
    MapWrite,
    /// [`Mapping::sync`](crate::disk::Mapping::sync)
    MapSync,
    /// [`Mapping::prefault`](crate::disk::Mapping::prefault)
    Prefault,
    /// [`DiskFile::deallocate`](crate::disk::DiskFile::deallocate)
    Deallocate,
}

impl Op {
    /// Whether a crash before this operation can differ from a crash before the next one. Only
    /// such operations are counted as crash points.
    pub fn is_counted(self) -> bool {
        match self {
            Op::Lock | Op::List | Op::Open | Op::Length | Op::Read | Op::Map | Op::Prefault => {
                false
            }
            Op::Create
            | Op::Rename
            | Op::Remove
            | Op::SyncDir
            | Op::Allocate
            | Op::Deallocate
            | Op::Write
            | Op::Sync
            | Op::MapWrite
            | Op::MapSync => true,
        }
    }

    fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultError {
    /// EIO: the device failed.
    Io,
    /// ENOSPC: the device is full.
    NoSpace,
}

/// How often an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// Once.
    Once,
    /// Each time from then on.
    Forever,
}

/// A failure to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The kind of operation that fails.
    pub op: Op,
    /// How many more such operations succeed first.
    pub after: u64,
    /// How it fails.
    pub error: FaultError,
    /// Whether it goes on failing.
    pub persistence: Persistence,
}

/// The failures that are still to come.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    armed: Vec<Armed>,
    /// How many have happened.
    pub(super) happened: u64,
}

#[derive(Clone, Debug)]
struct Armed {
    /// One bit per [`Op`] that it counts.
    ops: u32,
    after: u64,
    error: FaultError,
    persistence: Persistence,
}

impl Faults {
    /// A fault that counts all of `ops` as one kind.
    pub(super) fn arm(
        &mut self,
        ops: &[Op],
        after: u64,
        error: FaultError,
        persistence: Persistence,
    ) {
        let ops = ops.iter().fold(0, |bits, op| bits | op.bit());
        self.armed.push(Armed { ops, after, error, persistence });
    }

    /// Counts one operation, and returns its failure if a fault is due.
    pub(super) fn check(&mut self, op: Op) -> Option<io::Error> {
        let mut failure = None;
        self.armed.retain_mut(|fault| {
            if fault.ops & op.bit() == 0 {
                return true;
            }
            if fault.after > 0 {
                fault.after -= 1;
                return true;
            }
            failure = Some(fault.error);
            fault.persistence == Persistence::Forever
        });
        let failure = failure?;
        self.happened += 1;
        Some(match failure {
            FaultError::Io => io::Error::other("simulated input/output error"),
            FaultError::NoSpace => io::ErrorKind::StorageFull.into(),
        })
    }
}
