//! `torture`: calls [`crate::tools::torture`], and prints the result.
//!
//! - Files for the results are created before the run: a path that cannot be written fails at once, not
//!   after half an hour.
//! - The first Ctrl-C stops the run, which still reports its findings. The second ends the process.

use std::fs::File;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::failure::{CommandResult, Failure, Status};
use super::messages::{complain, note};
use super::torture_args::{SuiteArg, TierArg, TortureArgs};
use crate::tools::torture::{
    Config, FailureKind, Progress, Suite, Summary, Tier, limit, page, replay, run, story, table,
    watch,
};

/// The exit status of a process that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

pub(super) fn torture(args: TortureArgs) -> CommandResult {
    if let Some(file) = &args.replay {
        return again(file);
    }
    let (json, html) = (args.json.clone(), args.html.clone());
    let config = config(args)?;
    let (json, html) = (Output::create(json)?, Output::create(html)?);
    note(&format!("tier {}, seed {}", config.tier.name(), config.seed));

    let progress = Arc::new(Progress::default());
    stop_on_interrupt(Arc::clone(&progress));
    let summary = watch(&progress, limit(&config), || run(&config, &progress));

    let told = tell(&summary, json, html);
    // A finding counts more than an error in writing it.
    match (status(summary.worst()), told) {
        (Status::Done, told) => told.map(|()| Status::Done),
        (status, Ok(()) | Err(Failure::BrokenPipe)) => Ok(status),
        (status, Err(failure)) => {
            complain(&failure.to_string());
            Ok(status)
        }
    }
}

/// The exit status of the gravest failure.
fn status(worst: Option<FailureKind>) -> Status {
    match worst {
        None => Status::Done,
        Some(FailureKind::Safety) => Status::No,
        Some(FailureKind::Liveness) => Status::Stuck,
        Some(FailureKind::Harness) => Status::Undone,
    }
}

fn config(args: TortureArgs) -> Result<Config, Failure> {
    let suites = match args.suite.as_slice() {
        // Suites that are not compiled are reported as skipped.
        [] => Suite::ALL.to_vec(),
        named => named.iter().copied().map(Suite::from).collect(),
    };
    if let Some(suite) = suites.iter().find(|suite| !args.suite.is_empty() && !suite.is_compiled())
    {
        let name = suite.name();
        return Err(Failure::Usage(format!(
            "--suite {name}: not in this build; compile with `--features cli,{name}`"
        )));
    }
    if let Some(dir) = args.dir.as_deref().filter(|dir| !dir.is_dir()) {
        return Err(Failure::Usage(format!("--dir {}: not a directory", dir.display())));
    }
    let processors = || thread::available_parallelism().map_or(1, usize::from);
    Ok(Config {
        tier: args.tier.into(),
        suites,
        seed: args.seed.map_or_else(random_seed, Ok)?,
        workers: args.workers.map_or_else(processors, usize::from),
        limit: args.seconds.map(|seconds| Duration::from_secs(seconds.into())),
        directory: args.dir,
        failures: args.failures,
    })
}

/// A random seed of 40 bits: easy to type, and exact in any reader of JSON.
fn random_seed() -> Result<u64, Failure> {
    let seed = getrandom::u64();
    let seed = seed.map_err(|error| Failure::io("get a random seed")(io::Error::other(error)))?;
    Ok(seed >> 24)
}

fn stop_on_interrupt(progress: Arc<Progress>) {
    let handler = move || {
        if progress.is_stopped() {
            process::exit(INTERRUPTED);
        }
        progress.stop();
        note("stopping; press Ctrl-C again to end at once");
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        note(&format!("Ctrl-C ends the run without a summary: {error}"));
    }
}

/// `--replay`.
fn again(file: &Path) -> CommandResult {
    let found = catch_unwind(AssertUnwindSafe(|| replay(file)));
    match found {
        Ok(Ok(None)) => {
            print("It held: this failure does not happen any more.\n")?;
            Ok(Status::Done)
        }
        Ok(Ok(Some(failure))) => {
            print(&story(&failure))?;
            Ok(status(Some(failure.kind)))
        }
        Ok(Err(problem)) => Err(Failure::Usage(problem)),
        Err(_) => {
            complain("the suite panicked");
            Ok(status(Some(FailureKind::Harness)))
        }
    }
}

/// Prints the table, then writes the files.
fn tell(summary: &Summary, json: Option<Output>, html: Option<Output>) -> Result<(), Failure> {
    let table = table(summary);
    if matches!(json, Some(Output::Standard)) {
        note(table.trim_end());
    } else {
        print(&table)?;
    }
    if let Some(json) = json {
        let text = serde_json::to_string_pretty(summary).expect("numbers, strings and lists");
        json.write(&(text + "\n"))?;
    }
    html.map_or(Ok(()), |html| html.write(&page(summary)))
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::output)
}

/// The destination of a result.
enum Output {
    Standard,
    File(PathBuf, File),
}

impl Output {
    fn create(path: Option<PathBuf>) -> Result<Option<Output>, Failure> {
        let Some(path) = path else { return Ok(None) };
        if path.as_os_str() == "-" {
            return Ok(Some(Output::Standard));
        }
        let file = File::create(&path);
        let file = file.map_err(Failure::io(format!("create {}", path.display())))?;
        Ok(Some(Output::File(path, file)))
    }

    fn write(self, text: &str) -> Result<(), Failure> {
        match self {
            Output::Standard => print(text),
            Output::File(path, mut file) => file
                .write_all(text.as_bytes())
                .map_err(Failure::io(format!("write {}", path.display()))),
        }
    }
}

impl From<TierArg> for Tier {
    fn from(tier: TierArg) -> Tier {
        match tier {
            TierArg::Smoke => Tier::Smoke,
            TierArg::Full => Tier::Full,
            TierArg::Soak => Tier::Soak,
        }
    }
}

impl From<SuiteArg> for Suite {
    fn from(suite: SuiteArg) -> Suite {
        match suite {
            SuiteArg::Sim => Suite::Sim,
            SuiteArg::Flips => Suite::Flips,
            SuiteArg::Kill => Suite::Kill,
            SuiteArg::Server => Suite::Server,
            SuiteArg::Mutants => Suite::Mutants,
            SuiteArg::Museum => Suite::Museum,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::ExitCode;

    use super::*;
    use crate::tools::torture::Failure as Found;

    fn exit(kinds: &[FailureKind]) -> ExitCode {
        let found = |kind: &FailureKind| Found {
            kind: *kind,
            clause: None,
            title: String::new(),
            story: Vec::new(),
            replay: String::new(),
        };
        let failures = kinds.iter().map(found).collect();
        let summary = Summary {
            version: "",
            tier: Tier::Smoke,
            seed: 0,
            workers: 1,
            seconds: 0.0,
            sim: None,
            kill: None,
            server: None,
            museum: None,
            mutants: None,
            skipped: Vec::new(),
            failures,
        };
        status(summary.worst()).into()
    }

    #[test]
    fn gravest_failure_decides_the_exit_status() {
        use FailureKind::{Harness, Liveness, Safety};
        assert_eq!(exit(&[]), ExitCode::SUCCESS);
        assert_eq!(exit(&[Safety]), ExitCode::from(1));
        assert_eq!(exit(&[Liveness]), ExitCode::from(3));
        assert_eq!(exit(&[Harness]), ExitCode::from(4));
        assert_eq!(exit(&[Harness, Liveness, Harness]), ExitCode::from(3));
        assert_eq!(exit(&[Harness, Liveness, Safety]), ExitCode::from(1));
    }

    #[test]
    fn seeds_are_short_and_differ() {
        let (one, other) = (random_seed().unwrap(), random_seed().unwrap());
        assert!(one < 1 << 40 && one != other);
    }
}
