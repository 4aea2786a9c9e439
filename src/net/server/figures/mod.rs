//! The page of metrics that a scrape of `/metrics` gets.
//!
//! ```text
//!   server   counters of the connections            syncline_
//!   store    statistics of the store and its files  syncline_store_
//!   process  statistics of the process              process_
//!      |
//!   writer   one metric: name, unit, type, help, value
//! ```
//!
//! Names follow Prometheus' rules: a base unit at the end, `_total` for counters. They never change; new
//! ones may be added. A value that can shrink, such as a size, is a gauge.

mod process;
mod prometheus;
mod server;
mod store;
mod writer;

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use self::writer::MetricsWriter;
use super::shared::Shared;

pub(super) use prometheus::prometheus_text;

/// The page, as OpenMetrics text. Reads files, and may wait for the device.
pub(super) fn render(shared: &Arc<Shared>) -> String {
    let mut registry = Registry::default();
    let part = |fill: Fill| Box::new(MetricSource { shared: Arc::clone(shared), fill });
    registry.register_collector(part(process::fill));
    registry.sub_registry_with_prefix("syncline").register_collector(part(server::fill));
    registry.sub_registry_with_prefix("syncline_store").register_collector(part(store::fill));
    let mut text = String::new();
    encode(&mut text, &registry).expect("writing to a string cannot fail");
    text
}

type Fill = fn(&mut MetricsWriter<'_>, &Shared);

/// The metrics of one origin.
struct MetricSource {
    shared: Arc<Shared>,
    fill: Fill,
}

impl Collector for MetricSource {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut writer = MetricsWriter::new(encoder);
        (self.fill)(&mut writer, &self.shared);
        writer.end()
    }
}

impl fmt::Debug for MetricSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricSource").finish_non_exhaustive()
    }
}
