//! The flushes of this process, seen where the C library offers them.
//!
//! The functions below have the names of the C library's, and this program's own come first. So the
//! flushes of Rust's standard library and of the C and C++ of LMDB, RocksDB and SQLite all pass here,
//! on the way to the kernel. Each that succeeds leaves the moment when it began:
//!
//! ```text
//!   commits   a  a  a  a  a        acknowledged before the flush began: on the device
//!   flush            |------|      began, ended
//!                    ^
//!                    until()       from the moment when it has ended
//! ```
//!
//! - FLUSH-1 Any flush of any file counts for everything that was acknowledged before it began. It may
//!   have flushed something else, as a table instead of the log: the figure favours the peer.
//! - FLUSH-2 A call that only starts the writing, as `sync_file_range` without waiting or `msync` with
//!   `MS_ASYNC`, is no flush.
//!
//! One store is open at a time, and forgets the flushes of those before it. What the kernel writes
//! back by itself is not seen: no engine may count on it.

// To stand in for functions of the C library is unsafe, as are the calls of the kernel.
#![allow(unsafe_code)]

use std::time::Instant;

/// Whether flushes are seen on this platform.
pub(crate) const ARE_SEEN: bool =
    cfg!(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")));

/// Forgets the flushes so far: a store is about to be opened.
pub(crate) fn forget() {
    ended::forget();
}

/// The moment when the last flush that has ended began.
pub(crate) fn until() -> Option<Instant> {
    ended::until()
}

/// The flushes that have ended. No lock and no memory is taken, since a flush may happen anywhere.
mod ended {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::{Duration, Instant};

    /// Moments are counted from here. Set before the first store is opened.
    static ZERO: OnceLock<Instant> = OnceLock::new();

    /// When the latest flush of those that have ended began, in nanoseconds; 0 if none has.
    static LATEST_NS: AtomicU64 = AtomicU64::new(0);

    pub(super) fn forget() {
        ZERO.get_or_init(Instant::now);
        LATEST_NS.store(0, Ordering::Release);
    }

    pub(super) fn until() -> Option<Instant> {
        let latest_ns = LATEST_NS.load(Ordering::Acquire);
        let zero = ZERO.get().filter(|_| latest_ns > 0)?;
        Some(*zero + Duration::from_nanos(latest_ns))
    }

    /// Does a flush, and notes it if it succeeded.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "none is seen"))]
    pub(super) fn note(flush: impl FnOnce() -> i32) -> i32 {
        let begun_ns = ZERO.get().map(|zero| zero.elapsed().as_nanos() as u64);
        let result = flush();
        if result == 0 {
            LATEST_NS.fetch_max(begun_ns.unwrap_or(0), Ordering::AcqRel);
        }
        result
    }
}

/// The functions of the C library.
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod interposed {
    use std::ffi::{c_int, c_uint, c_void};

    use super::ended::note;

    /// Asks the kernel itself, which sets `errno` as the C library would.
    macro_rules! kernel {
        ($call:ident $(, $argument:expr)*) => {
            // SAFETY: the arguments are those of the caller, in the order of the kernel.
            unsafe { libc::syscall(libc::$call $(, $argument)*) as c_int }
        };
    }

    // SAFETY of all names: each function has the signature and does the work of the one it stands for.

    #[unsafe(no_mangle)]
    extern "C" fn fsync(file: c_int) -> c_int {
        note(|| kernel!(SYS_fsync, file))
    }

    #[unsafe(no_mangle)]
    extern "C" fn fdatasync(file: c_int) -> c_int {
        note(|| kernel!(SYS_fdatasync, file))
    }

    #[unsafe(no_mangle)]
    extern "C" fn syncfs(file: c_int) -> c_int {
        note(|| kernel!(SYS_syncfs, file))
    }

    #[unsafe(no_mangle)]
    extern "C" fn sync() {
        note(|| kernel!(SYS_sync));
    }

    #[unsafe(no_mangle)]
    extern "C" fn msync(start: *mut c_void, bytes: usize, flags: c_int) -> c_int {
        let flush = || kernel!(SYS_msync, start, bytes, flags);
        if flags & libc::MS_SYNC != 0 { note(flush) } else { flush() }
    }

    #[unsafe(no_mangle)]
    extern "C" fn sync_file_range(file: c_int, from: i64, bytes: i64, flags: c_uint) -> c_int {
        let flush = || kernel!(SYS_sync_file_range, file, from, bytes, flags);
        if flags & libc::SYNC_FILE_RANGE_WAIT_AFTER != 0 { note(flush) } else { flush() }
    }
}

#[cfg(all(test, target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod tests {
    use std::fs::File;
    use std::io::Write;

    use super::*;

    /// In one test, since there is one place for all flushes of a process.
    #[test]
    fn flushes_of_the_standard_library_are_seen() {
        let mut file = tempfile::tempfile().unwrap();
        forget();
        assert_eq!(until(), None);
        let flushes: [fn(&File) -> std::io::Result<()>; 2] = [File::sync_data, File::sync_all];
        for flush in flushes {
            let before = Instant::now();
            assert!(until() < Some(before));
            file.write_all(b"row").unwrap();
            flush(&file).unwrap();
            assert!(until().is_some_and(|begun| begun >= before && begun <= Instant::now()));
        }

        let seen = until();
        // SAFETY: no memory is passed, and the file descriptor is none.
        assert_eq!(unsafe { libc::fdatasync(-1) }, -1);
        assert_eq!(until(), seen, "a flush that fails is none");
        forget();
        assert_eq!(until(), None);
    }
}
