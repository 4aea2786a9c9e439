//! `bench crowd`: the cost of many connections for a server, and for each other.
//!
//! ```text
//!   behind   gets on a connection with a thousand sync puts in flight, and on one beside it
//!   idle     thousands of connections with a long poll each: memory per connection
//!   watch    a thousand connections that watch asynchronous writes, at a given rate: events
//!            lost, time from durable to known, memory
//!   deaf     thousands that ask for much and never read: memory, and the gets of good clients
//! ```
//!
//! - CROWD-1 Each case of each round has a server and a store of its own, so that no memory of another
//!   case counts. For a running server there are no figures of memory and processor.
//! - CROWD-2 Figures that are compared are measured one after the other on the same server. A ratio is
//!   taken in each round, and the result is the median of the ratios.
//! - CROWD-3 The load is one thread. Its share of a processor stands beside every figure: near 1 the load
//!   was the bottleneck, and `watch` says how late it was.
//! - CROWD-4 If the limit of descriptors is too low for the connections, there are fewer of them, and the
//!   result says so.

mod behind;
mod common;
mod deaf;
mod descriptors;
mod idle;
mod watch;

use std::fs;

use super::super::directory::BenchDir;
use super::super::draws::shuffled;
use super::super::error::BenchError;
use super::super::record::{Record, Row};
use super::super::stop;
use super::common::{Found, record, row, runtime};
use super::host::Host;
use super::lean;
use crate::tools::present::aside::aside;

use self::common::Rows;

pub use self::common::{CrowdCase, CrowdSettings};

/// Measures the cases.
///
/// # Errors
/// The server cannot be started or reached, or answers with an error.
pub fn run(settings: &CrowdSettings) -> Result<Record, BenchError> {
    let net = &settings.net;
    let dir = BenchDir::create(net.dir.as_deref())?;
    let (settings, warning) = descriptors::fit(settings);
    warning.iter().for_each(|warning| aside(format_args!("{warning}")));
    let mut found: Vec<(Row, Vec<Found>)> = Vec::new();
    'rounds: for round in 0..net.rounds {
        for index in shuffled(settings.cases.len(), round, net.seed) {
            let case = settings.cases[index];
            aside(format_args!("round {} of {}: {case:?}", round + 1, net.rounds));
            let measured = match measure(case, &settings, &dir) {
                // Ctrl-C ends the server as well.
                Err(_) if stop::is_asked() => break 'rounds,
                measured => measured?,
            };
            for (name, one) in measured {
                match found.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, rounds)) => rounds.push(one),
                    None => found.push((name, vec![one])),
                }
            }
            if stop::is_asked() {
                break 'rounds;
            }
        }
    }
    found.sort_by(|(a, _), (b, _)| (&a.variant, &a.mode).cmp(&(&b.variant, &b.mode)));
    let rows = found.into_iter().filter_map(|(name, rounds)| row(name, &rounds));
    let mut record = record(net, &dir, &["lean"], rows.collect());
    record.run.warnings.extend(warning);
    Ok(record)
}

fn measure(case: CrowdCase, settings: &CrowdSettings, dir: &BenchDir) -> Result<Rows, BenchError> {
    let net = &settings.net;
    // 1. A server, with every row in its store.
    let dir = dir.path.join("crowd");
    fs::create_dir_all(&dir).map_err(BenchError::io("make a directory for the store"))?;
    let own = [
        format!("max_connections={}", settings.connections + settings.watchers + 1000),
        format!("max_output_mib={}", settings.max_output_mib),
    ];
    let host = Host::start_with(net.connect.as_ref(), &dir, &own)?;
    let runtime = runtime(1)?;
    runtime.block_on(lean::fill(&host.dial, net.keys, net.value_bytes))?;
    // 2. The case.
    let found = match case {
        CrowdCase::Behind => runtime.block_on(behind::measure(&host, settings)),
        CrowdCase::Idle => runtime.block_on(idle::measure(&host, settings)),
        CrowdCase::Watch => watch::measure(&host, settings),
        CrowdCase::Deaf => deaf::measure(&host, settings),
    };
    // 3. Removes the store.
    drop((runtime, host));
    let _ = fs::remove_dir_all(&dir);
    found
}
