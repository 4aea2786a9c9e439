//! `read`: random gets from a store that holds every row, alone and beside a writer.
//!
//! | variant | keys |
//! |---|---|
//! | `hit` | of a random row |
//! | `zipfian` | of a random row, few of them most of the time |
//! | `miss` | of no row |
//! | `beside writer` | of a random row, while another thread commits one put after the other; the figure `written` is that thread's rate |
//! | `cold` | of a random row, the first of a store whose files have left the operating system's cache |
//!
//! A get that is timed checks the row and the length, and reads both ends of the value (VALUES-3).

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use crate::tools::bench::case::{Case, CaseSuite, Contender};
use crate::tools::bench::contenders::up_to_cores;
use crate::tools::bench::draws::{Chance, Zipfian};
use crate::tools::bench::engine::{Database, Session};
use crate::tools::bench::error::BenchError;
use crate::tools::bench::eviction::{CAN_EVICT, evict};
use crate::tools::bench::floor::Map;
use crate::tools::bench::measure::{Clock, Sample, drive, repeat};
use crate::tools::bench::put::puts;
use crate::tools::bench::record::Ratio;
use crate::tools::bench::rows::{Key, key, missing_key};
use crate::tools::bench::stage::Stage;
use crate::tools::bench::values::is_of;

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
const COLD: &str = "cold";

/// The gets of a cold store: few, so that most of them find cold pages.
const COLD_GETS: u64 = 5000;

impl<'a> ReadSuite<'a> {
    pub(in crate::tools::bench) fn new(stage: &'a Stage<'a>) -> ReadSuite<'a> {
        let mut cases: Vec<Case> = Vec::new();
        let rate = stage.settings.rate;
        let ratio = if rate.is_some() { Ratio::MedianLatency } else { Ratio::Throughput };
        for (variant, distribution) in [(HIT, "uniform"), (ZIPFIAN, ZIPFIAN), (MISS, "uniform")] {
            let floors = vec![cases.len()];
            let case = Case {
                distribution,
                rate,
                ratio,
                peer_ratio: ratio,
                floors,
                ..Case::new("read", variant, stage.value_bytes())
            };
            cases.push(case.by_floor("btreemap"));
            for threads in stage.threads(&if variant == HIT { up_to_cores() } else { vec![1] }) {
                cases.extend(stage.by_all_reading(&Case { threads, ..case.clone() }, "get"));
            }
            if variant == HIT {
                let case = Case { variant: BESIDE_WRITER, undisturbed: Some(HIT), ..case };
                cases.extend(stage.by_all(&case));
            }
        }
        // A few gets have no schedule.
        if CAN_EVICT && rate.is_none() {
            let case =
                Case { distribution: "uniform", ..Case::new("read", COLD, stage.value_bytes()) };
            cases.extend(stage.by_all_reading(&case, "get"));
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
        let (expected, value_bytes) = (case.variant != MISS, case.value_bytes);
        let worker = move || {
            let (row, key) = draws.next();
            let value = map.get(&key[..]);
            let is_right = value.is_some_and(|value| is_of(row, value, value_bytes));
            assert_eq!(is_right, expected, "a key is found if and only if it was put");
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
        if case.variant == COLD {
            return self.cold(case, engine);
        }
        let (database, _) = stage.open_usual(engine, mode)?;
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
        let mut sessions: Vec<Box<dyn Session>> =
            (0..case.threads).map(|_| database.session()).collect();
        let worker = |(thread, session)| {
            let session: &mut Box<dyn Session> = session;
            self.get(case, engine, thread, &mut **session)
        };
        let workers = sessions.iter_mut().enumerate().map(worker).collect();
        let watermarks = || database.watermarks();
        drive(workers, &self.stage.load(Clock::EveryEighth, case.rate, &watermarks))
    }

    /// The work of one thread.
    fn get<'s>(
        &'s self,
        case: &Case,
        engine: usize,
        thread: usize,
        session: &'s mut dyn Session,
    ) -> impl FnMut() -> Result<usize, BenchError> + Send + use<'s> {
        let (expected, value_bytes) = (case.variant != MISS, case.value_bytes);
        let mut draws = self.draws(case, thread);
        let name = self.stage.engines[engine].name();
        move || {
            let (row, key) = draws.next();
            let mut is_right = !expected;
            let found =
                session.get(&key, &mut |value| is_right = is_of(row, value, value_bytes))?;
            if found != expected || !is_right {
                let message = format!(
                    "row {row}, which was put: {expected}, was found: {found}, as it was put: \
                     {is_right}"
                );
                return Err(BenchError::Engine { engine: name, message });
            }
            Ok(1)
        }
    }

    /// The first gets of a store that was closed, and whose files are in no cache of this machine.
    fn cold(&self, case: &Case, engine: usize) -> Result<Sample, BenchError> {
        let stage = self.stage;
        let contents = stage.contents(case.value_bytes);
        let dir = stage.stock(engine, contents)?.dir;
        evict(&dir).map_err(BenchError::io(format!("evict {}", dir.display())))?;
        let mode = stage.light_mode(engine);
        let database = stage.open(engine, &dir, mode, &stage.sizes(contents))?;
        let mut session = database.session();
        let mut get = self.get(case, engine, 0, &mut *session);
        let watermarks = || database.watermarks();
        let load = stage.load(Clock::EveryOperation, None, &watermarks);
        repeat(&mut get, COLD_GETS, &load)
    }

    /// Gets in one thread while another one commits as fast as it can.
    fn beside_writer(
        &self,
        case: &Case,
        engine: usize,
        database: &dyn Database,
    ) -> Result<Sample, BenchError> {
        let (stop, begun) = (AtomicBool::new(false), Instant::now());
        let keys = self.stage.settings.keys;
        let mut session = database.session();
        thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut put = puts(&mut *session, 0, 1, keys, case.value_bytes);
                let mut written = 0;
                while !stop.load(Ordering::Relaxed) {
                    written += put()?;
                }
                Ok::<_, BenchError>(written as f64 / begun.elapsed().as_secs_f64())
            });
            let sample = self.gets(case, engine, database);
            stop.store(true, Ordering::Relaxed);
            let written = writer.join().expect("the writer panicked")?;
            let mut sample = sample?;
            sample.add_figure("written", written, "/s");
            Ok(sample)
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
    /// A row, and its key or one that is missing beside it.
    fn next(&mut self) -> (u64, Key) {
        let row = match self.zipfian {
            None => self.chance.below(self.keys),
            Some(zipfian) => zipfian.rank(&mut self.chance),
        };
        (row, if self.missing { missing_key(row) } else { key(row) })
    }
}

/// A byte made of both ends of a value, so that the value is really read.
pub(super) fn ends(value: &[u8]) -> u8 {
    value.first().zip(value.last()).map_or(0, |(first, last)| first ^ last)
}
