//! The arguments of `bench`, of a store in this process or of a server.

use std::path::PathBuf;

use clap::builder::PossibleValue;
use clap::{Args, Parser, Subcommand, ValueEnum};

use super::connect::Remote;
use crate::tools::bench::{By, CrowdCase, Family};

/// Measure Syncline and alternative stores, in turns.
///
/// Exit status: 0 done, 2 wrong call or failure.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub(super) struct BenchCli {
    #[command(subcommand)]
    pub(super) child: Option<Child>,
    #[command(flatten)]
    pub(super) args: BenchArgs,
}

#[derive(Debug, Subcommand)]
pub(super) enum Child {
    /// Measure a store in a process of its own: started by `bench` itself
    #[command(name = crate::tools::bench::CHILD, hide = true)]
    BenchChild,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  syncline bench                                   the ladder of commits: about six minutes
  syncline bench --workload all --html run.html    everything, and a page to look at
  syncline bench --workload commit --threads 1,4 --batch 1,100 --value-bytes 100,1000
  syncline bench --workload steady --steady 120    the rate over two minutes, in each mode
  syncline bench --workload read --rate 50000      latency where 50000 gets a second are due
  syncline bench --from-json run.json --html run.html")]
pub(super) struct BenchArgs {
    /// Where to measure; without it, a directory beneath the current one, removed afterwards
    pub(super) dir: Option<PathBuf>,
    /// The same as DIR
    #[arg(long = "dir", value_name = "DIR", conflicts_with = "dir")]
    pub(super) dir_option: Option<PathBuf>,
    /// What to measure, separated by commas
    #[arg(long, value_enum, value_delimiter = ',', default_value = "commit")]
    pub(super) workload: Vec<Workload>,
    /// Which engines, separated by commas; Syncline always [default: all there are]
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub(super) engine: Vec<String>,
    /// The number of different keys
    #[arg(long, value_name = "N", default_value_t = 1_000_000,
        value_parser = clap::value_parser!(u64).range(1..1 << 40))]
    pub(super) keys: u64,
    /// The cache of each store, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 512,
        value_parser = clap::value_parser!(u64).range(1..1 << 24))]
    pub(super) cache_mib: u64,
    /// Numbers of threads, in turn [default: those of each workload]
    #[arg(long, value_delimiter = ',', value_name = "N", value_parser = in_range::<1, 4096>)]
    pub(super) threads: Vec<usize>,
    /// The sizes of values; workloads with one size take the first [default: 150; for commits also
    /// 1 KiB and 16 KiB; for `flush`, bytes per write, 4 KiB to 1 MiB]
    #[arg(long, value_delimiter = ',', value_name = "N", value_parser = in_range::<8, 16777216>)]
    pub(super) value_bytes: Vec<usize>,
    /// Puts in a commit, for `commit` and `load` [default: 1 and 1000]
    #[arg(long, value_delimiter = ',', value_name = "N", value_parser = in_range::<1, 1000000>)]
    pub(super) batch: Vec<usize>,
    /// Operations per second over all threads (an open loop): latency counts from the time when an
    /// operation is due. For commit, window, read, scans of 100 rows, mixed
    #[arg(long, value_name = "OPS")]
    pub(super) rate: Option<f64>,
    /// The length of a measurement of `steady`, in seconds: less than a minute may miss checkpoints and
    /// compactions
    #[arg(long, value_name = "S", default_value_t = 60,
        value_parser = clap::value_parser!(u64).range(1..=86400))]
    pub(super) steady: u64,
    /// The memory of each store in `large`: its data are 4 and 16 times as much
    #[arg(long, value_name = "MIB", default_value_t = 128,
        value_parser = clap::value_parser!(u64).range(16..1 << 24))]
    pub(super) large_mib: u64,
    /// The longest time for which `large` overwrites; it ends when the data are overwritten three
    /// times
    #[arg(long, value_name = "S", default_value_t = 30,
        value_parser = clap::value_parser!(u64).range(1..=86400))]
    pub(super) large_seconds: u64,
    /// How often a measurement is made again that something else disturbed: other processes, or other
    /// machines of the same host
    #[arg(long, value_name = "K", default_value_t = 2,
        value_parser = clap::value_parser!(u32).range(0..=100))]
    pub(super) again: u32,
    #[command(flatten)]
    pub(super) run: RunArgs,
    /// Measure nothing: print the table of this result again, and with --html or --markdown write its
    /// page or its Markdown
    #[arg(long, value_name = "FILE", conflicts_with_all = ["dir", "dir_option", "workload",
        "engine", "seconds", "rounds", "keys", "cache_mib", "threads", "value_bytes", "batch",
        "rate", "seed", "json", "steady", "large_mib", "large_seconds", "again"])]
    pub(super) from_json: Option<PathBuf>,
}

/// Arguments of all benchmarks.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// The length of one measurement
    #[arg(long, value_name = "S", default_value_t = 1.0)]
    pub(super) seconds: f64,
    /// Rounds: how often everything is measured, in turns
    #[arg(long, value_name = "K", default_value_t = 5,
        value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) rounds: u32,
    /// The seed of the random numbers
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) seed: u64,
    /// Write machine and results to this file
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
    /// Write a page with charts to this file
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,
    /// Write tables in Markdown to this file
    #[arg(long, value_name = "FILE")]
    pub(super) markdown: Option<PathBuf>,
}

/// `bench`, of a store in this process or of a server.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct BenchCommand {
    #[command(subcommand)]
    pub(super) net: Option<NetBench>,
    #[command(flatten)]
    pub(super) args: BenchArgs,
}

#[derive(Debug, Subcommand)]
pub(super) enum NetBench {
    /// Measure a server: gets and puts in each mode, over many connections or one
    Server(ServerBenchArgs),
    /// Compare ways to learn that an asynchronous put is durable, in time and bytes
    Patterns(NetArgs),
    /// Measure what thousands of connections cost a server: idle, watching, or reading nothing; and
    /// gets behind a thousand puts
    Crowd(CrowdArgs),
}

/// Arguments of the benchmarks of a server.
#[derive(Debug, Args)]
pub(super) struct NetArgs {
    /// Where to measure; without it, a directory beneath the current one, removed afterwards
    #[arg(conflicts_with = "connect")]
    pub(super) dir: Option<PathBuf>,
    /// A server that runs already, in place of one of our own: its keyspace `bench` is written to
    #[command(flatten)]
    pub(super) remote: Remote,
    /// The number of different keys
    #[arg(long, value_name = "N", default_value_t = 100_000,
        value_parser = clap::value_parser!(u64).range(1..1 << 40))]
    pub(super) keys: u64,
    /// The size of a value
    #[arg(long, value_name = "N", default_value_t = 150, value_parser = in_range::<8, 1048576>)]
    pub(super) value_bytes: usize,
    #[command(flatten)]
    pub(super) run: RunArgs,
}

#[derive(Debug, Args)]
pub(super) struct ServerBenchArgs {
    #[command(flatten)]
    pub(super) net: NetArgs,
    /// Numbers of connections
    #[arg(long, value_delimiter = ',', value_name = "N", default_value = "1,50",
        value_parser = in_range::<1, 10000>)]
    pub(super) connections: Vec<usize>,
    /// Requests in flight on each; with 1 nothing is pipelined
    #[arg(long, value_delimiter = ',', value_name = "N", default_value = "1,16",
        value_parser = in_range::<1, 1024>)]
    pub(super) in_flight: Vec<usize>,
    /// The clients that make the load: bare packets (lean), our client with as many connections
    /// (pool), our client with one connection (one)
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        value_name = "WHO",
        default_value = "lean,pool,one"
    )]
    pub(super) load: Vec<By>,
}

#[derive(Debug, Args)]
pub(super) struct CrowdArgs {
    #[command(flatten)]
    pub(super) net: NetArgs,
    /// The cases to measure, separated by commas
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        value_name = "CASES",
        default_value = "behind,idle,watch,deaf"
    )]
    pub(super) case: Vec<CrowdCase>,
    /// Connections, for `idle` and `deaf`
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = in_range::<1, 1000000>)]
    pub(super) connections: usize,
    /// Connections, for `watch`
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = in_range::<1, 1000000>)]
    pub(super) watchers: usize,
    /// Writes per second, for `watch`
    #[arg(long, value_name = "N", default_value_t = 10_000,
        value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(super) jobs_per_second: u32,
    /// Sync puts in flight, for `behind`
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = in_range::<1, 4000>)]
    pub(super) puts: usize,
    /// The most bytes that all clients may leave unread, for `deaf`, if the server is our own
    #[arg(long, value_name = "MIB", default_value_t = 256,
        value_parser = clap::value_parser!(u64).range(1..1 << 24))]
    pub(super) max_output_mib: u64,
}

/// One family of benchmarks, or all.
#[derive(Clone, Copy, Debug)]
pub(super) enum Workload {
    All,
    One(Family),
}

impl ValueEnum for Workload {
    fn value_variants<'a>() -> &'a [Self] {
        const EACH: [Workload; 14] = {
            let mut each = [Workload::All; 14];
            let mut index = 0;
            while index < Family::ALL.len() {
                each[index] = Workload::One(Family::ALL[index]);
                index += 1;
            }
            each
        };
        &EACH
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Workload::One(family) => family.to_possible_value(),
            Workload::All => Some(PossibleValue::new("all").help("Each of these")),
        }
    }
}

/// A number from `MIN` to `MAX`.
fn in_range<const MIN: usize, const MAX: usize>(text: &str) -> Result<usize, String> {
    let number: usize = text.parse().map_err(|_| "not a number".to_owned())?;
    if (MIN..=MAX).contains(&number) {
        return Ok(number);
    }
    Err(format!("not from {MIN} to {MAX}"))
}
