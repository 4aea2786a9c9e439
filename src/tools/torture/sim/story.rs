//! The story of a failure: the workload, the promises, the unsynced state of the disk, the result.

use std::fmt::Write;

use super::case::Case;
use super::explore::{CrashAt, Found};
use super::history::History;
use super::judge::Violation;
use super::step::Kept;
use super::watch::Point;
use crate::engine::disk::Choice;

/// The most things of a kind that a story lists.
const LISTED: usize = 12;

/// The lines of the story.
pub(crate) fn tell(case: &Case, found: &Found, crash: Option<(&Point, &History)>) -> Vec<String> {
    let mut lines = vec!["The workload:".to_owned()];
    let setup = &case.setup;
    lines.push(format!(
        "  (pages of {}, a cache of {}, segments of {}, a checkpoint each {} bytes of log)",
        setup.page_bytes, setup.cache_bytes, setup.segment_bytes, setup.checkpoint_log_bytes
    ));
    for (number, step) in (1..).zip(&case.steps) {
        let here = if number == found.step { "  <- here" } else { "" };
        lines.push(format!("  {number:>3}  {step}{here}"));
    }
    lines.extend(found.injected.as_ref().map(|fault| format!("The injected fault: {fault}")));
    if let Some((point, history)) = crash {
        tell_crash(point, history, &found.crashes, &mut lines);
    }
    tell_end(&found.violation, &mut lines);
    lines
}

fn tell_crash(point: &Point, history: &History, crashes: &[CrashAt], lines: &mut Vec<String>) {
    let mark = &point.mark;
    lines.push("Promised before the crash:".into());
    let durable = history.count_to(mark.durable);
    let acknowledged = history.count_to(mark.acknowledged);
    for (number, commit) in
        (1..).zip(&history.commits()[..mark.submitted.min(history.commits().len())])
    {
        let said = match number {
            n if n <= durable => "durable",
            n if n <= acknowledged => "acknowledged, not durable",
            _ => "submitted",
        };
        lines.push(format!("  T{number} at LSN {}: {said}", commit.lsn));
    }
    lines.push(format!("  D = LSN {}: {durable} commits", mark.durable));
    let [first, rest @ ..] = crashes else { return };
    lines.push(format!("The crash, before {:?} of {}:", point.op, point.path));
    lines.push(format!("  {}", first.kept));
    let choices = point.disk.choices();
    if let Kept::Versions(versions) = &first.kept {
        let is_kept = |at: &usize| versions.get(*at).copied().unwrap_or(0) > 0;
        let (kept, lost): (Vec<usize>, Vec<usize>) = (0..choices.len()).partition(|at| is_kept(at));
        lines.push(format!("  on the disk: {}", list(&choices, &kept)));
        lines.push(format!("  never there: {}", list(&choices, &lost)));
    } else {
        let all: Vec<usize> = (0..choices.len()).collect();
        lines.push(format!("  unsynced then: {}", list(&choices, &all)));
    }
    for crash in rest {
        let CrashAt { point, kept } = crash;
        lines.push(format!("Recovery, and at its crash point {point}: {kept}"));
    }
}

fn list(choices: &[Choice], which: &[usize]) -> String {
    let mut text = String::new();
    for &at in which.iter().take(LISTED) {
        let comma = if text.is_empty() { "" } else { ", " };
        let shown = match &choices[at] {
            Choice::Name { change } => change.clone(),
            Choice::Length { file } => format!("the length of {file}"),
            Choice::Stale { file } => format!("stale bytes in new space of {file}"),
            Choice::Sector { file, sector, .. } => format!("{file} at {}", sector * 512),
        };
        write!(text, "{comma}{shown}").expect("to a string");
    }
    match which.len().saturating_sub(LISTED) {
        0 if text.is_empty() => "nothing".into(),
        0 => text,
        more => format!("{text}, and {more} more"),
    }
}

fn tell_end(violation: &Violation, lines: &mut Vec<String>) {
    lines.push("What came back:".into());
    lines.push(format!("  {}", violation.what));
    lines.push(format!("Broken: {}: {}", violation.clause, violation.clause.demand()));
}
