//! `recover`: the time to open a store, up to the answer to the first get.
//!
//! | variant | store |
//! |---|---|
//! | `after close` | the store that holds every row, which was closed |
//! | `after kill` | a store into which another process put every row, one to a commit, before it was killed |
//!
//! The other process is this program with the hidden command [`WRITER`]. It reports when all its
//! commits are acknowledged, and is killed at that moment (SIGKILL). After a minute it stops early;
//! the figure `commits` is the number of its commits. Only modes that survive the process, but no
//! power loss, take part: in others no commit is in the log alone. After the clock has stopped, the
//! rows are counted. The pages of all files are in the operating system's cache.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::tools::bench::case::{Case, CaseSuite, Contender};
use crate::tools::bench::engine::{Engine, Guarantee, Mode, Sizes, WRITE_BUFFER_BYTES};
use crate::tools::bench::error::BenchError;
use crate::tools::bench::measure::Sample;
use crate::tools::bench::record::Ratio;
use crate::tools::bench::rows::key;
use crate::tools::bench::stage::{Stage, puts, scan_all};
use crate::tools::bench::syncline::all_engines;

/// Openings.
pub(in crate::tools::bench) struct RecoverSuite<'a> {
    stage: &'a Stage<'a>,
    cases: Vec<Case>,
}

const AFTER_CLOSE: &str = "after close";
const AFTER_KILL: &str = "after kill";

/// The hidden command that puts rows and waits to be killed.
pub const WRITER: &str = "bench-writer";

/// Its report that all commits are acknowledged; their number follows.
const ACKNOWLEDGED: &str = "acknowledged ";

/// The longest time that it writes.
const LONGEST: Duration = Duration::from_secs(60);

impl<'a> RecoverSuite<'a> {
    pub(in crate::tools::bench) fn new(stage: &'a Stage<'a>) -> RecoverSuite<'a> {
        let mut cases = Vec::new();
        for variant in [AFTER_CLOSE, AFTER_KILL] {
            let case = Case {
                distribution: "random order",
                ratio: Ratio::MedianLatency,
                peer_ratio: Ratio::MedianLatency,
                ..Case::new("recover", variant, stage.value_bytes())
            };
            let by_all = stage.by_all(&case).into_iter();
            cases.extend(by_all.filter(|case| {
                variant == AFTER_CLOSE || case.guarantee == Some(Guarantee::ProcessEnd)
            }));
        }
        RecoverSuite { stage, cases }
    }

    fn after_close(&self, case: &Case, engine: usize) -> Result<Sample, BenchError> {
        let stock = self.stage.stock(engine)?;
        let rows = stock.rows.load(std::sync::atomic::Ordering::Relaxed);
        self.open(case, engine, &stock.dir, rows)
    }

    fn after_kill(&self, case: &Case, engine: usize) -> Result<Sample, BenchError> {
        let stage = self.stage;
        let dir = stage.fresh_dir();
        std::fs::create_dir_all(&dir)
            .map_err(BenchError::io(format!("create {}", dir.display())))?;
        let job = Job {
            engine: stage.name(case.contender).to_owned(),
            mode: case.mode.to_owned(),
            dir: dir.clone(),
            commits: stage.settings.keys,
            value_bytes: case.value_bytes,
            cache_bytes: stage.settings.cache_bytes,
        };
        let writing = Instant::now();
        let commits = kill_after(&job).map_err(|problem| stage.wrong(engine, problem))?;
        let writing = writing.elapsed();
        let mut sample = self.open(case, engine, &dir, commits)?;
        sample.add_figure("commits", commits as f64, "");
        sample.add_figure("writing", writing.as_secs_f64() * 1e3, "ms");
        stage.remove(&dir)?;
        Ok(sample)
    }

    /// Opens the store and gets the last row; then, untimed, counts all rows.
    fn open(
        &self,
        case: &Case,
        engine: usize,
        dir: &Path,
        rows: u64,
    ) -> Result<Sample, BenchError> {
        let stage = self.stage;
        let mode = stage.mode(engine, case.mode);
        let last = key(rows.min(stage.settings.keys) - 1);
        let begun = Instant::now();
        let database = stage.open(engine, dir, mode, &stage.sizes(case.value_bytes))?;
        let mut session = database.session();
        let found = session.get(&last, &mut |value| {
            std::hint::black_box(super::read::ends(value));
        })?;
        let elapsed = begun.elapsed();
        if !found {
            return Err(stage.wrong(engine, format!("{}: the last row is missing", case.variant)));
        }
        let there = scan_all(&mut *session, &mut |_, _| {})? as u64;
        if there != rows {
            let message = format!("{}: {there} rows, but {rows} were put", case.variant);
            return Err(stage.wrong(engine, message));
        }
        Ok(Sample::once(1, 1, elapsed))
    }
}

impl CaseSuite for RecoverSuite<'_> {
    fn cases(&self) -> &[Case] {
        &self.cases
    }

    fn measure(&mut self, case: usize) -> Result<Sample, BenchError> {
        let case = &self.cases[case];
        let Contender::Engine(engine) = case.contender else { unreachable!("there is no floor") };
        match case.variant {
            AFTER_CLOSE => self.after_close(case, engine),
            _ => self.after_kill(case, engine),
        }
    }
}

/// The work of the other process.
#[derive(Clone, Debug, clap::Args)]
pub struct Job {
    /// The engine
    engine: String,
    /// Its mode
    mode: String,
    /// Where its store is to be
    dir: std::path::PathBuf,
    /// How many commits
    commits: u64,
    /// Of what size
    value_bytes: usize,
    /// Its cache
    cache_bytes: u64,
}

impl Job {
    fn arguments(&self) -> [std::ffi::OsString; 6] {
        [
            self.engine.clone().into(),
            self.mode.clone().into(),
            self.dir.clone().into(),
            self.commits.to_string().into(),
            self.value_bytes.to_string().into(),
            self.cache_bytes.to_string().into(),
        ]
    }
}

/// Has another process do `job`, and kills it afterwards. Returns the number of its commits.
fn kill_after(job: &Job) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|error| format!("no program: {error}"))?;
    let child = Command::new(program)
        .arg(WRITER)
        .args(job.arguments())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = Killed(child.map_err(|error| format!("cannot start the writer: {error}"))?);
    let output = child.0.stdout.take().expect("piped");
    let mut said = String::new();
    BufReader::new(output).read_line(&mut said).map_err(|error| error.to_string())?;
    let commits = said.strip_prefix(ACKNOWLEDGED).and_then(|number| number.trim().parse().ok());
    if let Some(commits) = commits.filter(|commits| *commits > 0) {
        return Ok(commits);
    }
    let status = child.0.wait().map_err(|error| error.to_string())?;
    Err(format!("the writer failed: {status}"))
}

/// A process that ends with this value.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The other process: puts the rows, reports it, and waits for its end.
///
/// # Errors
/// If the engine is not known or fails.
pub fn write_until_killed(job: &Job, peers: &[Box<dyn Engine>]) -> Result<(), BenchError> {
    let engines = all_engines(peers);
    let unknown = |what: &str, name: &str| BenchError::Call(format!("no {what} {name:?}"));
    let engine = engines.iter().find(|engine| engine.name() == job.engine);
    let engine = engine.ok_or_else(|| unknown("engine", &job.engine))?;
    let mode: Option<&Mode> = engine.modes().iter().find(|mode| mode.name == job.mode);
    let mode = mode.ok_or_else(|| unknown("mode", &job.mode))?;
    let sizes = Sizes {
        cache_bytes: job.cache_bytes,
        write_buffer_bytes: WRITE_BUFFER_BYTES,
        value_bytes: job.value_bytes,
        expected_bytes: job.commits * (job.value_bytes as u64 + 24),
    };
    let database = engine.open(&job.dir, mode, &sizes)?;
    let mut session = database.session();
    let mut commits = 0;
    {
        let mut put = puts(&mut *session, 0, 1, job.commits.max(1), job.value_bytes);
        let begun = Instant::now();
        while commits < job.commits && begun.elapsed() < LONGEST {
            put()?;
            commits += 1;
        }
    }
    let mut out = io::stdout().lock();
    writeln!(out, "{ACKNOWLEDGED}{commits}")
        .and_then(|()| out.flush())
        .map_err(BenchError::Output)?;
    // If the parent ends without a kill, the pipe ends with it.
    let _ = io::stdin().read(&mut [0]);
    Ok(())
}
