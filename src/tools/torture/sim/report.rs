//! What is done with a failure: made small, put down as a file, told.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use super::case::Case;
use super::explore::Found;
use super::judge::Judge;
use super::mishap;
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

/// The most time that is spent on making a failure small.
const SHRINKING: Duration = Duration::from_secs(25);

/// Tells a failure, makes it small and writes it down: at first as it was found, so that it is not lost
/// if a smaller workload hangs.
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
    aside(format_args!("syncline: a failure, which is made small now: {what} ({replay})"));
    let pace = pace.anew(SHRINKING);
    let mut test = |case: &Case| look_again(case, seed, found, &pace);
    // What the engine panics in once may make it panic elsewhere: it is told as it was found then.
    let small = catch_unwind(AssertUnwindSafe(|| shrink(case, found, &mut test, &pace)));
    let (case, found) = small.unwrap_or_else(|_| (case.clone(), found.clone()));
    let (saved, replay) = write(&case, &found);
    told(&saved, &found, replay)
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
        trouble: found.trouble.as_deref().cloned(),
    }
}

fn replay_with(file: Result<PathBuf, String>, seed: u64) -> String {
    match file {
        Ok(file) => format!("syncline torture --replay {}", file.display()),
        Err(error) => format!("(not saved: {error}) seed {seed}"),
    }
}

/// Runs a saved failure again. None if it does not fail any more.
///
/// # Errors
/// A message, if there is no such file or it is no saved failure.
pub fn replay(file: &Path) -> Result<Option<Failure>, String> {
    panics::catch();
    let saved = Saved::read(file)?;
    let mut explorer = explorer(
        &saved.case,
        super::explore::Depth { again_one_in: 1, nested_one_in: u64::MAX, ..WIDE },
        saved.seed,
    );
    explorer.judge = Judge::strict();
    let found = match &saved.trouble {
        Some(trouble) => mishap::replay(&saved.case, trouble),
        None => play::replay(&saved.case, &saved.crashes, &mut explorer),
    };
    let Some(found) = found else { return Ok(None) };
    let command = format!("syncline torture --replay {}", file.display());
    Ok(Some(told(&saved, &found, command)))
}

fn told(saved: &Saved, found: &Found, replay: String) -> Failure {
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

/// A worker does not come back: says what it was at, and ends the process, for nothing else ends
/// the worker.
pub(crate) fn hang(config: &Config, task: &str) -> ! {
    aside(format_args!("syncline: liveness failure: nothing came of {task} for a long time"));
    aside(format_args!("run again with --seed {}", config.seed));
    process::exit(3)
}

#[cfg(test)]
mod tests {
    use super::super::generate;
    use super::super::judge::Violation;
    use super::*;

    /// A failure that does not come again is put down as it was found.
    #[test]
    fn a_failure_that_cannot_be_made_smaller_is_saved() {
        panics::catch();
        let failures = tempfile::tempdir().unwrap();
        let case = generate::case(1);
        let violation = Violation::safety("made up");
        let found = Found { violation, crashes: Vec::new(), step: 1, trouble: None };
        let told = failure(failures.path(), 1, &case, &found, &Pace::default());
        assert_eq!(told.title, "made up");
        let file = std::fs::read_dir(failures.path()).unwrap().next().unwrap().unwrap().path();
        assert!(told.replay.contains(file.to_str().unwrap()), "{}", told.replay);
        assert_eq!(Saved::read(&file).unwrap().case, case);
        assert!(replay(&file).unwrap().is_none());
    }
}
