//! Which rows belong side by side, and how that is said.

use super::super::engine::Guarantee;
use super::super::record::{Record, Row, SYNCLINE};
use super::lanes::Who;
use super::net::WORKLOADS as NET;
use crate::tools::present::figures::{bytes, many};
use crate::tools::present::text::{count, counted};

/// Rows that measure the same thing and promise the same.
#[derive(Clone, Debug)]
pub(super) struct Group<'a> {
    pub(super) guarantee: Option<Guarantee>,
    pub(super) rows: Vec<&'a Row>,
}

impl<'a> Group<'a> {
    /// The groups of `rows`, in the order in which they come.
    pub(super) fn all(rows: &[&'a Row]) -> Vec<Group<'a>> {
        let mut groups: Vec<Group<'a>> = Vec::new();
        for row in rows {
            let known = groups
                .iter_mut()
                .find(|group| group.guarantee == row.guarantee && is_like(group.rows[0], row));
            match known {
                Some(group) => group.rows.push(row),
                None => groups.push(Group { guarantee: row.guarantee, rows: vec![row] }),
            }
        }
        groups
    }

    /// What was done, in words.
    pub(super) fn title(&self, usual: Usual) -> String {
        usual.load(self.rows[0])
    }
}

/// Whether both measure the same, whoever does it and whatever it promises.
pub(super) fn is_like(a: &Row, b: &Row) -> bool {
    a.threads == b.threads && is_like_but_for_threads(a, b)
}

/// The same, with as many threads as may be.
pub(super) fn is_like_but_for_threads(a: &Row, b: &Row) -> bool {
    a.workload == b.workload
        && a.variant == b.variant
        && a.value_bytes == b.value_bytes
        && a.batch == b.batch
        && a.distribution == b.distribution
        && a.rate == b.rate
}

/// Whose row it is.
pub(super) fn who(row: &Row) -> Who {
    match &*row.engine {
        SYNCLINE => Who::Ours,
        _ if row.is_floor() => Who::Floor,
        _ => Who::Peer,
    }
}

/// What needs no words, since it is so unless something else is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Usual {
    /// The size of most rows' values; 0 if rows do not say.
    pub(super) value_bytes: usize,
}

impl Usual {
    /// What most rows have.
    pub(super) fn of(record: &Record) -> Usual {
        let rows = || record.results.iter().filter(|row| row.workload != "flush");
        let count = |bytes: usize| rows().filter(|row| row.value_bytes == bytes).count();
        let sizes = rows().map(|row| row.value_bytes).filter(|bytes| *bytes > 0);
        Usual { value_bytes: sizes.max_by_key(|bytes| (count(*bytes), *bytes)).unwrap_or(0) }
    }

    /// What was done, with how many threads.
    pub(super) fn load(self, row: &Row) -> String {
        let threads = match row.threads {
            0 => None,
            threads => Some(counted(threads as u64, unit(row))),
        };
        let mut parts: Vec<String> = self.parts(row);
        parts.splice(1..1, threads);
        parts.join(", ")
    }

    /// What was done, without how many threads did it.
    pub(super) fn load_but_for_threads(self, row: &Row) -> String {
        self.parts(row).join(", ")
    }

    fn parts(self, row: &Row) -> Vec<String> {
        let what = match (&*row.workload, &*row.variant) {
            (workload, "") => workload.to_owned(),
            ("mixed", variant) => format!("YCSB {variant}"),
            (workload, variant) if NET.contains(&workload) => variant.to_owned(),
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
        if !row.distribution.is_empty() {
            parts.push(row.distribution.clone());
        }
        if let Some(rate) = row.rate {
            parts.push(format!("{} a second asked for", many(rate)));
        }
        parts
    }
}

/// What the numbers of a row count: threads, or the connections of a server.
fn unit(row: &Row) -> &'static str {
    if NET.contains(&&*row.workload) { "connection" } else { "thread" }
}

/// What a commit survives.
pub(super) fn survives(guarantee: Option<Guarantee>) -> &'static str {
    match guarantee {
        Some(Guarantee::PowerLoss) => "survives a power loss",
        Some(Guarantee::ProcessEnd) => "survives a kill",
        Some(Guarantee::Nothing) => "survives nothing",
        None => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like_is_beside_like() {
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
        let groups = Group::all(&rows.iter().collect::<Vec<_>>());
        let sizes: Vec<usize> = groups.iter().map(|group| group.rows.len()).collect();
        assert_eq!(sizes, [2, 1, 1]);
        let title = |value_bytes| groups[0].title(Usual { value_bytes });
        assert_eq!(title(0), "commit put, 1 thread, values of 150 B");
        assert_eq!(title(150), "commit put, 1 thread");
        assert_eq!(who(&rows[0]), Who::Ours);
        assert_eq!(who(&rows[2]), Who::Peer);
    }

    #[test]
    fn loads_are_said_in_words() {
        let row = Row {
            workload: "mixed".into(),
            variant: "A".into(),
            threads: 2,
            batch: 1000,
            distribution: "zipfian".into(),
            rate: Some(5000.0),
            ..Row::default()
        };
        let usual = Usual { value_bytes: 0 };
        let expected = "YCSB A, 2 threads, 1,000 puts a commit, zipfian, 5.00 k a second asked for";
        assert_eq!(usual.load(&row), expected);
        let row = Row { workload: "hot".into(), ..Row::default() };
        assert_eq!(usual.load(&row), "hot");
    }
}
