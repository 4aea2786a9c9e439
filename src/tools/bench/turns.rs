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
    let mut failed = Vec::new();
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
            if !failed.contains(&contender) {
                match measure_undisturbed(suite, index, stage, &turn, &mut disturbed) {
                    Ok((sample, found)) => results.add(index, sample, found.disturbs()),
                    // Ctrl-C ends the processes that are measured as well.
                    Err(_) if stop::is_asked() => break 'rounds,
                    Err(error) => {
                        stage.peer_failed(contender, &label, error)?;
                        failed.push(contender);
                    }
                }
            }
            stage.gauge.measured();
        }
    }
    suite.end()?;
    results.forget(&failed);
    disturbed.tell(&results, stage);
    Ok(results)
}

/// Measures a case until nothing disturbs, at most as often as the settings say. Returns the least
/// disturbed of the tries.
fn measure_undisturbed(
    suite: &mut dyn CaseSuite,
    index: usize,
    stage: &Stage<'_>,
    turn: &str,
    disturbed: &mut Disturbed,
) -> Result<(Sample, Found), BenchError> {
    disturbed.measured += 1;
    let mut best: Option<(Sample, Found)> = None;
    for attempt in 0..=stage.settings.again {
        let before = Interference::now();
        let sample = suite.measure(index)?;
        let found = before.since();
        if best.as_ref().is_none_or(|(_, known)| found.worst() < known.worst()) {
            best = Some((sample, found));
        }
        if !found.disturbs() || stop::is_asked() {
            break;
        }
        disturbed.note(turn, found, attempt < stage.settings.again);
    }
    let (sample, found) = best.expect("one try at least");
    if found.disturbs() {
        disturbed.left.push(format!("{turn} ({found})"));
    }
    Ok((sample, found))
}

impl Disturbed {
    fn note(&mut self, turn: &str, found: Found, is_made_again: bool) {
        self.again += usize::from(is_made_again);
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
        stage.failures.borrow_mut().push(text);
    }
}
