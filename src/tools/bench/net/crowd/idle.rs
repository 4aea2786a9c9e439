//! Idle connections: a long poll each, for the last of many long operations.
//!
//! A write is durable too soon for a long poll. Verifications of the whole store, as many as can be
//! queued, take long enough to read the server's memory.

use std::time::Duration;

use futures_util::FutureExt;

use super::super::super::error::BenchError;
use super::super::common::{Found, figure};
use super::super::host::{Host, Meter};
use super::super::lean;
use super::super::wire::{Wire, read};
use super::common::{CrowdSettings, Rows, gets, name};
use crate::net::proto::{Answer, JobWait, Request, Response, Verify};
use crate::tools::present::text::count;

/// The timeout of a poll.
const LONG: Duration = Duration::from_secs(60);
/// Time for the server to take the last poll.
const SETTLE: Duration = Duration::from_millis(300);

pub(super) async fn measure(host: &Host, settings: &CrowdSettings) -> Result<Rows, BenchError> {
    let failed = || BenchError::io("ask the server");
    let connections = settings.connections;
    // 1. Warm-up: the server does everything once that takes memory.
    let mut control = Wire::connect(&host.dial).await?;
    control
        .ask(&Request::Verify(Verify { answer: Answer::AtEnd }), |_| ())
        .await
        .map_err(failed())?;
    lean::run(&host.dial, gets(settings, 16)).await?;
    let before = host.memory();
    // 2. The crowd, and the verifications that it waits for.
    let meter = Meter::start(host);
    let mut wires = Wire::connect_many(&host.dial, connections).await?;
    let connected = host.memory();
    let job = queue(&mut control).await.map_err(failed())?;
    let timeout_ms = u32::try_from(LONG.as_millis()).expect("a minute");
    for wire in &mut wires {
        wire.add(1, &Request::JobWait(JobWait { job: &job, timeout_ms }));
        wire.flush().await.map_err(failed())?;
        wire.rest();
    }
    tokio::time::sleep(SETTLE).await;
    let after = host.memory();
    let shares = meter.figures(host);
    // 3. A poll with an answer has not waited.
    let mut answered = 0_u64;
    for wire in &mut wires {
        answered += u64::from(wire.read().now_or_never().is_some());
    }
    // 4. The gets of other clients.
    let others = lean::run(&host.dial, gets(settings, 1)).await?;
    drop(wires);
    let mut figures = Vec::new();
    if let (Some(before), Some(connected), Some(after)) = (before, connected, after) {
        let each = |now: u64, then: u64| now.saturating_sub(then) as f64 / connections as f64;
        figures.extend([
            figure("server memory each", each(after.resident, before.resident), "bytes"),
            figure("without the poll", each(connected.resident, before.resident), "bytes"),
            figure("server memory before", before.resident as f64, "bytes"),
            figure("server memory", after.resident as f64, "bytes"),
        ]);
    }
    figures.push(figure("polls that ended too soon", answered as f64, ""));
    figures.extend(shares);
    let variant = format!("gets beside {} long polls", count(connections as u64));
    let (ops, elapsed, latency_ns) = (others.ops, others.elapsed, others.latency_ns);
    let found = Found { ops, elapsed, latency_ns, figures };
    Ok(vec![(name(settings, variant, "long poll", connections), found)])
}

/// Queues as many verifications as the server takes, and returns the last one's job id.
async fn queue(control: &mut Wire) -> std::io::Result<String> {
    let mut last = None;
    let verify = Request::Verify(Verify { answer: Answer::Job });
    loop {
        control.add(1, &verify);
        control.flush().await?;
        let mut queued = None;
        while queued.is_none() {
            control.read().await?;
            // An error says that the queue is full.
            control.any(|packet| {
                queued = Some(match read(packet)? {
                    Response::Job(job) => Some(job.job.to_string()),
                    _ => None,
                });
                Ok(())
            })?;
        }
        match queued.flatten() {
            Some(job) => last = Some(job),
            None => break,
        }
    }
    last.ok_or_else(|| std::io::Error::other("the server takes no check"))
}
