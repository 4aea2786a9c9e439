//! The system calls that need `unsafe`: a fork, memory that outlives a process, a filter on system
//! calls, a timer. The rest of the tier is safe code over these.

// A fork, a mapping shared with the child and a seccomp filter have no safe interface.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use nix::libc;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::{ForkResult, Pid, fork};

/// Memory that a process shares with those that it forks, all zero at first. It is never unmapped:
/// its users need it until the end.
pub(super) fn shared_words(count: usize) -> io::Result<&'static [AtomicU64]> {
    let bytes = NonZeroUsize::new(count * size_of::<AtomicU64>()).expect("some words");
    // SAFETY: a fresh anonymous mapping at an address that the kernel chooses touches no memory in
    // use.
    let start = unsafe {
        mmap_anonymous(
            None,
            bytes,
            ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
            MapFlags::MAP_SHARED,
        )
    }?;
    // SAFETY: the mapping is `count` words long, aligned to a page, zero (a valid `AtomicU64`),
    // and never unmapped. Other processes change it through atomics only, as this one does.
    Ok(unsafe { std::slice::from_raw_parts(start.cast::<AtomicU64>().as_ptr(), count) })
}

/// Forks; the new process runs `child` and ends with the status that it returns. The caller must
/// have a single thread: locks held by others would stay locked in the child.
pub(super) fn fork_child(child: impl FnOnce() -> c_int) -> io::Result<Pid> {
    // SAFETY: the server that forks has a single thread, which it checks when it begins, so the child
    // may do whatever this process may. The test below only stores to memory.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => exit_now(child()),
    }
}

/// Ends the process without destructors or handlers.
pub(super) fn exit_now(status: c_int) -> ! {
    // SAFETY: `_exit` never returns and touches no memory.
    unsafe { libc::_exit(status) }
}

/// From now on stops the threads of this process for their tracer at each of the system calls
/// `numbers`, and at mappings of files. It cannot be undone.
pub(super) fn stop_at(numbers: &[i64]) -> io::Result<()> {
    const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    const IS: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
    // Offsets in `seccomp_data`: the number, and the low half of the fifth argument of `mmap`,
    // which is the descriptor.
    const NUMBER: u32 = 0;
    const DESCRIPTOR: u32 = if cfg!(target_endian = "big") { 52 } else { 48 };
    let skip = |count: usize| u8::try_from(count).expect("a short program");
    let op = |code: u32, k: u32, yes: usize, no: usize| libc::sock_filter {
        code: code as u16,
        jt: skip(yes),
        jf: skip(no),
        k,
    };
    let mut program = vec![
        op(LOAD, NUMBER, 0, 0),
        op(IS, libc::SYS_mmap as u32, 0, 2),
        op(LOAD, DESCRIPTOR, 0, 0),
        // Minus one is no file: jump to ALLOW. Any other descriptor: jump to TRACE.
        op(IS, u32::MAX, numbers.len(), numbers.len() + 1),
    ];
    for (at, number) in numbers.iter().enumerate() {
        program.push(op(IS, *number as u32, numbers.len() - at, 0));
    }
    program.push(op(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0));
    program.push(op(RETURN, libc::SECCOMP_RET_TRACE, 0, 0));
    let program = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(), // read by the call, not kept
    };
    nix::sys::prctl::set_no_new_privs()?;
    let filter = &raw const program;
    // SAFETY: `program` is a valid filter of its stated length, and lives through the call, which
    // copies it.
    let done = unsafe {
        let (mode, all) = (libc::SECCOMP_SET_MODE_FILTER, libc::SECCOMP_FILTER_FLAG_TSYNC);
        libc::syscall(libc::SYS_seccomp, mode, all, filter)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The number of the system call at which a filter has stopped `thread`.
pub(super) fn stopped_at(thread: Pid) -> io::Result<i64> {
    let info = nix::sys::ptrace::syscall_info(thread)?;
    if info.op != libc::PTRACE_SYSCALL_INFO_SECCOMP {
        return Err(io::Error::other(format!("stopped for another reason, {}", info.op)));
    }
    // SAFETY: `op` says which member of the union the kernel has filled in.
    Ok(unsafe { info.u.seccomp.nr } as i64)
}

/// Interrupts waiting calls of this process at intervals, so that they can give up.
pub(super) struct Ticker;

impl Ticker {
    /// Ticks every `period` until it is dropped.
    pub(super) fn start(period: Duration) -> io::Result<Ticker> {
        extern "C" fn nothing(_: c_int) {}
        let action = SigAction::new(
            SigHandler::Handler(nothing),
            SaFlags::empty(), // waiting calls are not resumed
            SigSet::empty(),
        );
        // SAFETY: the handler does nothing, which is safe at any moment.
        unsafe { sigaction(Signal::SIGALRM, &action) }?;
        set_timer(period)?;
        Ok(Ticker)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        // One tick too many only ends a wait early.
        let _ = set_timer(Duration::ZERO);
    }
}

fn set_timer(period: Duration) -> io::Result<()> {
    let period = libc::timeval {
        tv_sec: period.as_secs() as libc::time_t,
        tv_usec: libc::suseconds_t::from(period.subsec_micros()),
    };
    let timer = libc::itimerval { it_interval: period, it_value: period };
    let (new, old) = (&raw const timer, std::ptr::null_mut());
    // SAFETY: `timer` is valid through the call, which accepts null for the old value.
    let done = unsafe { libc::setitimer(libc::ITIMER_REAL, new, old) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn the_parent_sees_the_stores_of_its_child() {
        let words = shared_words(1000).unwrap();
        // The child of a test program, which has many threads, must not allocate.
        let child = fork_child(|| {
            words[999].store(7, Ordering::SeqCst);
            3
        })
        .unwrap();
        let status = nix::sys::wait::waitpid(child, None).unwrap();
        assert_eq!(status, nix::sys::wait::WaitStatus::Exited(child, 3));
        assert_eq!(words[999].load(Ordering::SeqCst), 7);
    }
}
