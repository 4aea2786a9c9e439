//! Runs with peers: a map that keeps all rows, and one that loses some.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::draws::shuffled;
use super::engine::{Database, Engine, Guarantee, Mode, Session, Sizes};
use super::record::{Ratio, Record, Row};
use super::{BenchError, Family, Settings, run, table};

type Rows = Arc<Mutex<BTreeMap<Vec<u8>, Vec<u8>>>>;

/// Whether a peer keeps its rows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Memory {
    Good,
    Bad,
}

/// One map per directory.
struct Peer {
    name: &'static str,
    memory: Memory,
    stores: Mutex<BTreeMap<std::path::PathBuf, Rows>>,
}

impl Peer {
    fn boxed(name: &'static str, memory: Memory) -> Box<dyn Engine> {
        Box::new(Peer { name, memory, stores: Mutex::default() })
    }
}

const MODES: &[Mode] = &[Mode {
    name: "kept",
    guarantee: Guarantee::ProcessEnd,
    lost_on_kill: "nothing, they say",
    lost_on_power_loss: "everything",
}];

const HEAVY_MODES: &[Mode] = &[Mode { guarantee: Guarantee::PowerLoss, ..MODES[0] }];

impl Engine for Peer {
    fn name(&self) -> &'static str {
        self.name
    }

    fn version(&self) -> String {
        "1".into()
    }

    fn modes(&self) -> &'static [Mode] {
        if self.name == "heavy" { HEAVY_MODES } else { MODES }
    }

    fn about(&self) -> &'static str {
        "A map."
    }

    fn open(&self, dir: &Path, _: &Mode, _: &Sizes) -> Result<Box<dyn Database>, BenchError> {
        let mut stores = self.stores.lock().unwrap();
        let rows = Arc::clone(stores.entry(dir.to_owned()).or_default());
        Ok(Box::new(Open { rows, memory: self.memory }))
    }
}

struct Open {
    rows: Rows,
    memory: Memory,
}

impl Database for Open {
    fn session(&self) -> Box<dyn Session + '_> {
        Box::new(Thread(self))
    }

    fn settle(&self) -> Result<(), BenchError> {
        Ok(())
    }
}

struct Thread<'a>(&'a Open);

impl Session for Thread<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), BenchError> {
        // A bad peer forgets a hundredth of all rows.
        if self.0.memory == Memory::Good || !key[0].is_multiple_of(100) {
            self.0.rows.lock().unwrap().insert(key.to_vec(), value.to_vec());
        }
        Ok(())
    }

    fn put_batch(&mut self, rows: &[(&[u8], &[u8])]) -> Result<(), BenchError> {
        rows.iter().try_for_each(|(key, value)| self.put(key, value))
    }

    fn delete_batch(&mut self, keys: &[&[u8]]) -> Result<(), BenchError> {
        let mut rows = self.0.rows.lock().unwrap();
        keys.iter().for_each(|key| drop(rows.remove(*key)));
        Ok(())
    }

    fn get(&mut self, key: &[u8], seen: &mut dyn FnMut(&[u8])) -> Result<bool, BenchError> {
        let rows = self.0.rows.lock().unwrap();
        let value = rows.get(key);
        if let Some(value) = value {
            seen(value);
        }
        Ok(value.is_some())
    }

    fn scan(
        &mut self,
        from: &[u8],
        limit: usize,
        seen: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<usize, BenchError> {
        let rows = self.0.rows.lock().unwrap();
        let found = rows.range(from.to_vec()..).take(limit);
        Ok(found.map(|(key, value)| seen(key, value)).count())
    }

    fn read_modify_write(
        &mut self,
        key: &[u8],
        change: &mut dyn FnMut(&mut Vec<u8>),
    ) -> Result<(), BenchError> {
        if let Some(value) = self.0.rows.lock().unwrap().get_mut(key) {
            change(value);
        }
        Ok(())
    }
}

fn measure(families: &[Family], engines: &[&str], peers: &[Box<dyn Engine>]) -> Record {
    let place = tempfile::tempdir().unwrap();
    let settings = Settings {
        dir: Some(place.path().to_owned()),
        measure_time: Duration::from_millis(5),
        rounds: 2,
        again: 0,
        keys: 1500,
        steady_time: Duration::from_millis(5),
        large_memory_bytes: 1 << 20,
        large_time: Duration::from_millis(5),
        cache_bytes: 16 << 20,
        families: families.to_vec(),
        engines: engines.iter().map(|name| (*name).to_owned()).collect(),
        threads: vec![1],
        value_bytes: vec![100],
        // `load` has large batches, because in sync mode each one waits for the device.
        batches: if families.contains(&Family::Load) { vec![500] } else { vec![1] },
        rate: None,
        seed: 1,
        command: String::new(),
    };
    run(&settings, peers).unwrap()
}

fn of<'a>(record: &'a Record, workload: &str, engine: &str) -> Vec<&'a Row> {
    let rows = record.results.iter();
    rows.filter(|row| row.workload == workload && row.engine == engine).collect()
}

#[test]
fn peers_are_measured_in_the_same_rounds_and_compared() {
    let peers = [Peer::boxed("good", Memory::Good)];
    let families = [Family::Commit, Family::Read, Family::Scan, Family::Mixed];
    let record = measure(&families, &[], &peers);
    assert!(!record.run.warnings.iter().any(|warning| warning.contains("no figures")));
    assert_eq!(record.engines.len(), 2);
    // The peer has one mode. Our sync mode has no peer with its guarantee.
    for row in of(&record, "commit", "syncline") {
        assert_eq!(row.best_peer.is_some(), row.mode == "async", "{row:?}");
        assert_eq!(row.ratio_to_best_peer.is_some(), row.mode == "async", "{row:?}");
    }
    assert_eq!(of(&record, "commit", "good").len(), 1);
    for workload in ["read", "scan", "mixed"] {
        for row in of(&record, workload, "syncline") {
            // The peer has no mode that survives a power loss, and F is not atomic in ours.
            let has_peer = row.mode != "sync" && row.note.is_empty();
            assert_eq!(row.best_peer.as_deref(), has_peer.then_some("good"), "{row:?}");
            assert_eq!(row.rounds, 2, "{row:?}");
        }
    }
    assert!(table(&record).contains("x good"));
}

#[test]
fn a_peer_that_loses_rows_has_no_figures() {
    let peers = [Peer::boxed("good", Memory::Good), Peer::boxed("bad", Memory::Bad)];
    let record = measure(&[Family::Read], &[], &peers);
    assert!(of(&record, "read", "bad").is_empty());
    assert!(!of(&record, "read", "good").is_empty());
    let warnings = record.run.warnings.join("\n");
    assert!(warnings.contains("bad: ") && warnings.contains("1500 were put"), "{warnings}");
    assert!(table(&record).contains("WARNING: read "), "{}", table(&record));
}

/// Each engine in each mode, whatever the workload: a mode that survives a power loss is compared with
/// ours that does.
#[test]
fn every_mode_is_measured_and_compared_with_its_like() {
    let peers = [Peer::boxed("heavy", Memory::Good), Peer::boxed("good", Memory::Good)];
    let record = measure(&[Family::Load, Family::Mixed, Family::Hot], &[], &peers);
    for workload in ["load", "mixed", "hot"] {
        for row in of(&record, workload, "syncline") {
            let peer = match &*row.mode {
                _ if !row.note.is_empty() => None,
                "sync" => Some("heavy"),
                "async" => Some("good"),
                _ => row.best_peer.as_deref(),
            };
            let has_bytes = row.peer_ratio_is != Ratio::DeviceBytes;
            assert!(!has_bytes || row.best_peer.as_deref() == peer, "{row:?}");
        }
    }
}

/// YCSB F: a get and a put are no match for a transaction.
#[test]
fn what_is_not_atomic_has_a_note_and_no_ratio() {
    let record = measure(&[Family::Mixed], &[], &[Peer::boxed("good", Memory::Good)]);
    let f = |engine| {
        let rows = of(&record, "mixed", engine).into_iter();
        rows.filter(|row| row.variant == "F").collect::<Vec<_>>()
    };
    for row in f("syncline") {
        assert!(row.note.contains("not atomic") && row.ratio_to_best_peer.is_none(), "{row:?}");
    }
    assert!(f("good").iter().all(|row| row.note.is_empty()));
    assert!(!f("syncline").is_empty() && !f("good").is_empty());
}

/// Of each floor of commits that survive the same, the fastest of a round counts.
#[test]
fn commits_are_compared_with_the_fastest_bare_way() {
    let record = measure(&[Family::Commit], &[], &[]);
    for ours in of(&record, "commit", "syncline") {
        let floors = of(&record, "commit", "floor").into_iter();
        let floors: Vec<&Row> = floors.filter(|floor| floor.guarantee == ours.guarantee).collect();
        assert!(floors.len() >= 2, "{floors:?}");
        let named = floors.iter().find(|floor| ours.floor.as_deref() == Some(&*floor.mode));
        assert!(named.is_some() && ours.of_floor() > Some(0.0), "{ours:?}");
    }
}

#[test]
fn engines_are_chosen_by_name() {
    let peers = [Peer::boxed("one", Memory::Good), Peer::boxed("other", Memory::Good)];
    let record = measure(&[Family::Commit], &["other"], &peers);
    let names: Vec<_> = record.engines.iter().map(|engine| &*engine.name).collect();
    assert_eq!(names, ["syncline", "other"]);
    assert!(of(&record, "commit", "one").is_empty());
}

#[test]
fn every_round_has_every_case_in_another_order() {
    let orders: Vec<_> = (0..5).map(|round| shuffled(7, round, 0)).collect();
    for order in &orders {
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, [0, 1, 2, 3, 4, 5, 6]);
    }
    assert!(orders.windows(2).all(|pair| pair[0] != pair[1]), "{orders:?}");
}
