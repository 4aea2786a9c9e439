//! `bench`: calls [`crate::tools::bench`], and prints the results.
//!
//! Files for the results are created before the run: a path that cannot be written fails at once, not
//! after half an hour.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use super::bench_args::{BenchArgs, NetArgs, NetBench, Workload};
use super::failure::{CommandResult, Failure, Status};
use crate::tools::bench::engine::Engine;
use crate::tools::bench::record::Record;
use crate::tools::bench::{
    self, BenchError, CrowdSettings, Family, NetSettings, ServerSettings, Settings,
};

pub(super) fn bench(args: BenchArgs, peers: &[Box<dyn Engine>]) -> CommandResult {
    let (html, markdown) = (args.run.html.clone(), args.run.markdown.clone());
    if let Some(file) = &args.from_json {
        let text = fs::read_to_string(file);
        let text = text.map_err(Failure::io(format!("read {}", file.display())))?;
        let record = Record::from_json(&text).map_err(|problem| {
            Failure::Usage(format!("{}: not a result of bench: {problem}", file.display()))
        })?;
        let html = html.map(Output::create).transpose()?;
        return tell(&record, None, html, markdown.map(Output::create).transpose()?);
    }
    let json = args.run.json.clone();
    let settings = settings(args)?;
    bench::on_interrupt();
    let json = json.map(Output::create).transpose()?;
    let html = html.map(Output::create).transpose()?;
    let markdown = markdown.map(Output::create).transpose()?;
    let record = bench::run(&settings, peers)?;
    tell(&record, json, html, markdown)
}

/// `bench server`, `bench patterns` and `bench crowd`.
pub(super) fn net(command: NetBench) -> CommandResult {
    match command {
        NetBench::Server(args) => {
            let (connections, in_flight) = (in_order(args.connections), in_order(args.in_flight));
            let loads = args.load;
            with_net(args.net, |net| {
                bench::run_server(&ServerSettings { net, connections, in_flight, loads })
            })
        }
        NetBench::Patterns(args) => with_net(args, |net| bench::run_patterns(&net)),
        NetBench::Crowd(args) => {
            let mut cases = args.case;
            cases.sort_unstable();
            cases.dedup();
            let (connections, watchers) = (args.connections, args.watchers);
            let (jobs_per_s, puts) = (args.jobs_per_second, args.puts);
            let max_output_mib = args.max_output_mib;
            with_net(args.net, |net| {
                bench::run_crowd(&CrowdSettings {
                    net,
                    cases,
                    connections,
                    watchers,
                    jobs_per_s,
                    puts,
                    max_output_mib,
                })
            })
        }
    }
}

fn with_net(
    args: NetArgs,
    run: impl FnOnce(NetSettings) -> Result<Record, BenchError>,
) -> CommandResult {
    let words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    let settings = NetSettings {
        connect: args.remote.target()?,
        dir: args.dir,
        measure_time: length_of_time(args.run.seconds)?,
        rounds: args.run.rounds,
        keys: args.keys,
        value_bytes: args.value_bytes,
        seed: args.run.seed,
        command: words.collect::<Vec<_>>().join(" "),
    };
    let json = args.run.json.map(Output::create).transpose()?;
    let html = args.run.html.map(Output::create).transpose()?;
    let markdown = args.run.markdown.map(Output::create).transpose()?;
    bench::on_interrupt();
    tell(&run(settings)?, json, html, markdown)
}

/// The hidden command of the processes that `bench` starts.
pub(super) fn do_errand(peers: &[Box<dyn Engine>]) -> CommandResult {
    bench::do_errand(peers)?;
    Ok(Status::Done)
}

/// Writes the files first: they exist even if standard output is closed.
fn tell(
    record: &Record,
    json: Option<Output>,
    html: Option<Output>,
    markdown: Option<Output>,
) -> CommandResult {
    if let Some(json) = json {
        json.write(&record.to_json())?;
    }
    if let Some(html) = html {
        html.write(&bench::page::render(record))?;
    }
    if let Some(markdown) = markdown {
        markdown.write(&bench::markdown::render(record))?;
    }
    let mut out = io::stdout().lock();
    let table = bench::table(record);
    out.write_all(table.as_bytes()).and_then(|()| out.flush()).map_err(Failure::output)?;
    Ok(Status::Done)
}

fn settings(args: BenchArgs) -> Result<Settings, Failure> {
    let measure_time = length_of_time(args.run.seconds)?;
    if let Some(rate) = args.rate.filter(|rate| !(0.001..=1e9).contains(rate)) {
        return Err(Failure::Usage(format!("--rate {rate}: not a rate, from 0.001 to 1e9")));
    }
    let families = args.workload.iter().flat_map(|workload| match workload {
        Workload::All => Family::ALL.to_vec(),
        Workload::One(family) => vec![*family],
    });
    let mut families: Vec<Family> = families.collect();
    families.sort_unstable();
    families.dedup();
    let words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    Ok(Settings {
        dir: args.dir.or(args.dir_option),
        measure_time,
        rounds: args.run.rounds,
        again: args.again,
        keys: args.keys,
        steady_time: Duration::from_secs(args.steady),
        large_memory_bytes: args.large_mib << 20,
        large_time: Duration::from_secs(args.large_seconds),
        cache_bytes: args.cache_mib << 20,
        families,
        engines: args.engine,
        threads: in_order(args.threads),
        value_bytes: in_order(args.value_bytes),
        batches: in_order(args.batch),
        rate: args.rate,
        seed: args.run.seed,
        command: words.collect::<Vec<_>>().join(" "),
    })
}

fn length_of_time(seconds: f64) -> Result<Duration, Failure> {
    let time = Duration::try_from_secs_f64(seconds).ok().filter(|time| !time.is_zero());
    time.filter(|time| *time <= Duration::from_secs(86_400)).ok_or_else(|| {
        Failure::Usage(format!("--seconds {seconds}: give a number above 0, at most 86400"))
    })
}

fn in_order(mut numbers: Vec<usize>) -> Vec<usize> {
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// A file for a result.
struct Output {
    path: PathBuf,
    file: File,
}

impl Output {
    fn create(path: PathBuf) -> Result<Output, Failure> {
        let file = File::create(&path);
        let file = file.map_err(Failure::io(format!("create {}", path.display())))?;
        Ok(Output { path, file })
    }

    fn write(mut self, text: &str) -> Result<(), Failure> {
        let written = self.file.write_all(text.as_bytes());
        written.map_err(Failure::io(format!("write {}", self.path.display())))
    }
}

impl From<BenchError> for Failure {
    fn from(error: BenchError) -> Failure {
        match error {
            BenchError::Call(problem) => Failure::Usage(problem),
            BenchError::Store(error) => Failure::Store(error),
            BenchError::Io { action, source } => Failure::Io { action, source },
            BenchError::Output(source) => Failure::output(source),
            BenchError::Child { engine, message } | BenchError::Engine { engine, message } => {
                let action = format!("measure {engine}");
                Failure::Io { action, source: io::Error::other(message) }
            }
        }
    }
}
