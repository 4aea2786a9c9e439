//! The cases of a family, measured in turns (BENCH-1), and again where something disturbed.

use super::case::CaseSuite;
use super::draws::shuffled;
use super::error::BenchError;
use super::interference::{Found, Interference};
use super::measure::Sample;
use super::report::Results;
use super::stage::Stage;
use super::stop;

/// Measurements that were disturbed.
#[derive(Default)]
struct Disturbed {
    measured: usize,
    again: usize,
    worst: Option<(String, Found)>,
    /// Those that were disturbed each time.
    left: Vec<String>,
}

/// Measures all cases, round after round.
pub(super) fn measure_suite(
    suite: &mut dyn CaseSuite,
    stage: &Stage<'_>,
) -> Result<Results, BenchError> {
    let cases = suite.cases().to_vec();
    let rounds = suite.rounds(stage.settings.rounds);
    let mut results = Results::new(cases);
    // Who has no figures in this family, and which cases have none: their processes ended.
    let (mut failed, mut ended) = (Vec::new(), Vec::new());
    let mut disturbed = Disturbed::default();
    stage.gauge.expect_measurements(u64::from(rounds) * results.cases.len() as u64);
    'rounds: for round in 0..rounds {
        for index in shuffled(results.cases.len(), round, stage.settings.seed) {
            if stop::is_asked() {
                break 'rounds;
            }
            let case = &results.cases[index];
            let contender = case.contender;
            let label = case.label(stage.name(contender));
            let turn = format!("round {} of {rounds}: {label}", round + 1);
            stage.gauge.now(turn.clone());
            if !failed.contains(&contender) && !ended.contains(&index) {
                let measure = || {
                    let before = Interference::now();
                    let sample = suite.measure(index)?;
                    Ok((sample, before.since()))
                };
                match disturbed.measure(measure, stage.settings.again, &turn) {
                    Ok((sample, found)) => results.add(index, sample, found.disturbs()),
                    // Ctrl-C ends the processes that are measured as well.
                    Err(_) if stop::is_asked() => break 'rounds,
                    Err(error) => {
                        let is_of_all = !matches!(error, BenchError::Child { .. });
                        stage.peer_failed(contender, &label, error)?;
                        if is_of_all {
                            failed.push(contender);
                        } else {
                            ended.push(index);
                        }
                    }
                }
            }
            stage.gauge.measured();
        }
    }
    suite.end()?;
    results.forget(&failed, &ended);
    disturbed.tell(&results, stage);
    Ok(results)
}

impl Disturbed {
    /// Measures until nothing disturbs, at most `again` times more. Returns the least disturbed of the
    /// tries.
    fn measure(
        &mut self,
        mut measure: impl FnMut() -> Result<(Sample, Found), BenchError>,
        again: u32,
        turn: &str,
    ) -> Result<(Sample, Found), BenchError> {
        self.measured += 1;
        let mut best = measure()?;
        for _ in 0..again {
            if !best.1.disturbs() || stop::is_asked() {
                break;
            }
            self.again += 1;
            self.note(turn, best.1);
            let next = measure()?;
            if next.1.worst() < best.1.worst() {
                best = next;
            }
        }
        if best.1.disturbs() {
            self.note(turn, best.1);
            self.left.push(format!("{turn} ({})", best.1));
        }
        Ok(best)
    }

    fn note(&mut self, turn: &str, found: Found) {
        if self.worst.as_ref().is_none_or(|(_, known)| found.worst() > known.worst()) {
            self.worst = Some((turn.to_owned(), found));
        }
    }

    /// One warning for the family.
    fn tell(self, results: &Results, stage: &Stage<'_>) {
        const NAMED: usize = 3;
        let Some((worst, found)) = self.worst else { return };
        let family = results.cases.first().map_or("", |case| case.workload);
        let mut text = format!(
            "{family}: other processes or other machines of the host disturbed; {} more measurements \
             were made for {}; the worst: {worst} ({found})",
            self.again, self.measured
        );
        if !self.left.is_empty() {
            let named = self.left[..self.left.len().min(NAMED)].join("; ");
            text += &format!(". Disturbed each time: {}, as {named}", self.left.len());
        }
        stage.warnings.borrow_mut().push(text);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Measures while others use these parts of a processor, one try after the other. Returns the
    /// operations of the try that was kept, and the account.
    fn measure(others: &[f64], again: u32) -> (u64, Disturbed) {
        let mut disturbed = Disturbed::default();
        let mut tries = others.iter().zip(1..);
        let next = || {
            let (others, number) = tries.next().expect("no more tries than there may be");
            Ok((Sample::once(number, number, Duration::from_secs(1)), Found::by_others(*others)))
        };
        let (sample, _) = disturbed.measure(next, again, "round 1").unwrap();
        (sample.rows_in_all, disturbed)
    }

    #[test]
    fn a_disturbed_measurement_is_made_again() {
        let (kept, account) = measure(&[0.0], 2);
        assert_eq!((kept, account.again, account.left.len()), (1, 0, 0));
        assert!(account.worst.is_none());
        let (kept, account) = measure(&[0.5, 0.0], 2);
        assert_eq!((kept, account.again, account.left.len()), (2, 1, 0));
        assert!(account.worst.is_some());
    }

    #[test]
    fn the_least_disturbed_try_is_kept_and_named() {
        let (kept, account) = measure(&[0.5, 0.3, 0.9], 2);
        assert_eq!((kept, account.again), (2, 2));
        assert_eq!(account.left, ["round 1 (steal 0 %, others 30 %)"]);
        let (kept, account) = measure(&[0.5], 0);
        assert_eq!((kept, account.again, account.left.len()), (1, 0, 1));
    }
}
