//! Reports a failure: makes it small, saves it as a file, tells its story; replays a saved one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use super::case::Case;
use super::explore::Found;
use super::fault_jobs;
use super::judge::Judge;
use super::pace::Pace;
use super::panics;
use super::play;
use super::play::{crash_point, explorer};
use super::saved::Saved;
use super::shrink::shrink;
use super::story;
use super::work::{WIDE, look_again};
use crate::tools::present::aside::aside;
use crate::tools::torture::{Config, Failure, FailureKind};

/// The most time to make one failure small.
const SHRINKING: Duration = Duration::from_secs(25);

/// Saves a failure, makes it small and saves it again. The first file is for a smaller workload that hangs.
pub(crate) fn failure(
    failures: &Path,
    seed: u64,
    case: &Case,
    found: &Found,
    pace: &Pace,
) -> Failure {
    let write = |case: &Case, found: &Found| {
        let saved = saved(seed, case, found);
        let file = saved.write(failures);
        (saved, replay_with(file, seed))
    };
    let (_, replay) = write(case, found);
    let what = &found.violation.what;
    aside(format_args!("syncline: a failure, being made small: {what} ({replay})"));
    let pace = pace.anew(SHRINKING);
    let mut test = |case: &Case| look_again(case, seed, found, &pace);
    // If a smaller workload panics here, the failure stays as it was found.
    let small = catch_unwind(AssertUnwindSafe(|| shrink(case, found, &mut test, &pace)));
    let (case, found) = small.unwrap_or_else(|_| (case.clone(), found.clone()));
    let (saved, replay) = write(&case, &found);
    failure_of(&saved, &found, replay)
}

fn saved(seed: u64, case: &Case, found: &Found) -> Saved {
    Saved {
        format: Saved::format(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        seed,
        mutant: None,
        kind: found.violation.kind,
        clause: found.violation.clause,
        what: found.violation.what.clone(),
        case: case.clone(),
        crashes: found.crashes.clone(),
        injected: found.injected.as_deref().cloned(),
    }
}

fn replay_with(file: Result<PathBuf, String>, seed: u64) -> String {
    match file {
        Ok(file) => format!("syncline torture --replay {}", file.display()),
        Err(error) => format!("(not saved: {error}) seed {seed}"),
    }
}

/// Replays a saved failure. None if it does not fail any more.
///
/// # Errors
/// A message, if the file cannot be read or is no saved failure.
pub fn replay(file: &Path) -> Result<Option<Failure>, String> {
    panics::catch();
    let saved = Saved::read(file)?;
    let mut explorer = explorer(
        &saved.case,
        super::explore::Depth { again_one_in: 1, nested_one_in: u64::MAX, ..WIDE },
        saved.seed,
    );
    explorer.judge = Judge::strict();
    let found = match &saved.injected {
        Some(injected) => fault_jobs::replay(&saved.case, injected),
        None => play::replay(&saved.case, &saved.crashes, &mut explorer),
    };
    let Some(found) = found else { return Ok(None) };
    let command = format!("syncline torture --replay {}", file.display());
    Ok(Some(failure_of(&saved, &found, command)))
}

fn failure_of(saved: &Saved, found: &Found, replay: String) -> Failure {
    let story = catch_unwind(AssertUnwindSafe(|| {
        let crash = crash_point(&saved.case, &saved.crashes);
        let crash = crash.as_ref().map(|(point, history)| (point, history));
        story::tell(&saved.case, found, crash)
    }));
    Failure {
        kind: found.violation.kind,
        clause: Some(found.violation.clause)
            .filter(|_| found.violation.kind != FailureKind::Harness),
        title: found.violation.what.clone(),
        story: story.unwrap_or_else(|_| vec![panics::take()]),
        replay,
    }
}

/// Reports a worker that hangs, and ends the process: nothing else ends the worker.
pub(crate) fn hang(config: &Config, task: &str) -> ! {
    aside(format_args!("syncline: liveness failure: {task} hangs"));
    aside(format_args!("run again with --seed {}", config.seed));
    process::exit(3)
}

#[cfg(test)]
mod tests {
    use super::super::generate;
    use super::super::judge::Violation;
    use super::*;

    #[test]
    fn a_failure_that_cannot_be_made_smaller_is_saved() {
        panics::catch();
        let failures = tempfile::tempdir().unwrap();
        let case = generate::case(1);
        let violation = Violation::safety("made up");
        let found = Found { violation, crashes: Vec::new(), step: 1, injected: None };
        let told = failure(failures.path(), 1, &case, &found, &Pace::default());
        assert_eq!(told.title, "made up");
        let file = std::fs::read_dir(failures.path()).unwrap().next().unwrap().unwrap().path();
        assert!(told.replay.contains(file.to_str().unwrap()), "{}", told.replay);
        assert_eq!(Saved::read(&file).unwrap().case, case);
        assert!(replay(&file).unwrap().is_none());
    }
}
