//! The metrics of `/metrics`: types, help texts, and values.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;

use super::http::{ask, probed};
use super::peer::{Hold, Peer, get, put, serve};
use crate::net::proto::{Answer, Checkpoint, Mode, Request, Response};
use crate::net::server::Config;
use crate::{Options, Store};

/// A page of OpenMetrics.
struct Page {
    /// Type and help, by the family's name.
    families: BTreeMap<String, (String, String)>,
    /// By name and labels.
    samples: BTreeMap<String, f64>,
}

impl Page {
    async fn of(address: SocketAddr) -> Page {
        let accept = "Accept: application/openmetrics-text; version=1.0.0\r\n";
        let text = ask(address, "GET /metrics", accept).await;
        let (_, body) = text.split_once("\r\n\r\n").unwrap();
        let mut page = Page { families: BTreeMap::new(), samples: BTreeMap::new() };
        for line in body.lines() {
            let words: Vec<&str> = line.splitn(4, ' ').collect();
            match words[..] {
                ["#", "HELP", name, help] => {
                    let is_new = page.families.insert(name.into(), ("".into(), help.into()));
                    assert!(is_new.is_none(), "{name} comes twice");
                }
                ["#", "TYPE", name, kind] => page.families.get_mut(name).unwrap().0 = kind.into(),
                ["#", ..] => {}
                _ => {
                    let (name, value) = line.rsplit_once(' ').unwrap();
                    page.samples.insert(name.into(), value.parse().unwrap());
                }
            }
        }
        page
    }

    #[track_caller]
    fn get(&self, name: &str) -> f64 {
        *self.samples.get(name).unwrap_or_else(|| panic!("no {name} in {:#?}", self.samples))
    }

    fn family_of(&self, sample: &str) -> &(String, String) {
        let name = sample.split('{').next().unwrap();
        let suffixes = ["", "_total", "_info", "_bucket", "_sum", "_count"];
        let mut families = suffixes.iter().filter_map(|suffix| name.strip_suffix(suffix));
        let family = families.find_map(|family| self.families.get(family));
        family.unwrap_or_else(|| panic!("{sample} belongs to no family"))
    }
}

/// A store in a directory, for the metrics of its files.
fn stored(dir: &tempfile::TempDir) -> Store {
    let store = Options::new().open(dir.path()).unwrap();
    store.keyspace("rows").unwrap();
    store
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_metric_has_a_type_a_unit_in_its_name_and_a_unique_help() {
    let dir = tempfile::tempdir().unwrap();
    let (server, native) = serve(stored(&dir), &probed()).await;
    let address = server.metrics_address().unwrap();
    let mut peer = Peer::greeted(native).await;
    peer.ask(2, &put("k", "v", Mode::Sync)).await;
    peer.ask(3, &Request::Flush).await;
    let page = Page::of(address).await;
    let mut helps = HashSet::new();
    for (name, (kind, help)) in &page.families {
        assert!(
            ["counter", "gauge", "histogram", "info"].contains(&kind.as_str()),
            "{name} {kind}"
        );
        assert!(help.len() > 15 && help.ends_with('.'), "{name}: {help}");
        assert!(helps.insert(help), "{name} has the help of another metric: {help}");
        assert!(!name.ends_with("_total") && name.is_ascii(), "{name}");
        let is_timed = name.contains("duration") || kind == "histogram";
        assert!(!is_timed || name.ends_with("_seconds"), "{name} has no unit");
    }
    for sample in page.samples.keys() {
        let (kind, _) = page.family_of(sample);
        assert_eq!(sample.split('{').next().unwrap().ends_with("_total"), kind == "counter");
    }
    for (name, expected) in [
        ("syncline_requests", "counter"),
        ("syncline_received_bytes", "counter"),
        ("syncline_connections_open", "gauge"),
        ("syncline_request_duration_seconds", "histogram"),
        ("syncline_build", "info"),
        ("syncline_store_commits", "counter"),
        ("syncline_store_cache_hits", "counter"),
        ("syncline_store_flush_duration_seconds", "histogram"),
        ("syncline_store_checkpoint_duration_seconds", "histogram"),
        ("syncline_store_stall_duration_seconds", "histogram"),
        ("syncline_store_position_bytes", "gauge"),
        ("syncline_store_recovery_duration_seconds", "gauge"),
    ] {
        assert_eq!(page.families[name].0, expected, "{name}");
    }
    for name in [
        "syncline_store_data_file_bytes",
        "syncline_store_data_free_bytes",
        "syncline_store_log_files_bytes",
        "syncline_store_disk_available_bytes",
        "syncline_store_disk_size_bytes",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_max_fds",
        "process_start_time_seconds",
    ] {
        let is_there = cfg!(target_os = "linux") || !name.starts_with("process_");
        assert!(!is_there || page.get(name) > 0.0, "{name}");
    }
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_count_the_requests_that_were_made() {
    let dir = tempfile::tempdir().unwrap();
    let (server, native) = serve(stored(&dir), &probed()).await;
    let address = server.metrics_address().unwrap();
    let mut peer = Peer::greeted(native).await;
    let before = Page::of(address).await;
    for (id, mode) in [(2, Mode::Sync), (3, Mode::Sync), (4, Mode::Async), (5, Mode::Job)] {
        peer.ask(id, &put("k", &"v".repeat(100), mode)).await;
    }
    peer.ask(6, &get("k")).await;
    assert!(matches!(
        peer.ask(7, &Request::DropKeyspace(crate::net::proto::DropKeyspace { name: "none" }))
            .await
            .response(),
        Response::Error(_)
    ));
    peer.ask(8, &Request::Checkpoint(Checkpoint { answer: Answer::AtEnd })).await;
    // Counts are added at the end of a turn, which may be after its answers have come.
    let done = "syncline_request_duration_seconds_count{kind=\"Checkpoint\",mode=\"none\"}";
    let after = loop {
        let page = Page::of(address).await;
        if page.samples.contains_key(done) {
            break page;
        }
    };
    let moved = |name: &str| after.get(name) - before.samples.get(name).unwrap_or(&0.0);
    for (name, by) in [
        ("syncline_requests_total{kind=\"Put\"}", 4.0),
        ("syncline_requests_total{kind=\"Get\"}", 1.0),
        ("syncline_requests_failed_total{code=\"NoSuchKeyspace\"}", 1.0),
        ("syncline_request_duration_seconds_count{kind=\"Put\",mode=\"sync\"}", 2.0),
        ("syncline_request_duration_seconds_count{kind=\"Put\",mode=\"async\"}", 1.0),
        ("syncline_request_duration_seconds_count{kind=\"Put\",mode=\"job\"}", 1.0),
        ("syncline_request_duration_seconds_count{kind=\"Get\",mode=\"none\"}", 1.0),
        (done, 1.0),
        ("syncline_store_commits_total{mode=\"sync\"}", 2.0),
        ("syncline_store_checkpoint_duration_seconds_count", 1.0),
    ] {
        assert_eq!(moved(name), by, "{name}");
    }
    for name in [
        "syncline_received_bytes_total",
        "syncline_sent_bytes_total",
        "syncline_store_user_written_bytes_total",
        "syncline_store_log_written_bytes_total",
        "syncline_store_data_written_bytes_total",
        "syncline_store_flush_duration_seconds_count",
        "syncline_store_flush_duration_seconds_sum",
        "syncline_store_position_bytes{mark=\"durable\"}",
        "syncline_store_position_bytes{mark=\"checkpoint\"}",
    ] {
        assert!(moved(name) > 0.0, "{name}");
    }
    let bucket = "syncline_request_duration_seconds_bucket{le=\"+Inf\",kind=\"Put\",mode=\"sync\"}";
    assert_eq!(after.get(bucket), 2.0);
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_show_a_running_flush_and_the_request_that_waits_for_it() {
    let (store, hold) = Hold::store();
    let (server, native) = serve(store, &Config { ..probed() }).await;
    let address = server.metrics_address().unwrap();
    let mut peer = Peer::greeted(native).await;
    peer.ask(2, &put("k", "v", Mode::Sync)).await;
    hold.hold();
    peer.send(3, &put("k", "w", Mode::Sync)).await;
    while Page::of(address).await.get("syncline_store_flush_running_seconds") == 0.0 {}
    assert_eq!(Page::of(address).await.get("syncline_requests_in_flight"), 1.0);
    hold.let_go();
    peer.answer().await;
    while Page::of(address).await.get("syncline_requests_in_flight") > 0.0 {}
    server.stop().await.unwrap();
}

/// The words in a file for operators that look like names of our metrics.
fn names_in(text: &str) -> HashSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("syncline_") || word.starts_with("process_")).collect()
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dashboard_and_alerts_name_existing_metrics() {
    let dir = tempfile::tempdir().unwrap();
    let (server, native) = serve(stored(&dir), &probed()).await;
    let address = server.metrics_address().unwrap();
    let mut peer = Peer::greeted(native).await;
    peer.ask(2, &put("k", "v", Mode::Sync)).await;
    let page = loop {
        let page = ask(address, "GET /metrics", "").await;
        if page.contains("syncline_request_duration_seconds_bucket") {
            break page;
        }
    };
    let there = names_in(&page);
    for (file, text) in [
        ("grafana-dashboard.json", include_str!("../../../../deploy/grafana-dashboard.json")),
        ("alerts.yml", include_str!("../../../../deploy/alerts.yml")),
    ] {
        let named = names_in(text);
        assert!(named.len() > 10, "{file} has names");
        for name in named {
            assert!(there.contains(name), "{file} names {name}, which the server does not have");
        }
    }
    server.stop().await.unwrap();
}
