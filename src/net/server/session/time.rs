//! Deadlines of requests.

use std::time::Duration;

use tokio::time::Instant;

use super::flight::OnTime;
use crate::net::proto::Packet;

/// The deadline of a request that has just come, if it has one.
pub(super) fn deadline(packet: &Packet<'_>, now: Instant) -> Option<Instant> {
    let ms = u64::from(packet.head.deadline_ms);
    (ms > 0).then(|| now + Duration::from_millis(ms))
}

/// The deadline of a request that has just come, and that it then fails.
pub(super) fn fails_at(packet: &Packet<'_>, now: Instant) -> Option<(Instant, OnTime)> {
    deadline(packet, now).map(|at| (at, OnTime::Fail))
}

/// Whole milliseconds, at most `u32::MAX`.
pub(super) fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}
