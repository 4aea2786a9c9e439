//! Ends a life: watches a child, injects a fault into it, and kills it as planned.
//!
//! ```text
//!   child: filter ------ stops at each system call about files ------> server: its tracer
//!              goes on <--- let through | failed | shortened | killed | stepped <---'
//! ```
//!
//! The filter is seccomp's, so that all other system calls run at full speed. Only the thread that
//! makes the call stops: the others go on, as they would before a kill by chance.

use std::io;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::os::{self, Ticker};
use super::plan::{How, Plan};
use super::sites::{self, Edge, Fault, Guide};
use super::witness::{Gravity, Phase, Witness};

/// A child that does nothing for this long hangs, unless it waits for the device.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most idle time that counts between two looks at a child.
const LONGEST_LOOK: Duration = Duration::from_millis(50);
/// No device takes this long.
const LAST_PATIENCE: Duration = Duration::from_secs(90);
/// A child that uses this much processor time without progress spins.
const SPIN: u64 = 5 * TICKS;
/// Units of processor time per second, as the system counts them.
const TICKS: u64 = 100;
/// The interval between looks at a child without a tracer.
const NAP: Duration = Duration::from_micros(250);
/// The longest interval between looks at a traced child.
const TICK: Duration = Duration::from_millis(2);

/// The status of a child that cannot be traced, or cannot be filtered.
pub(super) const NOT_TRACED: i32 = 77;
pub(super) const NOT_FILTERED: i32 = 78;

/// The end of a life.
#[derive(Clone, Debug)]
pub(super) enum Ending {
    /// It was killed at this place.
    Killed(String),
    /// It exited with this status: its work was done, it gave a verdict, or it could not be traced.
    Ended(i32),
    /// It died of a signal of its own.
    Died(Signal),
    /// It did nothing for too long and was killed. The threads then, by name and state.
    Hung(Vec<(String, char)>),
}

/// An injected fault.
#[derive(Clone, Debug)]
pub(super) struct Injected {
    /// As in "pwrite64 ENOSPC".
    pub(super) what: String,
}

/// Lets the parent trace this process, which has just been forked.
pub(super) fn submit() -> Result<(), i32> {
    ptrace::traceme().map_err(|_| NOT_TRACED)?;
    nix::sys::signal::raise(Signal::SIGSTOP).map_err(|_| NOT_TRACED)
}

/// From now on stops all threads of this traced process at system calls about files. The child calls
/// it as late as the plan allows, because each stop takes time.
pub(super) fn stop_at_calls() -> Result<(), i32> {
    os::stop_at(&sites::stops()).map_err(|_| NOT_FILTERED)
}

/// Ends a life without a tracer.
pub(super) fn watch(child: Pid, plan: &Plan, witness: &Witness) -> io::Result<Ending> {
    let mut patience = Patience::new(child, witness);
    let How::Moment(after) = plan.how else { unreachable!("other ways need a tracer") };
    let mut deadline: Option<Instant> = None;
    loop {
        match waitpid(child, Some(WaitPidFlag::WNOHANG))? {
            WaitStatus::StillAlive => {}
            status => return Ok(ending_of(status)),
        }
        let phase = witness.phase();
        if deadline.is_none() && phase == plan.target {
            deadline = Some(Instant::now() + after);
        } else if deadline.is_none() && phase == Phase::Write && plan.target < Phase::Write {
            deadline = Some(Instant::now() + plan.linger);
        }
        if let Some(threads) = patience.is_over(witness) {
            end(child)?;
            return Ok(Ending::Hung(threads));
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        match left {
            Some(left) if left <= NAP => {
                std::thread::sleep(left);
                if plan.is_long
                    && let Some(threads) = each_moves(child, witness)
                {
                    end(child)?;
                    return Ok(Ending::Hung(threads));
                }
                end(child)?;
                return Ok(Ending::Killed(random_moment(witness)));
            }
            _ => std::thread::sleep(NAP),
        }
    }
}

/// Ends a traced life. The child has stopped and waits for the tracer.
pub(super) fn trace(
    child: Pid,
    plan: &Plan,
    witness: &Witness,
    guide: &mut Guide,
) -> io::Result<(Ending, Option<Injected>)> {
    let _ticker = Ticker::start(TICK)?;
    match loop {
        if let Some(status) = wait_for(Some(child))? {
            break status;
        }
    } {
        WaitStatus::Stopped(..) => {}
        status => return Ok((ending_of(status), None)),
    }
    ptrace::setoptions(
        child,
        Options::PTRACE_O_EXITKILL
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACESECCOMP
            | Options::PTRACE_O_TRACESYSGOOD,
    )?;
    let mut tracer = Tracer {
        child,
        plan,
        witness,
        guide,
        at: None,
        deadline: None,
        calls: 0,
        fault_calls: 0,
        injected: None,
        entered: Phase::Start,
    };
    go_on(child, None);
    let ending = tracer.run()?;
    Ok((ending, tracer.injected))
}

fn random_moment(witness: &Witness) -> String {
    format!("random moment ({})", witness.phase().name())
}

/// Kills the child and reaps it with all its threads.
fn end(child: Pid) -> io::Result<()> {
    kill(child, Signal::SIGKILL)?;
    loop {
        match wait_for(None)? {
            Some(WaitStatus::Signaled(pid, ..) | WaitStatus::Exited(pid, _)) if pid == child => {
                return Ok(());
            }
            _ => {}
        }
    }
}

/// Waits for a child or any of its threads. None if interrupted.
fn wait_for(child: Option<Pid>) -> io::Result<Option<WaitStatus>> {
    match waitpid(child, Some(WaitPidFlag::__WALL)) {
        Ok(status) => Ok(Some(status)),
        Err(Errno::EINTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn ending_of(status: WaitStatus) -> Ending {
    match status {
        WaitStatus::Exited(_, code) => Ending::Ended(code),
        WaitStatus::Signaled(_, signal, _) => Ending::Died(signal),
        other => unreachable!("{other:?} is no end"),
    }
}

/// Lets a thread go on. If it is dead by now, its end is reported next.
fn go_on(thread: Pid, signal: Option<Signal>) {
    let _ = ptrace::cont(thread, signal);
}

/// The threads of a process, each as its name and its state: D waits for the device, R for a
/// processor, S for another thread.
fn threads_of(process: Pid) -> Vec<(String, char)> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{process}/task")) else { return Vec::new() };
    let state = |stat: String| {
        // The name of the thread, in parentheses, may hold anything.
        let (name, fields) = stat.rsplit_once(") ")?;
        Some((name.split_once('(')?.1.to_owned(), fields.chars().next()?))
    };
    let stats = threads.flatten().map(|thread| std::fs::read_to_string(thread.path().join("stat")));
    stats.flatten().filter_map(state).collect()
}

/// Waits until each thread, the reader too, has returned from a call. Returns the threads of a child
/// in which one does not return.
fn each_moves(child: Pid, witness: &Witness) -> Option<Vec<(String, char)>> {
    let before = witness.progress();
    let mut patience = Patience::new(child, witness);
    loop {
        let now = witness.progress();
        let stands = |(now, before): (&Option<u64>, &Option<u64>)| now.is_some() && now == before;
        let standing = now.iter().zip(&before).filter(|pair| stands(*pair)).count();
        if standing == 0 || witness.phase() != Phase::Write || has_ended(child) {
            return None;
        }
        patience.beats = witness.beats(); // progress of the others does not count
        if let Some(threads) = patience.is_over(witness) {
            return Some(threads);
        }
        std::thread::sleep(NAP);
    }
}

/// Whether the process only waits to be reaped.
fn has_ended(process: Pid) -> bool {
    threads_of(process).iter().all(|(_, state)| matches!(state, 'Z' | 'X'))
}

/// The processor time that a process has used, in [`TICKS`].
fn used_by(process: Pid) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    // From the state on: user time is the 12th, and system time the one after it.
    fields.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
}

/// Measures the time since a child last made progress.
struct Patience {
    child: Pid,
    beats: u64,
    /// The child's processor time when it was first seen idle.
    used: Option<u64>,
    /// Time without a beat. The time between two looks counts up to [`LONGEST_LOOK`], so that a
    /// machine that stood still does not make the child look hung.
    idle: Duration,
    looked: Instant,
}

impl Patience {
    fn new(child: Pid, witness: &Witness) -> Patience {
        let (beats, looked) = (witness.beats(), Instant::now());
        Patience { child, beats, used: None, idle: Duration::ZERO, looked }
    }

    /// The threads of a child that hangs: it has made no progress for long, and waits neither for the
    /// device nor for a processor.
    fn is_over(&mut self, witness: &Witness) -> Option<Vec<(String, char)>> {
        let beats = witness.beats();
        if beats != self.beats {
            *self = Patience::new(self.child, witness);
        }
        self.idle += self.looked.elapsed().min(LONGEST_LOOK);
        self.looked = Instant::now();
        if self.idle > LONGEST_LOOK && self.used.is_none() {
            self.used = Some(used_by(self.child));
        }
        if self.idle <= PATIENCE {
            return None;
        }
        let threads = threads_of(self.child);
        let spins = used_by(self.child) > self.used.unwrap_or(u64::MAX).saturating_add(SPIN);
        let waits = |state: &char| *state == 'D' || *state == 'R' && !spins;
        let waits = threads.iter().any(|(_, state)| waits(state));
        (self.idle > LAST_PATIENCE || !waits).then_some(threads)
    }
}

struct Tracer<'a> {
    child: Pid,
    plan: &'a Plan,
    witness: &'a Witness,
    guide: &'a mut Guide,
    /// The thread that has come to the planned place.
    at: Option<At>,
    /// The latest time of the kill.
    deadline: Option<Instant>,
    /// Calls so far that match the plan.
    calls: u64,
    fault_calls: u64,
    injected: Option<Injected>,
    /// The last phase that was seen.
    entered: Phase,
}

/// A thread that has come to the planned place.
struct At {
    thread: Pid,
    /// The call that brought it there.
    from: &'static str,
    doing: Doing,
}

enum Doing {
    /// It makes the system call and stops at its exit.
    Call { steps: u64 },
    /// It has this many instructions left to step.
    Steps { left: u64 },
}

impl Tracer<'_> {
    fn run(&mut self) -> io::Result<Ending> {
        let mut patience = Patience::new(self.child, self.witness);
        loop {
            let status = wait_for(None)?;
            self.look_at_the_clock();
            let is_late = self.deadline.is_some_and(|deadline| Instant::now() >= deadline);
            let reached = match status {
                Some(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..)) => {
                    if pid == self.child {
                        return Ok(ending_of(status.expect("matched")));
                    }
                    None
                }
                Some(status) => self.on_stop(status)?,
                None => None,
            };
            let place = reached.or(is_late.then(|| self.present_place()));
            if let Some(place) = place {
                end(self.child)?;
                return Ok(Ending::Killed(place));
            }
            if let Some(threads) = patience.is_over(self.witness) {
                end(self.child)?;
                return Ok(Ending::Hung(threads));
            }
        }
    }

    /// The place of a kill at the deadline.
    fn present_place(&self) -> String {
        match self.at {
            Some(At { from, doing: Doing::Steps { .. }, .. }) => format!("stepped after {from}"),
            _ => random_moment(self.witness),
        }
    }

    fn look_at_the_clock(&mut self) {
        let phase = self.witness.phase();
        if phase == self.entered {
            return;
        }
        for passed in Phase::ALL.into_iter().filter(|p| *p > self.entered && *p <= phase) {
            if self.plan.task.stops_from.is_some_and(|from| passed >= from) {
                self.guide.note_life(passed);
            }
        }
        self.entered = phase;
        if phase == self.plan.target
            && let How::Moment(after) = self.plan.how
        {
            self.deadline = Some(Instant::now() + after);
        } else if phase >= Phase::Write && self.deadline.is_none() {
            self.deadline = Some(Instant::now() + self.plan.linger);
        }
    }

    /// Handles the stop of a thread. Returns its place if the life shall end there.
    fn on_stop(&mut self, status: WaitStatus) -> io::Result<Option<String>> {
        match status {
            WaitStatus::PtraceEvent(thread, _, event)
                if event == nix::libc::PTRACE_EVENT_SECCOMP =>
            {
                return self.on_call(thread);
            }
            WaitStatus::PtraceSyscall(thread) => return Ok(self.on_exit(thread)),
            WaitStatus::Stopped(thread, Signal::SIGTRAP) => return Ok(self.on_step(thread)),
            WaitStatus::PtraceEvent(thread, ..) | WaitStatus::Stopped(thread, Signal::SIGSTOP) => {
                go_on(thread, None)
            }
            WaitStatus::Stopped(thread, signal) => go_on(thread, Some(signal)),
            _ => {}
        }
        Ok(None)
    }

    fn on_call(&mut self, thread: Pid) -> io::Result<Option<String>> {
        let Ok(number) = os::stopped_at(thread) else {
            self.resume(thread); // it has died meanwhile
            return Ok(None);
        };
        let phase = self.witness.phase();
        if number == sites::MARK {
            match self.plan.how {
                How::Mark { steps } if self.at.is_none() => {
                    self.step_from(thread, "commit", steps);
                }
                _ => self.resume(thread),
            }
            return Ok(None);
        }
        self.guide.note(phase, number);
        if let Some(plan) = self.plan.fault
            && (plan.phase, plan.number) == (phase, number)
        {
            self.fault_calls += 1;
            if self.fault_calls == plan.nth && self.injected.is_none() {
                self.inject(thread, number, plan.fault);
            }
        }
        let How::Call { number: wanted, nth, edge, steps } = self.plan.how else {
            self.resume(thread);
            return Ok(None);
        };
        if phase != self.plan.target || wanted.is_some_and(|wanted| wanted != number) {
            self.resume(thread);
            return Ok(None);
        }
        self.calls += 1;
        if self.calls != nth {
            self.resume(thread);
            return Ok(None);
        }
        let from = sites::name(number);
        match (edge, steps) {
            (Edge::Entry, 0) => return Ok(Some(format!("{from} entry"))),
            (Edge::Entry, steps) => self.step_from(thread, from, steps),
            (Edge::Exit, steps) => {
                self.at = Some(At { thread, from, doing: Doing::Call { steps } });
                let _ = ptrace::syscall(thread, None);
            }
        }
        Ok(None)
    }

    /// Lets a thread go on, by a step if it is being stepped.
    fn resume(&self, thread: Pid) {
        match self.at {
            Some(At { thread: ours, doing: Doing::Steps { .. }, .. }) if ours == thread => {
                let _ = ptrace::step(thread, None);
            }
            _ => go_on(thread, None),
        }
    }

    fn on_exit(&mut self, thread: Pid) -> Option<String> {
        match self.at {
            Some(At { thread: ours, from, doing: Doing::Call { steps } }) if ours == thread => {
                if steps == 0 {
                    return Some(format!("{from} exit"));
                }
                self.step_from(thread, from, steps);
            }
            _ => go_on(thread, None),
        }
        None
    }

    fn on_step(&mut self, thread: Pid) -> Option<String> {
        match &mut self.at {
            Some(At { thread: ours, from, doing: Doing::Steps { left } }) if *ours == thread => {
                *left -= 1;
                if *left == 0 {
                    return Some(format!("stepped after {from}"));
                }
                let _ = ptrace::step(thread, None);
            }
            _ => go_on(thread, None),
        }
        None
    }

    fn step_from(&mut self, thread: Pid, from: &'static str, steps: u64) {
        self.at = Some(At { thread, from, doing: Doing::Steps { left: steps } });
        // A thread that blocks in a lock may never finish its steps.
        self.deadline = Some(Instant::now() + Duration::from_millis(50));
        let _ = ptrace::step(thread, None);
    }

    /// Makes the call that `thread` is about to enter fail or do less.
    fn inject(&mut self, thread: Pid, number: i64, fault: Fault) {
        let call = sites::name(number);
        if let Some(did) = registers::inject(thread, fault) {
            self.witness.note_injected(gravity_of(call, did));
            self.injected = Some(Injected { what: format!("{call} {}", did.name()) });
        }
    }
}

/// The gravity of a fault in a call.
fn gravity_of(call: &str, fault: Fault) -> Gravity {
    let flushes = matches!(call, "fsync" | "fdatasync" | "msync" | "sync_file_range");
    let writes = matches!(call, "write" | "pwrite64" | "pwritev");
    match fault {
        Fault::Short | Fault::Errno(nix::libc::EINTR) => Gravity::Passing,
        Fault::Errno(nix::libc::ENOSPC) if !flushes => Gravity::Full,
        _ if flushes || writes => Gravity::Grave,
        _ => Gravity::Error,
    }
}

/// Whether faults can be injected on this machine.
pub(super) const CAN_INJECT: bool = cfg!(target_arch = "x86_64");

#[cfg(target_arch = "x86_64")]
mod registers {
    use super::{Fault, Pid, ptrace};

    /// Changes the call that `thread` is about to enter. Returns the fault that it meets.
    pub(super) fn inject(thread: Pid, fault: Fault) -> Option<Fault> {
        let mut registers = ptrace::getregs(thread).ok()?;
        let fault = match fault {
            // A call that asks for fewer than two bytes cannot be short.
            Fault::Short if registers.rdx < 2 => Fault::Errno(nix::libc::EINTR),
            fault => fault,
        };
        match fault {
            Fault::Short => {
                // From one byte to all except one, by a hash of the arguments.
                let mixed = (registers.rsi ^ registers.r10).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                registers.rdx = 1 + (mixed >> 32) % (registers.rdx - 1);
            }
            Fault::Errno(errno) => {
                // The kernel makes no call of this number and leaves the result alone.
                registers.orig_rax = u64::MAX;
                registers.rax = i64::from(-errno) as u64;
            }
        }
        ptrace::setregs(thread, registers).ok()?;
        Some(fault)
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod registers {
    use super::{Fault, Pid};

    /// Injects nothing: the registers of this architecture are not known here.
    pub(super) fn inject(_thread: Pid, _fault: Fault) -> Option<Fault> {
        None
    }
}
