//! A writer of metrics into the library's encoder.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue};
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::engine::base::durations::Durations;

/// The labels of one member of a family.
pub(super) type Labels = Vec<(&'static str, &'static str)>;

/// A name without its unit, the unit, and the help text.
#[derive(Clone, Copy)]
pub(super) struct MetricDescription {
    name: &'static str,
    unit: Option<&'static Unit>,
    help: &'static str,
}

pub(super) fn plain(name: &'static str, help: &'static str) -> MetricDescription {
    MetricDescription { name, unit: None, help }
}

pub(super) fn bytes(name: &'static str, help: &'static str) -> MetricDescription {
    MetricDescription { name, unit: Some(&Unit::Bytes), help }
}

pub(super) fn seconds(name: &'static str, help: &'static str) -> MetricDescription {
    MetricDescription { name, unit: Some(&Unit::Seconds), help }
}

/// Writes metrics one after the other.
pub(super) struct MetricsWriter<'a> {
    encoder: DescriptorEncoder<'a>,
    /// The first error.
    result: fmt::Result,
}

impl<'a> MetricsWriter<'a> {
    pub(super) fn new(encoder: DescriptorEncoder<'a>) -> Self {
        MetricsWriter { encoder, result: Ok(()) }
    }

    pub(super) fn end(self) -> fmt::Result {
        self.result
    }

    pub(super) fn counter(&mut self, title: MetricDescription, value: impl EncodeCounterValue) {
        self.write(title, MetricType::Counter, |mut encoder| {
            encoder.encode_counter::<NoLabelSet, _, u64>(&value, None)
        });
    }

    /// A family of counters.
    pub(super) fn counters(
        &mut self,
        title: MetricDescription,
        rows: impl IntoIterator<Item = (Labels, u64)>,
    ) {
        self.write(title, MetricType::Counter, |mut encoder| {
            rows.into_iter().try_for_each(|(labels, value)| {
                encoder.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)
            })
        });
    }

    pub(super) fn gauge(&mut self, title: MetricDescription, value: impl EncodeGaugeValue) {
        self.write(title, MetricType::Gauge, |mut encoder| encoder.encode_gauge(&value));
    }

    /// A family of gauges.
    pub(super) fn gauges(
        &mut self,
        title: MetricDescription,
        rows: impl IntoIterator<Item = (Labels, u64)>,
    ) {
        self.write(title, MetricType::Gauge, |mut encoder| {
            rows.into_iter().try_for_each(|(labels, value)| {
                encoder.encode_family(&labels)?.encode_gauge(&value)
            })
        });
    }

    /// Labels that do not change while the process runs.
    pub(super) fn info(&mut self, title: MetricDescription, labels: &Labels) {
        self.write(title, MetricType::Info, |mut encoder| encoder.encode_info(labels));
    }

    pub(super) fn histogram(&mut self, title: MetricDescription, durations: &Durations) {
        self.write(title, MetricType::Histogram, |encoder| spread(encoder, durations));
    }

    /// A family of histograms.
    pub(super) fn histograms(
        &mut self,
        title: MetricDescription,
        rows: impl IntoIterator<Item = (Labels, Durations)>,
    ) {
        self.write(title, MetricType::Histogram, |mut encoder| {
            rows.into_iter().try_for_each(|(labels, durations)| {
                spread(encoder.encode_family(&labels)?, &durations)
            })
        });
    }

    /// A metric that encodes itself.
    pub(super) fn metric(&mut self, title: MetricDescription, metric: &impl EncodeMetric) {
        self.write(title, metric.metric_type(), |encoder| metric.encode(encoder));
    }

    fn write(
        &mut self,
        title: MetricDescription,
        kind: MetricType,
        encode: impl FnOnce(MetricEncoder<'_>) -> fmt::Result,
    ) {
        let MetricDescription { name, unit, help } = title;
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
