//! Draws the plan of a life and its end, from the seed and from the lives so far.

use std::time::Duration;

use super::check::Depth;
use super::child::Task;
use super::sites::{Edge, Fault, Guide, faults};
use super::witness::Phase;
use super::workload::{Rng, THREADS};

/// The share of long lives, and their length.
const LONG_ONE_IN: u64 = 50;
const LONG_LIFE: Duration = Duration::from_secs(3);

/// One life and its end.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) task: Task,
    /// The phase to kill it in. A life that gets past it is killed while it writes.
    pub(super) target: Phase,
    pub(super) how: How,
    /// The longest that it may write.
    pub(super) linger: Duration,
    /// It is killed only after each of its threads has gone on past its time (KILL-6).
    pub(super) is_long: bool,
    pub(super) fault: Option<FaultPlan>,
}

/// The moment of a kill.
#[derive(Clone, Copy, Debug)]
pub(super) enum How {
    /// This long after the beginning of the phase.
    Moment(Duration),
    /// At a system call, or `steps` instructions after it.
    Call { number: Option<i64>, nth: u64, edge: Edge, steps: u64 },
    /// `steps` instructions after a thread has marked that it is about to commit.
    Mark { steps: u64 },
}

/// A fault at the `nth` call of the system call `number` in `phase`.
#[derive(Clone, Copy, Debug)]
pub(super) struct FaultPlan {
    pub(super) phase: Phase,
    pub(super) number: i64,
    pub(super) nth: u64,
    pub(super) fault: Fault,
}

impl Plan {
    /// Whether the tracer is needed.
    pub(super) fn is_traced(&self) -> bool {
        self.task.stops_from.is_some()
    }

    pub(super) fn describe(&self) -> String {
        let how = match self.how {
            How::Moment(after) => format!("after {after:?}"),
            How::Call { number, nth, edge, steps } => {
                let call = number.map_or("call", super::sites::name);
                let steps = if steps > 0 { format!(" and {steps} steps") } else { String::new() };
                format!("at the {edge:?} of {call} number {nth}{steps}")
            }
            How::Mark { steps } => format!("{steps} steps after beginning a commit"),
        };
        let fault = self.fault.map_or(String::new(), |plan| {
            let (name, call) = (plan.fault.name(), super::sites::name(plan.number));
            format!("; {name} at {call} number {} in {}", plan.nth, plan.phase.name())
        });
        format!("to be killed in {} {how}{fault}", self.target.name())
    }
}

/// Draws plans.
#[derive(Debug)]
pub(super) struct Planner {
    pub(super) rng: Rng,
    /// Whether processes can be traced here.
    pub(super) can_trace: bool,
    /// Whether faults can be injected here.
    pub(super) can_inject: bool,
    /// The recent duration of an opening.
    pub(super) opening: Duration,
}

impl Planner {
    /// A plan for a life that does `task`. Chance decides the rest of the task.
    pub(super) fn draw(&mut self, mut task: Task, guide: &mut Guide) -> Plan {
        let opens = task.opens;
        if self.rng.one_in(LONG_ONE_IN) {
            return self.long(task);
        }
        let target = match self.rng.below(100) {
            0..50 if opens == Phase::Create => Phase::Create,
            0..15 => opens,
            15..18 => Phase::Check,
            18..28 => Phase::Close,
            _ => Phase::Write,
        };
        task.seed = self.rng.next();
        task.again = target >= Phase::Write && self.rng.one_in(24);
        task.depth = if self.rng.one_in(4) { Depth::Everything } else { Depth::Contents };
        let mut linger = Duration::from_micros(200 + self.rng.magnitude(2500));
        if target == Phase::Close {
            task.close_after = Some(Duration::from_micros(self.rng.magnitude(1500)));
            linger = Duration::from_secs(20);
        }
        let how = self.how(target, &mut task, guide);
        if target <= Phase::Write && !matches!(how, How::Moment(_)) {
            // The life may never come to that call. A long commit is one of many.
            let is_rare = matches!(how, How::Mark { .. });
            linger = Duration::from_millis(if is_rare { 40 } else { 10 });
        }
        let fault = self.fault(target, opens, guide);
        let first = fault.map_or(target, |fault: FaultPlan| fault.phase.min(target));
        let is_traced = fault.is_some() || !matches!(how, How::Moment(_));
        task.stops_from =
            is_traced.then_some(if first < Phase::Write { opens } else { Phase::Write });
        Plan { task, target, how, linger, fault, is_long: false }
    }

    /// A life that has time for timers of the store, and in which each thread must go on.
    fn long(&mut self, mut task: Task) -> Plan {
        task.seed = self.rng.next();
        task.is_long = true;
        task.depth = Depth::Everything;
        let how = How::Moment(LONG_LIFE);
        Plan { task, target: Phase::Write, how, linger: LONG_LIFE, fault: None, is_long: true }
    }

    fn how(&mut self, target: Phase, task: &mut Task, guide: &mut Guide) -> How {
        let rng = &mut self.rng;
        let ways = if self.can_trace { 100 } else { 45 };
        match rng.below(ways) {
            0..45 => {
                let most = match target {
                    Phase::Create | Phase::Open => self.opening.as_micros() as u64,
                    Phase::Check => 300,
                    Phase::Close => 3000,
                    _ => return How::Moment(Duration::from_micros(rng.magnitude(1500))),
                };
                How::Moment(Duration::from_micros(rng.below(most.max(1))))
            }
            45..50 if target == Phase::Write => {
                let thread = rng.below(THREADS as u64) as usize;
                task.marked = Some((thread, rng.magnitude(if thread == 0 { 2 } else { 50 })));
                How::Mark { steps: rng.magnitude(2000) }
            }
            way => {
                let steps = if way >= 94 { rng.magnitude(400) } else { 0 };
                let edge = if rng.one_in(2) { Edge::Entry } else { Edge::Exit };
                let any = if target == Phase::Write { 12 } else { guide.calls_in(target) };
                let number = if rng.one_in(2) { guide.choose(target, |_| true) } else { None };
                let most = number.map_or(any, |number| guide.calls_of(target, number));
                How::Call { number, nth: 1 + rng.below(most.clamp(1, 200)), edge, steps }
            }
        }
    }

    /// A fault in the target phase or in an earlier one.
    fn fault(&mut self, target: Phase, opens: Phase, guide: &mut Guide) -> Option<FaultPlan> {
        if !self.can_inject || !self.rng.one_in(5) {
            return None;
        }
        let phases = [opens, opens, Phase::Check, Phase::Write, Phase::Write, target];
        let phase = phases[self.rng.below(phases.len() as u64) as usize].min(target);
        let number = guide.choose(phase, |number| !faults(number).is_empty())?;
        let nth = 1 + self.rng.below(guide.calls_of(phase, number).clamp(1, 30));
        let all = faults(number);
        let fault = all[self.rng.below(all.len() as u64) as usize];
        Some(FaultPlan { phase, number, nth, fault })
    }
}
