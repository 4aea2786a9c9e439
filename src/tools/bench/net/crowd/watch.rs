//! Connections that write asynchronously at a fixed rate, and watch their writes.
//!
//! The loop is open: writes are due at fixed times, spread over the connections. Each is a job, which
//! is watched as soon as its id is known. A watch of the watermarks, in a thread of its own, reports
//! when a write was durable: the first time at which this process could know it.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::LocalSet;
use tokio::time::{sleep_until, timeout};

use super::super::super::draws::Chance;
use super::super::super::engine::Guarantee;
use super::super::super::error::BenchError;
use super::super::super::measure::new_histogram;
use super::super::super::record::{Figure, Row};
use super::super::super::rows::key;
use super::super::super::values::Value;
use super::super::common::{Found, NetSettings, figure, runtime};
use super::super::host::{Host, Memory, Meter};
use super::super::lean::KEYSPACE;
use super::super::wire::{Wire, read};
use super::common::{CrowdSettings, Rows, name, with_peak};
use crate::net::proto::{JobState, JobWatch, Mode, Put, Request, Response};
use crate::tools::present::text::count;

/// Time for the last events.
const PATIENCE: Duration = Duration::from_secs(5);

/// The schedule of one connection.
#[derive(Clone, Copy, Debug)]
struct Plan {
    index: usize,
    first: Instant,
    every: Duration,
    /// Writes that are due before this are warm-up.
    warm: Instant,
    end: Instant,
}

/// A write: when it was due, when it was sent, and its LSN.
#[derive(Clone, Copy, Debug)]
struct Write {
    due: Instant,
    sent: Instant,
    lsn: u64,
}

/// The events of one connection.
#[derive(Default)]
struct Told {
    asked: u64,
    /// Durable writes, and when that was known.
    known: Vec<(Write, Instant)>,
    /// Jobs that failed, and events that were skipped.
    bad: u64,
}

pub(super) fn measure(host: &Host, settings: &CrowdSettings) -> Result<Rows, BenchError> {
    let before = host.memory();
    let is_over = Arc::new(AtomicBool::new(false));
    let observer = observe(host, Arc::clone(&is_over))?;
    let (told, peak) = with_peak(host, || runtime(1)?.block_on(load(host, settings)));
    is_over.store(true, Ordering::Relaxed);
    let moves = observer.join().map_err(|_| io::Error::other("the observer panicked"));
    let moves = moves.map_err(BenchError::io("watch the watermarks"))??;
    let (told, warm, cpu) = told?;
    let found = judge(&told, moves, warm, settings);
    let Found { ops, elapsed, latency_ns, mut figures } = found;
    figures.extend(memory(before, peak, host.memory()));
    figures.extend(cpu);
    let (watchers, rate) = (settings.watchers, settings.jobs_per_s);
    let variant = format!("{} connections watch their jobs", count(watchers as u64));
    let name = Row {
        guarantee: Some(Guarantee::PowerLoss),
        rate: Some(f64::from(rate)),
        ..name(settings, variant, "push", watchers)
    };
    Ok(vec![(name, Found { ops, elapsed, latency_ns, figures })])
}

fn memory(before: Option<Memory>, peak: Option<Memory>, after: Option<Memory>) -> Vec<Figure> {
    let (Some(before), Some(peak), Some(after)) = (before, peak, after) else { return Vec::new() };
    vec![
        figure("server memory before", before.resident as f64, "bytes"),
        figure("server memory at most", peak.resident as f64, "bytes"),
        figure("server memory after", after.resident as f64, "bytes"),
        figure("grown by, without files", peak.own.saturating_sub(before.own) as f64, "bytes"),
    ]
}

type Moves = Vec<(u64, Instant)>;

/// Records the durable watermark over time, in a thread of its own.
fn observe(
    host: &Host,
    is_over: Arc<AtomicBool>,
) -> Result<std::thread::JoinHandle<Result<Moves, BenchError>>, BenchError> {
    let runtime = runtime(1)?;
    let client = runtime.block_on(host.client(16))?;
    Ok(std::thread::spawn(move || {
        runtime.block_on(async {
            let (mut seen, mut moves) = (Moves::new(), client.watch_watermarks(Duration::ZERO));
            while !is_over.load(Ordering::Relaxed) {
                let next = timeout(Duration::from_millis(50), moves.next()).await;
                let Ok(next) = next else { continue };
                let Some(marks) = next.transpose()? else { break };
                seen.push((marks.durable.get(), Instant::now()));
            }
            Ok(seen)
        })
    }))
}

async fn load(
    host: &Host,
    settings: &CrowdSettings,
) -> Result<(Vec<Told>, Instant, Vec<Figure>), BenchError> {
    let failed = || BenchError::io("watch jobs");
    let (net, watchers) = (&settings.net, settings.watchers);
    let wires = Wire::connect_many(&host.dial, watchers).await?;
    let meter = Meter::start(host);
    let every = Duration::from_secs_f64(watchers as f64 / f64::from(settings.jobs_per_s));
    let begin = Instant::now() + Duration::from_millis(20);
    let warm = begin + net.measure_time / 4;
    let set = LocalSet::new();
    let tasks = wires.into_iter().enumerate().map(|(index, wire)| {
        let first = begin + every.mul_f64(index as f64 / watchers as f64);
        let plan = Plan { index, first, every, warm, end: warm + net.measure_time };
        let net = net.clone();
        set.spawn_local(async move { converse(wire, plan, &net).await })
    });
    let tasks: Vec<_> = tasks.collect();
    set.await;
    let mut told = Vec::with_capacity(watchers);
    for task in tasks {
        told.push(task.await.map_err(io::Error::other).and_then(|one| one).map_err(failed())?);
    }
    Ok((told, warm, meter.figures(host)))
}

/// The work of one connection.
async fn converse(mut wire: Wire, plan: Plan, net: &NetSettings) -> io::Result<Told> {
    let mut chance = Chance::new(net.seed, plan.index);
    let mut value = Value::of(net.value_bytes);
    let (mut told, mut open) = (Told::default(), HashMap::<u64, Write>::new());
    let (mut due, mut id) = (plan.first, 0);
    loop {
        let is_writing = due < plan.end;
        if !is_writing && open.is_empty() {
            return Ok(told);
        }
        let until = if is_writing { due } else { plan.end + PATIENCE };
        tokio::select! {
            read = wire.read() => {
                read?;
                hear(&mut wire, &mut told, &mut open)?;
                wire.flush().await?;
            }
            () = sleep_until(until.into()) => {
                if !is_writing {
                    return Ok(told);
                }
                id += 2;
                let number = chance.below(net.keys);
                let (key, value) = (&key(number)[..], value.row(number));
                let put = Put { keyspace: KEYSPACE, key, value, mode: Mode::Job, once: None };
                let sent = Instant::now();
                wire.add(id, &Request::Put(put));
                wire.flush().await?;
                if due >= plan.warm {
                    told.asked += 1;
                }
                open.insert(id, Write { due, sent, lsn: 0 });
                due += plan.every;
            }
        }
    }
}

/// Handles the answers that have arrived: a job's id starts its watch, an event ends both.
fn hear(wire: &mut Wire, told: &mut Told, open: &mut HashMap<u64, Write>) -> io::Result<()> {
    let known = Instant::now();
    let mut jobs = Vec::new();
    wire.each(|packet| {
        let id = packet.head.id;
        match read(packet)? {
            Response::Job(job) => {
                let lsn = job.job.rsplit_once('-').map_or("", |(_, lsn)| lsn);
                let lsn = u64::from_str_radix(lsn, 16).map_err(io::Error::other)?;
                if let Some(write) = open.get_mut(&id) {
                    write.lsn = lsn;
                    jobs.push((id + 1, job.job.to_string()));
                }
            }
            Response::JobEvent(event) => {
                let is_good = event.state == JobState::Durable && event.skipped == 0;
                told.bad += u64::from(!is_good);
                if let Some(write) = open.remove(&(id - 1)) {
                    told.known.push((write, known));
                }
            }
            other => return Err(io::Error::other(format!("{other:?} to a watch"))),
        }
        Ok(())
    })?;
    for (id, job) in &jobs {
        wire.add(*id, &Request::JobWatch(JobWatch { jobs: vec![job], credit: 1 }));
    }
    Ok(())
}

/// The figures of a measurement.
fn judge(told: &[Told], mut line: Moves, warm: Instant, settings: &CrowdSettings) -> Found {
    let all = || told.iter().flat_map(|one| &one.known);
    // 1. For each LSN the first time at which it or a later one was known: from the end.
    line.extend(all().map(|(write, known)| (write.lsn, *known)));
    line.sort_unstable_by_key(|(lsn, _)| *lsn);
    let mut first = line.last().map(|(_, when)| *when);
    for (_, when) in line.iter_mut().rev() {
        first = first.map(|first| first.min(*when));
        *when = first.expect("there is one");
    }
    let durable_at = |lsn| line[line.partition_point(|(other, _)| *other < lsn)].1;
    // 2. The times.
    let (mut latency_ns, mut to_know, mut late) =
        (new_histogram(), new_histogram(), new_histogram());
    for (write, known) in all().filter(|(write, _)| write.due >= warm) {
        let since = |when: Instant| known.saturating_duration_since(when).as_nanos() as u64;
        latency_ns.saturating_record(since(write.due));
        to_know.saturating_record(since(durable_at(write.lsn)));
        late.saturating_record((write.sent - write.due).as_nanos() as u64);
    }
    let asked: u64 = told.iter().map(|one| one.asked).sum();
    let bad: u64 = told.iter().map(|one| one.bad).sum();
    let lost = asked - latency_ns.len() + bad;
    let us = |times: &hdrhistogram::Histogram<u64>, quantile| {
        times.value_at_quantile(quantile) as f64 / 1000.0
    };
    let figures = vec![
        figure("events lost", lost as f64, ""),
        figure("durable to known p50", us(&to_know, 0.5), "us"),
        figure("durable to known p99", us(&to_know, 0.99), "us"),
        figure("load late p99", us(&late, 0.99), "us"),
    ];
    Found { ops: latency_ns.len(), elapsed: settings.net.measure_time, latency_ns, figures }
}
