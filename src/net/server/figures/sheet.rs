//! Figures, one after the other, into the library's encoder.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue};
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::engine::base::durations::Durations;

/// What tells the members of a family apart.
pub(super) type Labels = Vec<(&'static str, &'static str)>;

/// A name without its unit, the unit, and what it means.
#[derive(Clone, Copy)]
pub(super) struct Title {
    name: &'static str,
    unit: Option<&'static Unit>,
    help: &'static str,
}

/// A figure that has no unit.
pub(super) fn plain(name: &'static str, help: &'static str) -> Title {
    Title { name, unit: None, help }
}

/// A figure in bytes.
pub(super) fn bytes(name: &'static str, help: &'static str) -> Title {
    Title { name, unit: Some(&Unit::Bytes), help }
}

/// A figure in seconds.
pub(super) fn seconds(name: &'static str, help: &'static str) -> Title {
    Title { name, unit: Some(&Unit::Seconds), help }
}

/// Where figures are written to.
pub(super) struct Sheet<'a> {
    encoder: DescriptorEncoder<'a>,
    /// What went wrong first.
    result: fmt::Result,
}

impl<'a> Sheet<'a> {
    pub(super) fn new(encoder: DescriptorEncoder<'a>) -> Self {
        Sheet { encoder, result: Ok(()) }
    }

    pub(super) fn end(self) -> fmt::Result {
        self.result
    }

    /// Something that only grows.
    pub(super) fn counter(&mut self, title: Title, value: impl EncodeCounterValue) {
        self.write(title, MetricType::Counter, |mut encoder| {
            encoder.encode_counter::<NoLabelSet, _, u64>(&value, None)
        });
    }

    /// Several of a kind.
    pub(super) fn counters(&mut self, title: Title, rows: impl IntoIterator<Item = (Labels, u64)>) {
        self.write(title, MetricType::Counter, |mut encoder| {
            rows.into_iter().try_for_each(|(labels, value)| {
                encoder.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)
            })
        });
    }

    /// Something that grows and shrinks.
    pub(super) fn gauge(&mut self, title: Title, value: impl EncodeGaugeValue) {
        self.write(title, MetricType::Gauge, |mut encoder| encoder.encode_gauge(&value));
    }

    /// Several of a kind.
    pub(super) fn gauges(&mut self, title: Title, rows: impl IntoIterator<Item = (Labels, u64)>) {
        self.write(title, MetricType::Gauge, |mut encoder| {
            rows.into_iter().try_for_each(|(labels, value)| {
                encoder.encode_family(&labels)?.encode_gauge(&value)
            })
        });
    }

    /// What does not change while the process runs.
    pub(super) fn info(&mut self, title: Title, labels: &Labels) {
        self.write(title, MetricType::Info, |mut encoder| encoder.encode_info(labels));
    }

    /// How long something takes.
    pub(super) fn histogram(&mut self, title: Title, durations: &Durations) {
        self.write(title, MetricType::Histogram, |encoder| spread(encoder, durations));
    }

    /// Several of a kind.
    pub(super) fn histograms(
        &mut self,
        title: Title,
        rows: impl IntoIterator<Item = (Labels, Durations)>,
    ) {
        self.write(title, MetricType::Histogram, |mut encoder| {
            rows.into_iter().try_for_each(|(labels, durations)| {
                spread(encoder.encode_family(&labels)?, &durations)
            })
        });
    }

    /// A figure that counts for itself.
    pub(super) fn metric(&mut self, title: Title, metric: &impl EncodeMetric) {
        self.write(title, metric.metric_type(), |encoder| metric.encode(encoder));
    }

    fn write(
        &mut self,
        title: Title,
        kind: MetricType,
        encode: impl FnOnce(MetricEncoder<'_>) -> fmt::Result,
    ) {
        let Title { name, unit, help } = title;
        let encoder = self.encoder.encode_descriptor(name, help, unit, kind);
        self.result = self.result.and(encoder.and_then(encode));
    }
}

fn spread(mut encoder: MetricEncoder<'_>, durations: &Durations) -> fmt::Result {
    let bound =
        |bound: Option<std::time::Duration>| bound.map_or(f64::INFINITY, |b| b.as_secs_f64());
    let buckets: Vec<_> = durations.buckets().map(|(to, count)| (bound(to), count)).collect();
    let (total, count) = (durations.total().as_secs_f64(), durations.count());
    encoder.encode_histogram::<NoLabelSet>(total, count, &buckets, None)
}
