//! `read`: random gets from a store that holds every row, alone and beside a writer.
//!
//! | variant | keys |
//! |---|---|
//! | `hit` | of a random row |
//! | `zipfian` | of a random row, few of them most of the time |
//! | `miss` | of no row |
//! | `beside writer` | of a random row, while another thread commits one put after the other |

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::tools::bench::case::{Case, CaseSuite, Contender};
use crate::tools::bench::draws::{Chance, Zipfian};
use crate::tools::bench::engine::{Database, Session};
use crate::tools::bench::error::BenchError;
use crate::tools::bench::floor::Map;
use crate::tools::bench::measure::{Clock, Sample, drive};
use crate::tools::bench::record::Ratio;
use crate::tools::bench::rows::{Key, key, missing_key};
use crate::tools::bench::stage::{Stage, puts};

/// Random gets.
pub(in crate::tools::bench) struct ReadSuite<'a> {
    stage: &'a Stage<'a>,
    zipfian: Zipfian,
    cases: Vec<Case>,
}

const HIT: &str = "hit";
const ZIPFIAN: &str = "zipfian";
const MISS: &str = "miss";
const BESIDE_WRITER: &str = "beside writer";

impl<'a> ReadSuite<'a> {
    pub(in crate::tools::bench) fn new(stage: &'a Stage<'a>) -> ReadSuite<'a> {
        let mut cases: Vec<Case> = Vec::new();
        let rate = stage.settings.rate;
        let ratio = if rate.is_some() { Ratio::MedianLatency } else { Ratio::Throughput };
        for (variant, distribution) in [(HIT, "uniform"), (ZIPFIAN, ZIPFIAN), (MISS, "uniform")] {
            let floor = Some(cases.len());
            let case = Case {
                distribution,
                rate,
                ratio,
                peer_ratio: ratio,
                floor,
                ..Case::new("read", variant, stage.value_bytes())
            };
            cases.push(case.by_floor("btreemap"));
            for threads in stage.threads(if variant == MISS { &[1] } else { &[1, 2] }) {
                cases.extend(stage.by_all_reading(&Case { threads, ..case.clone() }, "get"));
            }
            if variant == HIT {
                let case = Case { variant: BESIDE_WRITER, undisturbed: Some(HIT), ..case };
                cases.extend(stage.by_all(&case));
            }
        }
        ReadSuite { stage, zipfian: Zipfian::new(stage.settings.keys), cases }
    }

    /// Draws the keys of one thread.
    fn draws(&self, case: &Case, thread: usize) -> Draws<'_> {
        let zipfian = (case.variant == ZIPFIAN).then_some(&self.zipfian);
        let chance = Chance::new(self.stage.settings.seed, thread);
        Draws { chance, keys: self.stage.settings.keys, zipfian, missing: case.variant == MISS }
    }

    fn measure_map(&self, case: &Case) -> Result<Sample, BenchError> {
        let map = self.stage.map();
        let map: &Map = &map;
        let mut draws = self.draws(case, 0);
        let expected = case.variant != MISS;
        let worker = move || {
            let value = map.get(&draws.next_key()[..]);
            assert_eq!(value.is_some(), expected, "a key is found if and only if it was put");
            black_box(value.map(|value| ends(value)));
            Ok(1)
        };
        drive(vec![worker], &self.stage.load(Clock::EveryEighth, case.rate, &|| None))
    }

    fn measure_store(&self, case: &Case, engine: usize) -> Result<Sample, BenchError> {
        let stage = self.stage;
        let mode = match case.variant {
            BESIDE_WRITER => stage.mode(engine, case.mode),
            _ => stage.light_mode(engine),
        };
        let sizes = stage.sizes(case.value_bytes);
        let (database, _) = stage.open_stock(engine, mode, &sizes)?;
        let sample = match case.variant {
            BESIDE_WRITER => self.beside_writer(case, engine, &*database)?,
            _ => self.gets(case, engine, &*database)?,
        };
        database.settle()?;
        Ok(sample)
    }

    fn gets(
        &self,
        case: &Case,
        engine: usize,
        database: &dyn Database,
    ) -> Result<Sample, BenchError> {
        let expected = case.variant != MISS;
        let mut sessions: Vec<Box<dyn Session>> =
            (0..case.threads).map(|_| database.session()).collect();
        let worker = |(thread, session)| {
            let session: &mut Box<dyn Session> = session;
            let mut draws = self.draws(case, thread);
            let name = self.stage.engines[engine].name();
            move || {
                let key = draws.next_key();
                let found = session.get(&key, &mut |value| {
                    black_box(ends(value));
                })?;
                if found != expected {
                    let message = format!("found: {found}, of a key that was put: {expected}");
                    return Err(BenchError::Engine { engine: name, message });
                }
                Ok(1)
            }
        };
        let workers = sessions.iter_mut().enumerate().map(worker).collect();
        let watermarks = || database.watermarks();
        drive(workers, &self.stage.load(Clock::EveryEighth, case.rate, &watermarks))
    }

    /// Gets in one thread while another one commits as fast as it can.
    fn beside_writer(
        &self,
        case: &Case,
        engine: usize,
        database: &dyn Database,
    ) -> Result<Sample, BenchError> {
        let stop = AtomicBool::new(false);
        let keys = self.stage.settings.keys;
        let mut session = database.session();
        thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut put = puts(&mut *session, 0, 1, keys, case.value_bytes);
                while !stop.load(Ordering::Relaxed) {
                    put()?;
                }
                Ok::<(), BenchError>(())
            });
            let sample = self.gets(case, engine, database);
            stop.store(true, Ordering::Relaxed);
            writer.join().expect("the writer panicked")?;
            sample
        })
    }
}

impl CaseSuite for ReadSuite<'_> {
    fn cases(&self) -> &[Case] {
        &self.cases
    }

    fn measure(&mut self, case: usize) -> Result<Sample, BenchError> {
        let case = &self.cases[case];
        match case.contender {
            Contender::Floor => self.measure_map(case),
            Contender::Engine(engine) => self.measure_store(case, engine),
        }
    }
}

/// Keys for one thread.
struct Draws<'a> {
    chance: Chance,
    keys: u64,
    zipfian: Option<&'a Zipfian>,
    missing: bool,
}

impl Draws<'_> {
    fn next_key(&mut self) -> Key {
        let row = match self.zipfian {
            None => self.chance.below(self.keys),
            Some(zipfian) => zipfian.rank(&mut self.chance),
        };
        if self.missing { missing_key(row) } else { key(row) }
    }
}

/// A byte made of both ends of a value, so that the value is really read.
pub(super) fn ends(value: &[u8]) -> u8 {
    value.first().zip(value.last()).map_or(0, |(first, last)| first ^ last)
}
