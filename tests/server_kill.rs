//! A server killed amid pipelined writes: every write that it acknowledged, in whatever mode, is
//! found again by the next one, and every job is judged truly.
//!
//! Each writer owns its keys and writes rising versions to them, so what may be found of a key is
//! known: at least the version that was acknowledged last, at most the one that was sent last.

#![cfg(unix)]

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use syncline::CommitMode;
use syncline::client::{Batch, Client, JobState, Write};

const ROUNDS: u64 = 4;
const WRITERS: u64 = 24;
const KEYS: u64 = 8;
const PATIENCE: Duration = Duration::from_secs(60);

/// What is known of one key.
#[derive(Clone, Copy, Default)]
struct Version {
    acknowledged: u64,
    sent: u64,
}

/// What the writers know.
#[derive(Default)]
struct Known {
    versions: HashMap<String, Version>,
    /// Jobs that were told, the last ones of each life.
    jobs: Vec<String>,
    acknowledged: u64,
}

struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(dir: &Path) -> Server {
        let socket = dir.join("socket");
        let child = Command::new(env!("CARGO_BIN_EXE_syncline"))
            .arg("serve")
            .arg(dir.join("store"))
            .args(["--listen", "127.0.0.1:0", "--log", "error", "--unix"])
            .arg(&socket)
            .args(["--set", "checkpoint_log_mib=1"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Server { child, address: format!("unix:{}", socket.display()) }
    }

    async fn client(&self) -> Client {
        let end = Instant::now() + PATIENCE;
        loop {
            let options = Client::options().tries(1).connect_timeout(Duration::from_millis(500));
            match options.connect(&self.address).await {
                Ok(client) => return client,
                Err(error) => assert!(Instant::now() < end, "no server: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn what_a_killed_server_acknowledged_is_found_again() {
    let seed = RandomState::new().hash_one(0) >> 32;
    println!("seed {seed}: the moments of the kills follow from it");
    let dir = tempfile::tempdir().unwrap();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    let known = Arc::new(Mutex::new(Known::default()));
    for round in 0..ROUNDS {
        let server = Server::start(dir.path());
        let after = Duration::from_millis(30 + (seed >> (round * 7) & 127));
        runtime.block_on(async {
            let client = server.client().await;
            judge(&client, &known, seed, round).await;
            client.create_keyspace("rows").await.unwrap();
            let tasks = (0..WRITERS)
                .map(|writer| tokio::spawn(write(client.clone(), writer, Arc::clone(&known))));
            let tasks: Vec<_> = tasks.collect();
            tokio::time::sleep(after).await;
            server.kill();
            for task in tasks {
                task.await.unwrap();
            }
        });
    }
    let server = Server::start(dir.path());
    runtime.block_on(async {
        let client = server.client().await;
        judge(&client, &known, seed, ROUNDS).await;
        let found = client.verify().await.unwrap();
        assert!(found.is_clean(), "seed {seed}: {found:?}");
    });
    let acknowledged = known.lock().unwrap().acknowledged;
    println!("{acknowledged} writes were acknowledged in {ROUNDS} lives");
    assert!(acknowledged >= ROUNDS * WRITERS, "seed {seed}: only {acknowledged} writes");
    server.kill();
}

/// Writes in all modes, in turns, until the server is gone.
async fn write(client: Client, writer: u64, known: Arc<Mutex<Known>>) {
    let rows = client.keyspace("rows");
    for turn in 0.. {
        let key = format!("{writer}-{}", turn % KEYS);
        let version = {
            let mut known = known.lock().unwrap();
            let version = known.versions.entry(key.clone()).or_default();
            version.sent += 1;
            version.sent
        };
        let value = version.to_string();
        let mode = (turn + writer) % 5;
        let outcome = match mode {
            0 => rows.put(&key, &value).await,
            1 | 2 => rows.put_with(&key, &value, CommitMode::Async).await,
            3 => rows.put_with(&key, &value, Write::job()).await,
            _ => {
                let mut batch = Batch::new();
                batch.put("rows", &key, "overwritten in the same batch");
                batch.put("rows", &key, &value);
                client.write(&batch, Write::job()).await
            }
        };
        let Ok(job) = outcome else { return };
        assert!(mode != 0 || job.is_durable(), "a sync put is answered when it is durable");
        let mut known = known.lock().unwrap();
        known.acknowledged += 1;
        known.versions.get_mut(&key).expect("sent").acknowledged = version;
        known.jobs.push(job.id().to_owned());
    }
}

/// Holds what is found against what is known.
async fn judge(client: &Client, known: &Arc<Mutex<Known>>, seed: u64, round: u64) {
    let (versions, jobs) = {
        let mut known = known.lock().unwrap();
        (known.versions.clone(), std::mem::take(&mut known.jobs))
    };
    let rows = client.keyspace("rows");
    for (key, version) in versions {
        let found = rows.get(&key).await.unwrap();
        let found = found.map_or(0, |text| String::from_utf8(text).unwrap().parse().unwrap());
        let Version { acknowledged, sent } = version;
        assert!(
            acknowledged <= found && found <= sent,
            "seed {seed}, life {round}: {key} is {found}, {acknowledged} was acknowledged, \
             {sent} was sent"
        );
        // A write that was lost in mid-air may still have been done: it is what counts from here.
        let mut known = known.lock().unwrap();
        known.versions.get_mut(&key).expect("known").acknowledged = found;
    }
    // A kill takes nothing that was appended: none of these may be lost, or unknown.
    for job in jobs.iter().rev().take(300) {
        let state = client.job(job).status().await.unwrap();
        assert_eq!(state, JobState::Durable, "seed {seed}, life {round}: {job}");
    }
    // And one that was never made in a former life is not claimed.
    if let Some((life, _)) = jobs.last().and_then(|job| job.rsplit_once('-')) {
        let state = client.job(format!("{life}-ffffffffffff")).status().await.unwrap();
        assert_eq!(state, JobState::Lost, "seed {seed}, life {round}");
    }
}
