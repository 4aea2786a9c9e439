//! Gets on a connection with many sync puts in flight, and on a connection of their own beside it.
//!
//! The puts are a closed loop: one write sends as many as were answered. The gets come at random
//! moments, at the same rate in both cases, and follow the puts of that moment. So both cases see the
//! same server under the same load. A closed loop of gets would have more quick answers than slow
//! ones, and hide the slow ones.

use std::io;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::task::LocalSet;

use super::super::super::draws::Chance;
use super::super::super::error::BenchError;
use super::super::super::measure::new_histogram;
use super::super::super::rows::key;
use super::super::super::values::Value;
use super::super::common::{Found, NetSettings, figure};
use super::super::host::{Host, Meter};
use super::super::lean::KEYSPACE;
use super::super::wire::Wire;
use super::common::{CrowdSettings, Rows, name, p99_ratio};
use crate::net::proto::{Get, Mode, Put, Request};
use crate::tools::present::text::count;

/// The request id of the get.
const GET: u64 = u64::MAX;
/// Between two gets: the timer's resolution is a millisecond.
const GAP_US: std::ops::Range<u64> = 500..2500;

/// The requests that one connection keeps in flight.
#[derive(Clone, Copy, Debug)]
struct Plan {
    puts: usize,
    gets: usize,
    seed: usize,
}

/// The answers in the measured time.
struct Told {
    gets_ns: Histogram<u64>,
    puts: u64,
}

/// Puts and gets on two connections first, then on one.
pub(super) async fn measure(host: &Host, settings: &CrowdSettings) -> Result<Rows, BenchError> {
    let puts = settings.puts;
    let variant = format!("gets beside {} sync puts in flight", count(puts as u64));
    let (of_puts, of_gets) = (Plan { puts, gets: 0, seed: 0 }, Plan { puts: 0, gets: 1, seed: 1 });
    let alone = load(host, &settings.net, &[of_puts, of_gets]).await?;
    let mut behind = load(host, &settings.net, &[Plan { puts, gets: 1, seed: 0 }]).await?;
    behind.figures.insert(0, figure("p99 to alone", p99_ratio(&behind, &alone), ""));
    Ok(vec![
        (name(settings, variant.clone(), "alone", 2), alone),
        (name(settings, variant, "behind them", 1), behind),
    ])
}

async fn load(host: &Host, net: &NetSettings, plans: &[Plan]) -> Result<Found, BenchError> {
    let failed = || BenchError::io("ask the server");
    let wires = Wire::connect_many(&host.dial, plans.len()).await?;
    let meter = Meter::start(host);
    let (set, warm) = (LocalSet::new(), Instant::now() + net.measure_time / 4);
    let tasks = wires.into_iter().zip(plans).map(|(wire, plan)| {
        let (plan, net) = (*plan, net.clone());
        set.spawn_local(async move { converse(wire, plan, &net, warm).await })
    });
    let tasks: Vec<_> = tasks.collect();
    set.await;
    let (mut latency_ns, mut puts) = (new_histogram(), 0);
    for task in tasks {
        let told = task.await.map_err(io::Error::other).and_then(|told| told).map_err(failed())?;
        latency_ns.add(&told.gets_ns).expect("the same bounds");
        puts += told.puts;
    }
    let per_s = puts as f64 / net.measure_time.as_secs_f64();
    let mut figures = vec![figure("sync puts/s", per_s, "")];
    figures.extend(meter.figures(host));
    Ok(Found { ops: latency_ns.len(), elapsed: net.measure_time, latency_ns, figures })
}

async fn converse(
    mut wire: Wire,
    plan: Plan,
    net: &NetSettings,
    warm: Instant,
) -> io::Result<Told> {
    let mut chance = Chance::new(net.seed, plan.seed);
    let mut value = Value::of(net.value_bytes);
    let (mut free, mut gets) = ((1..=plan.puts as u64).collect::<Vec<_>>(), plan.gets);
    let (mut due, mut sent_at) = (Instant::now(), warm);
    let mut told = Told { gets_ns: new_histogram(), puts: 0 };
    let end = warm + net.measure_time;
    loop {
        for id in free.drain(..) {
            let number = chance.below(net.keys);
            let (key, value) = (&key(number)[..], value.row(number));
            let put = Put { keyspace: KEYSPACE, key, value, mode: Mode::Sync, once: None };
            wire.add(id, &Request::Put(put));
        }
        if gets > 0 && Instant::now() >= due {
            gets = 0;
            let key = key(chance.below(net.keys));
            wire.add(GET, &Request::Get(Get { keyspace: KEYSPACE, key: &key }));
            sent_at = Instant::now();
            due = sent_at + gap(&mut chance);
        }
        wire.flush().await?;
        tokio::select! {
            read = wire.read() => read?,
            () = tokio::time::sleep_until(due.into()), if gets > 0 => {}
        }
        let now = Instant::now();
        let is_measured = now >= warm && now < end;
        wire.take(|id| match id {
            GET => {
                gets = 1;
                if is_measured && sent_at >= warm {
                    told.gets_ns.saturating_record((now - sent_at).as_nanos() as u64);
                }
            }
            id => {
                told.puts += u64::from(is_measured);
                free.push(id);
            }
        })?;
        if now >= end {
            return Ok(told);
        }
    }
}

fn gap(chance: &mut Chance) -> Duration {
    Duration::from_micros(GAP_US.start + chance.below(GAP_US.end - GAP_US.start))
}
