//! `bench`: hands the call to [`crate::bench`].

use std::io;
use std::time::Duration;

use super::args::{BenchArgs, Workload};
use super::failure::{Failure, Outcome, Status};
use crate::bench::{self, Family, Settings};

pub(super) fn bench(args: BenchArgs) -> Outcome {
    let seconds = Duration::try_from_secs_f64(args.seconds).ok().filter(|time| !time.is_zero());
    let Some(measure_time) = seconds else {
        return Err(Failure::Usage(format!("--seconds {}: not a length of time", args.seconds)));
    };
    let mut families: Vec<Family> = args.workload.into_iter().map(Family::from).collect();
    families.sort_unstable();
    families.dedup();
    bench::run(&Settings {
        dir: args.dir,
        measure_time,
        rounds: args.rounds,
        keys: args.keys,
        cache_bytes: args.cache_mib << 20,
        families,
        json: args.json,
    })
    .map_err(|error| match error {
        bench::BenchError::Store(error) => Failure::Store(error),
        bench::BenchError::Io { action, source } => Failure::Io { action, source },
        bench::BenchError::Output(source) => Failure::output(source),
        bench::BenchError::Engine { engine, message } => {
            Failure::Io { action: format!("run {engine}"), source: io::Error::other(message) }
        }
    })?;
    Ok(Status::Done)
}

impl From<Workload> for Family {
    fn from(workload: Workload) -> Family {
        match workload {
            Workload::Commit => Family::Commit,
            Workload::Read => Family::Read,
            Workload::Scan => Family::Scan,
        }
    }
}
