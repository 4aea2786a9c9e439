//! What may be said to `bench server`, `bench patterns` and `bench crowd`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::args::{Remote, RunArgs, in_range};
use crate::tools::bench::{By, CrowdCase};

#[derive(Debug, Subcommand)]
pub(super) enum NetBench {
    /// Measure a server: gets and puts in each mode, over many connections or one
    Server(ServerBenchArgs),
    /// Compare ways to learn that an asynchronous put is durable, and of putting it into bytes
    Patterns(NetArgs),
    /// Measure what thousands of connections cost a server: idle, watching, deaf; and gets behind
    /// a thousand puts
    Crowd(CrowdArgs),
}

/// What the benchmarks of a server have in common.
#[derive(Debug, Args)]
pub(super) struct NetArgs {
    /// Where to measure; without it, a directory beneath the current one, removed afterwards
    #[arg(conflicts_with = "connect")]
    pub(super) dir: Option<PathBuf>,
    /// A server that runs already, in place of one of our own: its keyspace `bench` is written to
    #[command(flatten)]
    pub(super) remote: Remote,
    /// How many different keys there are
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
    /// Who makes the load: packets and nothing else, our client with as many connections, our
    /// client with one
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
    /// What is measured, separated by commas
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        value_name = "CASES",
        default_value = "behind,idle,watch,deaf"
    )]
    pub(super) case: Vec<CrowdCase>,
    /// Connections, of `idle` and `deaf`
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = in_range::<1, 1000000>)]
    pub(super) connections: usize,
    /// Connections, of `watch`
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = in_range::<1, 1000000>)]
    pub(super) watchers: usize,
    /// Writes in a second, of `watch`
    #[arg(long, value_name = "N", default_value_t = 10_000,
        value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(super) jobs_per_second: u32,
    /// Sync puts in flight, of `behind`
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = in_range::<1, 4000>)]
    pub(super) puts: usize,
    /// What all clients together may leave unread, of `deaf`, if the server is one of our own
    #[arg(long, value_name = "MIB", default_value_t = 256,
        value_parser = clap::value_parser!(u64).range(1..1 << 24))]
    pub(super) max_output_mib: u64,
}
