//! The system calls about files, at which a process can be killed.

use std::collections::BTreeMap;

use nix::libc;

use super::witness::Phase;

/// A system call: its number and its name.
type Call = (i64, &'static str);

/// The mark: the call by which a thread tells the tracer that it is about to commit.
pub(super) const MARK: i64 = libc::SYS_getppid;

/// The traced calls, without mappings of files and the mark.
#[rustfmt::skip]
const CALLS: &[Call] = &[
    (libc::SYS_openat, "openat"),
    (libc::SYS_close, "close"),
    (libc::SYS_read, "read"),
    (libc::SYS_write, "write"),
    (libc::SYS_pread64, "pread64"),
    (libc::SYS_pwrite64, "pwrite64"),
    (libc::SYS_preadv, "preadv"),
    (libc::SYS_pwritev, "pwritev"),
    (libc::SYS_fsync, "fsync"),
    (libc::SYS_fdatasync, "fdatasync"),
    (libc::SYS_msync, "msync"),
    (libc::SYS_sync_file_range, "sync_file_range"),
    (libc::SYS_fallocate, "fallocate"),
    (libc::SYS_fadvise64, "fadvise64"),
    (libc::SYS_ftruncate, "ftruncate"),
    (libc::SYS_munmap, "munmap"),
    (libc::SYS_madvise, "madvise"),
    (libc::SYS_flock, "flock"),
    (libc::SYS_statx, "statx"),
    (libc::SYS_newfstatat, "newfstatat"),
    (libc::SYS_fstat, "fstat"),
    (libc::SYS_lseek, "lseek"),
    (libc::SYS_getdents64, "getdents64"),
    (libc::SYS_mkdirat, "mkdirat"),
    (libc::SYS_unlinkat, "unlinkat"),
    (libc::SYS_renameat2, "renameat2"),
];

/// Older calls that newer architectures lack.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const OLD_CALLS: &[Call] = &[
    (libc::SYS_open, "open"),
    (libc::SYS_stat, "stat"),
    (libc::SYS_mkdir, "mkdir"),
    (libc::SYS_unlink, "unlink"),
    (libc::SYS_rename, "rename"),
    (libc::SYS_renameat, "renameat"),
];
#[cfg(not(target_arch = "x86_64"))]
const OLD_CALLS: &[Call] = &[];

const MMAP: Call = (libc::SYS_mmap, "mmap");

/// The numbers to stop at. `mmap` is not among them: it needs more than its number.
pub(super) fn stops() -> Vec<i64> {
    CALLS.iter().chain(OLD_CALLS).map(|(number, _)| *number).chain([MARK]).collect()
}

/// The name of a traced system call.
pub(super) fn name(number: i64) -> &'static str {
    let mut all = CALLS.iter().chain(OLD_CALLS).chain([&MMAP]);
    all.find(|(n, _)| *n == number).map_or("?", |(_, name)| name)
}

/// A system call about to be made, or just done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Edge {
    Entry,
    Exit,
}

/// A fault that a system call can meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// The call fails and has no effect.
    Errno(i32),
    /// The call reads or writes less than requested.
    Short,
}

impl Fault {
    pub(super) fn name(self) -> String {
        match self {
            Fault::Errno(errno) => format!("{:?}", nix::errno::Errno::from_raw(errno)),
            Fault::Short => "short".to_owned(),
        }
    }
}

/// The faults that a system call can really meet.
pub(super) fn faults(number: i64) -> &'static [Fault] {
    use Fault::{Errno, Short};
    use libc::{EINTR, EIO, ENOMEM, ENOSPC};
    const FAILS: &[Fault] = &[Errno(EIO)];
    const READS: &[Fault] = &[Errno(EINTR), Errno(EINTR), Short, Short, Errno(EIO)];
    const WRITES: &[Fault] =
        &[Errno(EINTR), Short, Short, Errno(ENOSPC), Errno(ENOSPC), Errno(EIO)];
    const GROWS: &[Fault] = &[Errno(EINTR), Errno(ENOSPC), Errno(EIO)];
    const FLUSHES: &[Fault] = &[Errno(EINTR), Errno(EIO), Errno(ENOSPC)];
    const NAMES: &[Fault] = &[Errno(ENOSPC), Errno(EIO)];
    const MAPS: &[Fault] = &[Errno(ENOMEM)];
    match name(number) {
        "pread64" | "read" => READS,
        "pwrite64" | "write" => WRITES,
        "fallocate" | "openat" | "open" => GROWS,
        "ftruncate" | "flock" => &[Errno(EINTR), Errno(EIO)],
        "fsync" | "fdatasync" => FLUSHES,
        "msync" => FAILS,
        "mkdir" | "mkdirat" | "rename" | "renameat" | "renameat2" => NAMES,
        "unlink" | "unlinkat" | "statx" | "fadvise64" | "getdents64" => FAILS,
        "mmap" => MAPS,
        "madvise" => &[Errno(EINTR), Errno(ENOMEM)],
        _ => &[],
    }
}

/// Counts the calls of all lives, so that rare ones are chosen too.
#[derive(Debug, Default)]
pub(super) struct Guide {
    seen: BTreeMap<(Phase, i64), Seen>,
    /// Lives that were traced through a phase, and calls met in it.
    lives: BTreeMap<Phase, (u64, u64)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    calls: u64,
    chosen: u64,
}

impl Guide {
    /// A call was met.
    pub(super) fn note(&mut self, phase: Phase, number: i64) {
        self.seen.entry((phase, number)).or_default().calls += 1;
        self.lives.entry(phase).or_default().1 += 1;
    }

    /// A traced life came into a phase.
    pub(super) fn note_life(&mut self, phase: Phase) {
        self.lives.entry(phase).or_default().0 += 1;
    }

    /// About how many calls a life makes in a phase.
    pub(super) fn calls_in(&self, phase: Phase) -> u64 {
        let (lives, calls) = self.lives.get(&phase).copied().unwrap_or_default();
        calls.checked_div(lives).map_or(50, |calls| calls.max(5))
    }

    /// About how often a life makes the call in a phase.
    pub(super) fn calls_of(&self, phase: Phase, number: i64) -> u64 {
        let lives = self.lives.get(&phase).map_or(1, |(lives, _)| *lives).max(1);
        self.seen.get(&(phase, number)).map_or(1, |seen| seen.calls.div_ceil(lives))
    }

    /// The call chosen least often among those of a phase that `suits` accepts.
    pub(super) fn choose(&mut self, phase: Phase, suits: impl Fn(i64) -> bool) -> Option<i64> {
        let candidates = self.seen.iter_mut().filter(|((p, n), _)| *p == phase && suits(*n));
        let ((_, number), seen) = candidates.min_by_key(|(_, seen)| seen.chosen)?;
        seen.chosen += 1;
        Some(*number)
    }
}
