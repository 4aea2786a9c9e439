//! Clients that ask for much and never read, and good clients beside them.
//!
//! Each deaf client asks for several pages of a megabyte at once. Beyond the kernel's buffers, the server
//! must keep the pages, or delay making them.

use std::fs;

use super::super::super::error::BenchError;
use super::super::common::{Found, figure, runtime};
use super::super::host::{Host, Meter};
use super::super::lean::{self, KEYSPACE};
use super::super::wire::Wire;
use super::common::{CrowdSettings, Rows, gets, name, p99_ratio, with_peak};
use crate::net::proto::{At, Bound, Delivery, Order, Range, Request};
use crate::tools::present::text::count;

/// Good clients.
const GOOD: usize = 16;
/// Pages that each deaf client asks for.
const PAGES: u64 = 8;
/// The size of a page.
const PAGE_BYTES: u32 = 1 << 20;

pub(super) fn measure(host: &Host, settings: &CrowdSettings) -> Result<Rows, BenchError> {
    let runtime = runtime(1)?;
    let load = || async {
        let meter = Meter::start(host);
        let loaded = lean::run(&host.dial, gets(settings, GOOD)).await?;
        let figures = meter.figures(host);
        let (ops, elapsed, latency_ns) = (loaded.ops, loaded.elapsed, loaded.latency_ns);
        Ok::<_, BenchError>(Found { ops, elapsed, latency_ns, figures })
    };
    // 1. Without the deaf.
    let alone = runtime.block_on(load())?;
    let (before, sockets_before) = (host.memory(), socket_bytes());
    // 2. With them.
    let (beside, peak) = with_peak(host, || {
        runtime.block_on(async {
            let mut wires = Wire::connect_many(&host.dial, settings.connections).await?;
            for wire in &mut wires {
                ask_for_much(wire).await.map_err(BenchError::io("ask the server"))?;
            }
            let beside = load().await?;
            Ok::<_, BenchError>((beside, wires))
        })
    });
    let (mut beside, wires) = beside?;
    // 3. The cost.
    let mut figures = vec![figure("p99 to alone", p99_ratio(&beside, &alone), "")];
    let cap = (settings.max_output_mib << 20) as f64;
    if let (Some(before), Some(peak)) = (before, peak) {
        figures.extend([
            figure("server memory before", before.resident as f64, "bytes"),
            figure("server memory at most", peak.resident as f64, "bytes"),
            figure("grown by", peak.resident.saturating_sub(before.resident) as f64, "bytes"),
            figure("cap of unread output", cap, "bytes"),
        ]);
    }
    if let (Some(before), Some(after)) = (sockets_before, socket_bytes()) {
        let grown = after.saturating_sub(before);
        figures.push(figure("in the kernel's sockets", grown as f64, "bytes"));
    }
    figures.append(&mut beside.figures);
    beside.figures = figures;
    drop(wires);
    let variant = format!("gets beside {} deaf clients", count(settings.connections as u64));
    Ok(vec![
        (name(settings, variant.clone(), "alone", GOOD), alone),
        (name(settings, variant, "beside them", GOOD), beside),
    ])
}

async fn ask_for_much(wire: &mut Wire) -> std::io::Result<()> {
    let page = Range {
        keyspace: KEYSPACE,
        lower: Bound::Unbounded,
        upper: Bound::Unbounded,
        order: Order::Ascending,
        limit: None,
        delivery: Delivery::Page { max_bytes: PAGE_BYTES },
        at: At::Latest,
    };
    for id in 1..=PAGES {
        wire.add(id, &Request::Range(page));
    }
    wire.flush().await?;
    wire.rest();
    Ok(())
}

/// The bytes in the kernel's TCP buffers, of all processes together.
fn socket_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/net/sockstat").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    let mut words = line.split_whitespace();
    words.find(|word| *word == "mem")?;
    // The kernel counts in pages.
    words.next()?.parse::<u64>().ok().map(|pages| pages * 4096)
}
