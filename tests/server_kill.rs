//! A short run of the crash suite's killed servers, through the built program.
#![cfg(unix)]

use std::path::Path;
use std::time::Duration;

use syncline::torture::{Config, Progress, Suite, Tier, server};

#[test]
fn a_killed_server_loses_no_acknowledged_write() {
    let temp = tempfile::tempdir().unwrap();
    let seed = std::env::var("SYNCLINE_SEED").ok().map(|seed| seed.parse().expect("a number"));
    let config = Config {
        tier: Tier::Smoke,
        suites: vec![Suite::Server],
        seed: seed.unwrap_or_else(|| u64::from(std::process::id())),
        workers: 1,
        limit: Some(Duration::from_secs(2)),
        directory: Some(temp.path().to_owned()),
        failures: temp.path().join("failures"),
    };
    println!("replay (the moments differ): SYNCLINE_SEED={}", config.seed);
    let program = Path::new(env!("CARGO_BIN_EXE_syncline"));
    let (summary, failures) = server::run_program(program, &config, &Progress::default());
    println!("{summary:#?}");
    if let Some(failure) = failures.first() {
        let kept = temp.keep();
        panic!("kept {}: {failure:#?}", kept.display());
    }
    assert!(summary.kills > 0 && summary.writes.values().sum::<u64>() > 100, "{summary:#?}");
    assert!(summary.jobs["durable"] > 0, "{summary:#?}");
}
