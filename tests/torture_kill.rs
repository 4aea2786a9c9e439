//! A short run of the crash suite's kill tier, through the built program.
#![cfg(target_os = "linux")]

use std::path::Path;
use std::time::Duration;

use syncline::torture::{Config, FailureKind, Progress, Suite, Tier, kill};

#[test]
fn killed_processes_lose_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let seed = std::env::var("SYNCLINE_SEED").ok().map(|seed| seed.parse().expect("a number"));
    let config = Config {
        tier: Tier::Smoke,
        suites: vec![Suite::Kill],
        seed: seed.unwrap_or_else(|| u64::from(std::process::id())),
        workers: 2,
        limit: Some(Duration::from_secs_f64(
            std::env::var("SYNCLINE_KILL_SECONDS").map_or(2.0, |s| s.parse().expect("seconds")),
        )),
        directory: Some(temp.path().to_owned()),
        failures: temp.path().join("failures"),
    };
    println!("replay (the moments differ): SYNCLINE_SEED={}", config.seed);
    let program = Path::new(env!("CARGO_BIN_EXE_syncline"));
    let killed =
        kill::run_program(program, &config, kill::Limits::default(), &Progress::default());
    println!("{:#?}", killed.summary);
    if let Some(failure) = killed.failures.first() {
        let kept = temp.keep();
        panic!("kept {}: {failure:#?}", kept.display());
    }
    assert!(!killed.failures.iter().any(|failure| failure.kind == FailureKind::Harness));
    assert!(killed.summary.cycles > 0, "{:#?}", killed.summary);
}
