//! Rows that belong side by side, their titles, and the looks of their engines.

use super::super::engine::Guarantee;
use super::super::record::{FLOOR, Record, Row, SYNCLINE};
use super::lanes::LaneOwner;
use super::plot::LOOKS;
use crate::tools::present::figures::{bytes, many, many_tick};
use crate::tools::present::text::{count, counted};

/// The workloads of a store that is served.
pub(in crate::tools::bench) const SERVED: [&str; 3] = ["server", "patterns", "crowd"];

/// Rows that measure the same thing with the same guarantee.
#[derive(Clone, Debug)]
pub(super) struct Comparison<'a> {
    pub(super) guarantee: Option<Guarantee>,
    pub(super) rows: Vec<&'a Row>,
}

impl<'a> Comparison<'a> {
    /// The groups of `rows`, in the order in which they come.
    pub(super) fn all(rows: &[&'a Row]) -> Vec<Comparison<'a>> {
        let is_alike = |a: &Row, b: &Row| a.guarantee == b.guarantee && is_like(a, b);
        let groups = grouped(rows.iter().copied(), is_alike).into_iter();
        groups.map(|rows| Comparison { guarantee: rows[0].guarantee, rows }).collect()
    }

    /// The work, in words.
    pub(super) fn title(&self, usual: Usual) -> String {
        usual.load(self.rows[0])
    }
}

/// Groups of rows that are alike, in the order in which they come.
pub(in crate::tools::bench) fn grouped<'a>(
    rows: impl IntoIterator<Item = &'a Row>,
    is_alike: impl Fn(&Row, &Row) -> bool,
) -> Vec<Vec<&'a Row>> {
    let mut groups: Vec<Vec<&Row>> = Vec::new();
    for row in rows {
        match groups.iter_mut().find(|group| is_alike(group[0], row)) {
            Some(group) => group.push(row),
            None => groups.push(vec![row]),
        }
    }
    groups
}

/// Whether both rows are of the same work, by any engine in any mode.
pub(in crate::tools::bench) fn is_like(a: &Row, b: &Row) -> bool {
    a.threads == b.threads && is_like_except_threads(a, b)
}

/// The same, with any number of threads.
pub(in crate::tools::bench) fn is_like_except_threads(a: &Row, b: &Row) -> bool {
    a.keys == b.keys && is_like_except_threads_and_keys(a, b)
}

/// The same, with any number of threads and of keys.
pub(super) fn is_like_except_threads_and_keys(a: &Row, b: &Row) -> bool {
    a.workload == b.workload
        && a.variant == b.variant
        && a.value_bytes == b.value_bytes
        && a.batch == b.batch
        && a.distribution == b.distribution
        && a.rate == b.rate
}

/// The owner of a row.
pub(super) fn owner(row: &Row) -> LaneOwner {
    match &*row.engine {
        SYNCLINE => LaneOwner::Ours,
        _ if row.is_floor() => LaneOwner::Floor,
        _ => LaneOwner::Peer,
    }
}

/// Defaults, which a title does not repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tools::bench) struct Usual {
    /// The size of most rows' values; 0 if rows do not say.
    pub(in crate::tools::bench) value_bytes: usize,
    /// The number of keys of the run.
    pub(in crate::tools::bench) keys: u64,
}

impl Usual {
    /// The values of most rows.
    pub(in crate::tools::bench) fn of(record: &Record) -> Usual {
        let rows = || record.results.iter().filter(|row| row.workload != "flush");
        let count = |bytes: usize| rows().filter(|row| row.value_bytes == bytes).count();
        let sizes = rows().map(|row| row.value_bytes).filter(|bytes| *bytes > 0);
        let value_bytes = sizes.max_by_key(|bytes| (count(*bytes), *bytes)).unwrap_or(0);
        Usual { value_bytes, keys: record.run.keys }
    }

    /// The work, with the number of threads.
    pub(in crate::tools::bench) fn load(self, row: &Row) -> String {
        let threads = match row.threads {
            0 => None,
            threads => Some(counted(threads as u64, unit(row))),
        };
        let mut parts: Vec<String> = self.parts(row);
        parts.splice(1..1, threads);
        parts.join(", ")
    }

    /// The work, without the number of threads.
    pub(in crate::tools::bench) fn load_without_threads(self, row: &Row) -> String {
        self.parts(row).join(", ")
    }

    fn parts(self, row: &Row) -> Vec<String> {
        let what = match (&*row.workload, &*row.variant) {
            (workload, "") => workload.to_owned(),
            ("mixed", variant) => format!("YCSB {variant}"),
            (workload, variant) if SERVED.contains(&workload) => variant.to_owned(),
            (workload, variant) if variant.starts_with(workload) => variant.to_owned(),
            (workload, variant) => format!("{workload} {variant}"),
        };
        let mut parts = vec![what];
        if row.batch > 1 {
            parts.push(format!("{} puts a commit", count(row.batch as u64)));
        }
        if row.value_bytes > 0 && row.value_bytes != self.value_bytes {
            parts.push(format!("values of {}", bytes(row.value_bytes as u64)));
        }
        if row.keys > 0 && row.keys != self.keys && self.keys > 0 {
            parts.push(format!("{} keys", many_tick(row.keys as f64)));
        }
        if !row.distribution.is_empty() && !parts[0].contains(&row.distribution) {
            parts.push(row.distribution.clone());
        }
        if let Some(rate) = row.rate {
            parts.push(format!("{} a second asked for", many(rate)));
        }
        parts
    }
}

/// The unit of a row's number of threads: for a server these are connections.
fn unit(row: &Row) -> &'static str {
    if SERVED.contains(&&*row.workload) { "connection" } else { "thread" }
}

/// The guarantee of a commit.
pub(in crate::tools::bench) fn survives(guarantee: Option<Guarantee>) -> &'static str {
    match guarantee {
        Some(Guarantee::PowerLoss) => "survives a power loss",
        Some(Guarantee::ProcessEnd) => "survives a kill",
        Some(Guarantee::Nothing) => "survives nothing",
        None => "",
    }
}

/// The look of an engine, the same in every chart: ours is the first one.
pub(super) fn look(name: &str, record: &Record) -> usize {
    let is_peer = |name: &str| name != SYNCLINE && name != FLOOR;
    let mut peers = record.engines.iter().filter(|engine| is_peer(&engine.name));
    match peers.position(|engine| engine.name == name) {
        _ if name == SYNCLINE => 0,
        Some(index) => 1 + index % (LOOKS - 1),
        None => LOOKS - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_work_is_compared() {
        let row = |engine: &str, guarantee, threads| Row {
            workload: "commit".into(),
            variant: "put".into(),
            engine: engine.into(),
            guarantee: Some(guarantee),
            threads,
            value_bytes: 150,
            batch: 1,
            ..Row::default()
        };
        let (kill, power) = (Guarantee::ProcessEnd, Guarantee::PowerLoss);
        let rows = [
            row(SYNCLINE, kill, 1),
            row(SYNCLINE, power, 1),
            row("other", kill, 1),
            row("other", kill, 2),
        ];
        let groups = Comparison::all(&rows.iter().collect::<Vec<_>>());
        let sizes: Vec<usize> = groups.iter().map(|group| group.rows.len()).collect();
        assert_eq!(sizes, [2, 1, 1]);
        let title = |value_bytes| groups[0].title(Usual { value_bytes, keys: 0 });
        assert_eq!(title(0), "commit put, 1 thread, values of 150 B");
        assert_eq!(title(150), "commit put, 1 thread");
        assert_eq!(owner(&rows[0]), LaneOwner::Ours);
        assert_eq!(owner(&rows[2]), LaneOwner::Peer);
    }

    #[test]
    fn loads_have_titles() {
        let row = Row {
            workload: "mixed".into(),
            variant: "A".into(),
            threads: 2,
            batch: 1000,
            distribution: "zipfian".into(),
            rate: Some(5000.0),
            ..Row::default()
        };
        let usual = Usual { value_bytes: 0, keys: 1000 };
        let expected = "YCSB A, 2 threads, 1,000 puts a commit, zipfian, 5.00 k a second asked for";
        assert_eq!(usual.load(&row), expected);
        let row = Row { workload: "hot".into(), ..Row::default() };
        assert_eq!(usual.load(&row), "hot");
        let row = Row {
            workload: "read".into(),
            variant: "zipfian".into(),
            distribution: "zipfian".into(),
            keys: 4_000_000,
            ..Row::default()
        };
        assert_eq!(usual.load(&row), "read zipfian, 4 M keys");
    }
}
