//! The server's figures as a page: what a scrape of `/metrics` gets.
//!
//! ```text
//!   server   what connections counted: metrics    syncline_
//!   store    what the store says of itself        syncline_store_
//!   process  what the system says of the process  process_
//!      |
//!   sheet    one figure: name, unit, type, help, value
//! ```
//!
//! Names follow Prometheus' rules: a base unit at the end, `_total` for what only grows. They are
//! never changed; new ones may be added. What does not grow only, such as a size, is a gauge.

mod process;
mod prometheus;
mod server;
mod sheet;
mod store;

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use self::sheet::Sheet;
use super::shared::Shared;

pub(super) use prometheus::prometheus_text;

/// Everything, as OpenMetrics text. Reads files and may wait for the device.
pub(super) fn render(shared: &Arc<Shared>) -> String {
    let mut registry = Registry::default();
    let part = |fill: Fill| Box::new(Part { shared: Arc::clone(shared), fill });
    registry.register_collector(part(process::fill));
    registry.sub_registry_with_prefix("syncline").register_collector(part(server::fill));
    registry.sub_registry_with_prefix("syncline_store").register_collector(part(store::fill));
    let mut text = String::new();
    encode(&mut text, &registry).expect("text takes everything");
    text
}

type Fill = fn(&mut Sheet<'_>, &Shared);

/// The figures of one origin.
struct Part {
    shared: Arc<Shared>,
    fill: Fill,
}

impl Collector for Part {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut sheet = Sheet::new(encoder);
        (self.fill)(&mut sheet, &self.shared);
        sheet.end()
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").finish_non_exhaustive()
    }
}
