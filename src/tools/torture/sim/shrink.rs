//! Makes a failing workload small: fewer steps, fewer changes, shorter values.
//!
//! Greedy delta debugging (Zeller and Hildebrandt 2002): a smaller workload replaces the current one
//! if it breaks the same clause.

use super::case::Case;
use super::explore::Found;
use super::pace::Pace;
use super::step::{Change, Step};

/// Runs a workload and returns its failure, if it has one.
pub(crate) type Test<'a> = dyn FnMut(&Case) -> Option<Found> + 'a;

/// The smallest workload found until `pace` is over, no larger than `case`, whose failure breaks the same
/// clause as `found`.
pub(crate) fn shrink(
    case: &Case,
    found: &Found,
    test: &mut Test<'_>,
    pace: &Pace,
) -> (Case, Found) {
    let mut smallest = Smallest { case: case.clone(), found: found.clone(), test, pace };
    smallest.cut_after(found.step);
    loop {
        let before = smallest.case.clone();
        smallest.drop_steps();
        smallest.drop_changes();
        smallest.shorten_values();
        if smallest.case == before || pace.is_over() {
            return (smallest.case, smallest.found);
        }
    }
}

struct Smallest<'a, 'b> {
    case: Case,
    found: Found,
    test: &'a mut Test<'b>,
    pace: &'a Pace,
}

impl Smallest<'_, '_> {
    /// Takes `case` if it breaks the same clause. Returns whether it did.
    fn offer(&mut self, case: Case) -> bool {
        if self.pace.is_over() || case == self.case {
            return false;
        }
        match (self.test)(&case) {
            Some(found) if found.violation.clause == self.found.violation.clause => {
                (self.case, self.found) = (case, found);
                true
            }
            _ => false,
        }
    }

    /// Drops the steps after the failure.
    fn cut_after(&mut self, step: usize) {
        let mut case = self.case.clone();
        case.steps.truncate(step);
        self.offer(case);
    }

    fn drop_steps(&mut self) {
        let mut run = self.case.steps.len().div_ceil(2);
        while run > 0 {
            let mut at = 0;
            while at < self.case.steps.len() {
                let mut case = self.case.clone();
                case.steps.drain(at..(at + run).min(case.steps.len()));
                if !self.offer(case) {
                    at += run;
                }
            }
            run /= 2;
        }
    }

    fn drop_changes(&mut self) {
        for step in 0..self.case.steps.len() {
            let mut run = changes_of(&mut self.case.steps[step]).map_or(0, |list| list.len() / 2);
            while run > 0 {
                let mut at = 0;
                loop {
                    let mut case = self.case.clone();
                    let Some(list) = changes_of(&mut case.steps[step]) else { break };
                    if at >= list.len() || list.len() == 1 {
                        break;
                    }
                    list.drain(at..(at + run).min(list.len()));
                    if list.is_empty() || !self.offer(case) {
                        at += run;
                    }
                }
                run /= 2;
            }
        }
    }

    fn shorten_values(&mut self) {
        for step in 0..self.case.steps.len() {
            let count = changes_of(&mut self.case.steps[step]).map_or(0, |list| list.len());
            for at in 0..count {
                for bytes in [1, 100] {
                    let mut case = self.case.clone();
                    let list = changes_of(&mut case.steps[step]).expect("counted");
                    let Change::Put { value, .. } = &mut list[at] else { break };
                    if value.bytes <= bytes {
                        break;
                    }
                    value.bytes = bytes;
                    if self.offer(case) {
                        break;
                    }
                }
            }
        }
    }
}

fn changes_of(step: &mut Step) -> Option<&mut Vec<Change>> {
    match step {
        Step::Commit { changes, .. } => Some(changes),
        Step::Beside { commits, .. } if commits.len() == 1 => commits.first_mut(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::generate;
    use super::super::judge::Violation;
    use super::*;

    /// The made-up failure is a delete after a flush.
    #[test]
    fn shrinking_leaves_only_the_steps_that_fail() {
        let fails = |case: &Case| {
            let flush = case.steps.iter().position(|step| *step == Step::Flush)?;
            let step = case.steps[flush..].iter().position(|step| match step {
                Step::Commit { changes, .. } => {
                    changes.iter().any(|change| matches!(change, Change::Delete { .. }))
                }
                _ => false,
            })?;
            let violation = Violation::safety("made up");
            Some(Found { violation, crashes: Vec::new(), step: flush + step + 1, injected: None })
        };
        let (case, found) = (0..)
            .map(generate::case)
            .find_map(|case| {
                let found = fails(&case)?;
                Some((case, found))
            })
            .expect("some seed has it");
        let pace = Pace::default();
        let (case, _) = shrink(&case, &found, &mut |case| fails(case), &pace);
        assert!(
            matches!(&case.steps[..], [Step::Flush, Step::Commit { changes, .. }]
            if matches!(changes[..], [Change::Delete { .. }])),
            "{:#?}",
            case.steps
        );
    }
}
