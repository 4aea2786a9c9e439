//! Rows of the result from samples: medians over the rounds, and ratios.
//!
//! Every ratio is taken within a round and is the median of those (BENCH-1):
//!
//! | ratio to floor | is | better |
//! |---|---|---|
//! | throughput | operations per second / those of the floor | higher |
//! | p50 latency | median latency / that of the floor | lower |
//! | device bytes | device bytes per user byte / those of the floor | lower |
//!
//! Of several floors it is the best of that round.
//!
//! The ratio to the best peer compares the same figures, but always says how many times as good
//! ours is. The peer is the best one of that round, which is harder on us than any single peer
//! over all rounds.

use hdrhistogram::Histogram;

use super::case::{Case, Contender};
use super::measure::{Sample, new_histogram};
use super::record::{DISK_BYTES, Figure, Moment, Ratio, Row, Spread};
use super::stage::Stage;

/// All samples of cases that were measured in turns.
#[derive(Debug)]
pub(super) struct Results {
    pub(super) cases: Vec<Case>,
    /// By case, then by round.
    rounds: Vec<Vec<Round>>,
    /// By case: the latencies of all rounds.
    latency_ns: Vec<Histogram<u64>>,
}

/// The figures of a sample.
#[derive(Clone, Debug, Default)]
struct Round {
    ops_per_s: f64,
    rows_per_op: f64,
    p50_us: f64,
    p90_us: f64,
    p99_us: f64,
    p999_us: f64,
    max_us: f64,
    commits_per_flush: Option<f64>,
    cpu_us_per_op: Option<f64>,
    device_bytes_per_user_byte: Option<f64>,
    dirtied_bytes_per_user_byte: Option<f64>,
    is_disturbed: bool,
    course: Vec<Moment>,
    figures: Vec<Figure>,
}

impl Round {
    fn of(sample: Sample) -> Round {
        Round {
            ops_per_s: sample.ops_per_s,
            rows_per_op: sample.rows_per_op,
            p50_us: sample.quantile_us(0.5),
            p90_us: sample.quantile_us(0.9),
            p99_us: sample.quantile_us(0.99),
            p999_us: sample.quantile_us(0.999),
            max_us: sample.latency_ns.max() as f64 / 1000.0,
            commits_per_flush: sample.commits_per_flush,
            cpu_us_per_op: sample.cpu_us_per_op,
            device_bytes_per_user_byte: sample.device_bytes_per_user_byte,
            dirtied_bytes_per_user_byte: sample.dirtied_bytes_per_user_byte,
            is_disturbed: false,
            course: sample.course,
            figures: sample.figures,
        }
    }

    fn figure(&self, name: &str) -> Option<f64> {
        self.figures.iter().find(|figure| figure.name == name).map(|figure| figure.value)
    }

    /// The figure that `ratio` compares, unless it is 0.
    fn compared(&self, ratio: Ratio) -> Option<f64> {
        let figure = match ratio {
            Ratio::Throughput => Some(self.ops_per_s),
            Ratio::MedianLatency => Some(self.p50_us),
            Ratio::DeviceBytes => self.device_bytes_per_user_byte,
            Ratio::DiskBytes => self.figure(DISK_BYTES),
        };
        figure.filter(|figure| *figure > 0.0)
    }
}

/// How many times as good `ours` is as `theirs`.
fn times_as_good(ratio: Ratio, ours: f64, theirs: f64) -> f64 {
    match ratio {
        Ratio::Throughput => ours / theirs,
        Ratio::MedianLatency | Ratio::DeviceBytes | Ratio::DiskBytes => theirs / ours,
    }
}

impl Results {
    pub(super) fn new(cases: Vec<Case>) -> Results {
        let rounds = vec![Vec::new(); cases.len()];
        let latency_ns = cases.iter().map(|_| new_histogram()).collect();
        Results { cases, rounds, latency_ns }
    }

    /// One more round of a case.
    pub(super) fn add(&mut self, case: usize, sample: Sample, is_disturbed: bool) {
        self.latency_ns[case].add(&sample.latency_ns).expect("the same bounds");
        self.rounds[case].push(Round { is_disturbed, ..Round::of(sample) });
    }

    /// Drops the rounds of engines that failed, and of single cases.
    pub(super) fn forget(&mut self, failed: &[Contender], ended: &[usize]) {
        for (index, (case, rounds)) in self.cases.iter().zip(&mut self.rounds).enumerate() {
            if failed.contains(&case.contender) || ended.contains(&index) {
                rounds.clear();
            }
        }
    }

    /// The rows of the result.
    pub(super) fn rows(&self, stage: &Stage<'_>) -> Vec<Row> {
        let measured = (0..self.cases.len()).filter(|index| !self.rounds[*index].is_empty());
        measured.map(|index| self.row(index, stage)).collect()
    }

    fn row(&self, index: usize, stage: &Stage<'_>) -> Row {
        let case = &self.cases[index];
        let rounds = &self.rounds[index];
        let median = |of: fn(&Round) -> f64| {
            Spread::of(rounds.iter().map(of)).expect("at least one round").median
        };
        let optional = |of: fn(&Round) -> Option<f64>| {
            Spread::of(rounds.iter().filter_map(of)).map(|spread| spread.median)
        };
        let (to_floor, floor) = self.to_best_floor(index).unzip();
        let to_single = self.undisturbed(case);
        let to_single = to_single.and_then(|single| self.ratio(index, single, Ratio::Throughput));
        let (to_peer, peer) = self.to_best_peer(index).unzip();
        Row {
            workload: case.workload.to_owned(),
            variant: case.variant.to_owned(),
            engine: stage.name(case.contender).to_owned(),
            mode: case.mode.to_owned(),
            guarantee: case.guarantee,
            threads: case.threads,
            value_bytes: case.value_bytes,
            batch: case.batch,
            distribution: case.distribution.to_owned(),
            rate: case.rate,
            ops_per_s: median(|round| round.ops_per_s),
            rows_per_op: median(|round| round.rows_per_op),
            p50_us: median(|round| round.p50_us),
            p90_us: median(|round| round.p90_us),
            p99_us: median(|round| round.p99_us),
            p999_us: median(|round| round.p999_us),
            max_us: median(|round| round.max_us),
            latency: points(&self.latency_ns[index]),
            commits_per_flush: optional(|round| round.commits_per_flush),
            cpu_us_per_op: optional(|round| round.cpu_us_per_op),
            device_bytes_per_user_byte: optional(|round| round.device_bytes_per_user_byte),
            dirtied_bytes_per_user_byte: optional(|round| round.dirtied_bytes_per_user_byte),
            ratio_to_floor: to_floor.map(|spread: Spread| spread.median),
            ratio_is: case.ratio,
            floor: floor.map(|floor| self.cases[floor].mode.to_owned()),
            ratio_to_1_thread: to_single.map(|spread| spread.median),
            ratio_to_best_peer: to_peer.map(|spread: Spread| spread.median),
            peer_ratio_is: case.peer_ratio,
            best_peer: peer.map(|peer| stage.name(peer).to_owned()),
            rounds: rounds.len(),
            seconds: stage.settings.measure_time.as_secs_f64(),
            keys: case.keys.unwrap_or(stage.settings.keys),
            ops_per_s_spread: Spread::of(rounds.iter().map(|round| round.ops_per_s))
                .expect("at least one round"),
            ratio_to_floor_spread: to_floor,
            ratio_to_best_peer_spread: to_peer,
            disturbed: rounds.iter().filter(|round| round.is_disturbed).count(),
            note: case.note.to_owned(),
            course: rounds.last().map_or_else(Vec::new, |round| round.course.clone()),
            figures: figures(rounds),
        }
    }

    /// The ratio of the figures of two cases, over the rounds.
    fn ratio(&self, index: usize, other: usize, ratio: Ratio) -> Option<Spread> {
        let pairs = self.rounds[index].iter().zip(&self.rounds[other]);
        Spread::of(
            pairs
                .filter_map(|(round, other)| Some(round.compared(ratio)? / other.compared(ratio)?)),
        )
    }

    /// The case that does the same in one thread, undisturbed.
    fn undisturbed(&self, case: &Case) -> Option<usize> {
        let mut wanted = Case { threads: 1, ..case.clone() };
        wanted.variant = case.undisturbed.unwrap_or(case.variant);
        self.cases.iter().position(|other| {
            let same_mode = other.mode == case.mode || case.undisturbed.is_some();
            other.contender == case.contender && same_mode && other.is_like(&wanted)
        })
    }

    /// The ratio to the best floor of each round, and the floor that was best in most.
    fn to_best_floor(&self, index: usize) -> Option<(Spread, usize)> {
        let case = &self.cases[index];
        let (of_rounds, best) = self.to_best(index, &case.floors, case.ratio)?;
        let ratio = |times: f64| match case.ratio {
            Ratio::Throughput => times,
            _ => 1.0 / times,
        };
        Some((Spread::of(of_rounds.into_iter().map(ratio))?, best))
    }

    /// Of our own cases: how many times as good they are as the best peer of each round, and the
    /// peer that was best in most rounds.
    fn to_best_peer(&self, index: usize) -> Option<(Spread, Contender)> {
        let case = &self.cases[index];
        if case.contender != Contender::SYNCLINE || !case.note.is_empty() {
            return None;
        }
        let is_peer = |peer: &usize| {
            let peer = &self.cases[*peer];
            let is_peer = matches!(peer.contender, Contender::Engine(_))
                && peer.contender != Contender::SYNCLINE;
            is_peer && peer.guarantee == case.guarantee && peer.is_like(case)
        };
        let peers: Vec<usize> = (0..self.cases.len()).filter(is_peer).collect();
        let (of_rounds, best) = self.to_best(index, &peers, case.peer_ratio)?;
        Some((Spread::of(of_rounds)?, self.cases[best].contender))
    }

    /// How many times as good a case is as the best of `others` in each round, and the one of them that
    /// was best in most.
    fn to_best(&self, index: usize, others: &[usize], ratio: Ratio) -> Option<(Vec<f64>, usize)> {
        let of_round = |round: usize| {
            let ours = self.rounds[index][round].compared(ratio)?;
            let times = |other: &usize| {
                let theirs = self.rounds[*other].get(round)?.compared(ratio)?;
                Some((times_as_good(ratio, ours, theirs), *other))
            };
            // The best is the one with our lowest ratio.
            others.iter().filter_map(times).min_by(|a, b| a.0.total_cmp(&b.0))
        };
        let best: Vec<(f64, usize)> = (0..self.rounds[index].len()).filter_map(of_round).collect();
        let times = |other: usize| best.iter().filter(|(_, known)| *known == other).count();
        let most = best.iter().map(|(_, other)| *other).max_by_key(|other| times(*other))?;
        Some((best.into_iter().map(|(times, _)| times).collect(), most))
    }
}

/// The medians of the figures of the same name.
fn figures(rounds: &[Round]) -> Vec<Figure> {
    let mut medians: Vec<Figure> = Vec::new();
    for figure in rounds.iter().flat_map(|round| &round.figures) {
        if medians.iter().any(|known| known.name == figure.name) {
            continue;
        }
        let all = rounds.iter().flat_map(|round| &round.figures);
        let same = all.filter(|other| other.name == figure.name).map(|other| other.value);
        let value = Spread::of(same).expect("one at least").median;
        medians.push(Figure { value, ..figure.clone() });
    }
    medians
}

/// The distribution for a chart: as many quantiles as the number of operations can tell apart.
pub(super) fn points(latency_ns: &Histogram<u64>) -> Vec<(f64, f64)> {
    const STEPS_IN_TEN: [f64; 6] = [1.0, 0.75, 0.5, 0.4, 0.25, 0.15];
    let count = latency_ns.len();
    if count == 0 {
        return Vec::new();
    }
    let us = |quantile: f64| latency_ns.value_at_quantile(quantile) as f64 / 1000.0;
    let mut points: Vec<(f64, f64)> = Vec::new();
    let mut scale = 1.0;
    while scale * count as f64 >= 1.0 {
        for step in STEPS_IN_TEN {
            // 0, 0.25, 0.5, 0.6, 0.75, 0.85, 0.9, 0.925, ...; rounded, for people.
            let quantile = ((1.0 - scale * step) * 1e9).round() / 1e9;
            points.push((quantile, us(quantile)));
        }
        scale /= 10.0;
    }
    points.push((1.0, latency_ns.max() as f64 / 1000.0));
    points
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::tools::bench::engine::Guarantee;

    fn case(contender: Contender, mode: &'static str, threads: usize) -> Case {
        let guarantee = Some(Guarantee::ProcessEnd);
        Case {
            contender,
            mode,
            guarantee,
            threads,
            floors: vec![0],
            ..Case::new("commit", "put", 150)
        }
    }

    /// Operations per second, in each round.
    fn results(cases: &[(Case, &[f64])]) -> Results {
        let mut results = Results::new(cases.iter().map(|(case, _)| case.clone()).collect());
        for (index, (_, rounds)) in cases.iter().enumerate() {
            for ops in *rounds {
                let sample = Sample::once(1, 1, Duration::from_secs_f64(1.0 / ops));
                results.add(index, sample, false);
            }
        }
        results
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let (ours, one, other) = (Contender::SYNCLINE, Contender::Engine(1), Contender::Engine(2));
        let results = results(&[
            (case(Contender::Floor, "pwrite", 1), &[100.0, 1000.0, 50.0]),
            (case(ours, "async", 1), &[50.0, 400.0, 40.0]),
            (case(one, "nosync", 1), &[25.0, 100.0, 10.0]),
            (case(other, "lazy", 1), &[10.0, 200.0, 20.0]),
            (Case { guarantee: None, ..case(one, "wild", 1) }, &[1e6, 1e6, 1e6]),
            (case(ours, "async", 2), &[100.0, 1000.0, 40.0]),
        ]);
        let near = |spread: Spread, min: f64, median: f64, max: f64| {
            let close = |a: f64, b: f64| (a / b - 1.0).abs() < 0.01;
            close(spread.min, min) && close(spread.median, median) && close(spread.max, max)
        };
        let to_floor = results.ratio(1, 0, Ratio::Throughput).unwrap();
        assert!(near(to_floor, 0.4, 0.5, 0.8), "{to_floor:?}");
        let latency = results.ratio(1, 0, Ratio::MedianLatency).unwrap();
        assert!(near(latency, 1.25, 2.0, 2.5), "{latency:?}");
        // Against the best of each round: 25, 200, 20. The one without a guarantee is no peer.
        let (to_peer, contender) = results.to_best_peer(1).unwrap();
        assert!(near(to_peer, 2.0, 2.0, 2.0), "{to_peer:?}");
        assert_eq!(contender, other);
        assert!(results.to_best_peer(2).is_none() && results.to_best_peer(5).is_none());
        let to_single = results.undisturbed(&results.cases[5]);
        assert_eq!(to_single, Some(1));
    }

    #[test]
    fn above_one_we_are_ahead_whatever_is_compared() {
        assert_eq!(times_as_good(Ratio::Throughput, 30.0, 10.0), 3.0);
        assert_eq!(times_as_good(Ratio::MedianLatency, 10.0, 30.0), 3.0);
        assert_eq!(times_as_good(Ratio::DeviceBytes, 30.0, 10.0), 1.0 / 3.0);
        assert_eq!(Round::default().compared(Ratio::Throughput), None);
        assert_eq!(Round::default().compared(Ratio::DeviceBytes), None);
    }

    #[test]
    fn the_points_of_a_distribution_ascend_to_the_longest() {
        let mut latency_ns = new_histogram();
        for us in 1..=1000 {
            latency_ns.record(us * 1000).unwrap();
        }
        let points = points(&latency_ns);
        assert!(points.is_sorted(), "{points:?}");
        let (last, max) = *points.last().unwrap();
        assert!(last == 1.0 && (1000.0..1001.0).contains(&max));
        assert!(points.iter().any(|(quantile, _)| *quantile == 0.999), "{points:?}");
        assert!(points.iter().all(|(quantile, _)| *quantile < 0.99991 || *quantile == 1.0));
        assert!(super::points(&new_histogram()).is_empty());
    }
}
