//! A short run of the crash suite's kill tier, through the built program.
#![cfg(target_os = "linux")]

use std::path::Path;
use std::time::Duration;

use syncline::torture::{Config, Progress, Suite, Tier, kill};

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
    let (summary, failures) = kill::run_program(program, &config, None, &Progress::default());
    println!("{summary:#?}");
    if let Some(failure) = failures.first() {
        let kept = temp.keep();
        panic!("kept {}: {failure:#?}", kept.display());
    }
    assert!(summary.cycles > 0, "{summary:#?}");
    assert!(summary.sync_commits > 0 && summary.async_commits > 0, "{summary:#?}");
}
