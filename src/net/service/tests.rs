//! The promises of the service, without a front end.

use std::sync::Arc;
use std::time::Duration;

use super::{Caller, JobRef, Operation, OperationOutcome, Performed, Recent, Reply, Service};
use crate::engine::disk::{Keep, Op, SimDisk};
use crate::net::proto::{Applied, Code, JobState, MAX_BODY, Mode, Put, Request};
use crate::{CommitMode, Options, Store, WriteBatch};

fn open(disk: &SimDisk) -> (Store, Service) {
    let store = Options::new().open_on(Arc::new(disk.clone())).unwrap();
    store.keyspace("rows").unwrap();
    (store.clone(), Service::new(store).unwrap())
}

fn put<'a>(value: &'a [u8], once: &'a [u8]) -> Request<'a> {
    let (keyspace, key, mode, once) = ("rows", &b"k"[..], Mode::Sync, Some(once));
    Request::Put(Put { keyspace, key, value, mode, once })
}

fn perform(service: &Service, request: &Request<'_>, caller: &Caller) -> Applied {
    let mut out = Vec::new();
    let mut reply = Reply { id: 1, max_body: MAX_BODY, out: &mut out };
    match service.perform(request, caller, &mut reply) {
        Performed::Appended(appended) => appended.applied,
        other => panic!("{other:?}"),
    }
}

#[test]
fn retry_is_recognized_after_a_power_loss_if_the_write_was_durable() {
    let disk = SimDisk::new();
    let (store, service) = open(&disk);
    let caller = Caller::anybody();
    assert_eq!(perform(&service, &put(b"1", b"first"), &caller), Applied::Now);
    store.flush().unwrap();
    let disk = disk.crash(Keep::Nothing);
    drop((store, service));
    let (store, service) = open(&disk);
    assert_eq!(perform(&service, &put(b"2", b"first"), &caller), Applied::Before);
    let rows = store.open_keyspace("rows").unwrap().unwrap();
    assert_eq!(rows.get("k").unwrap().as_deref(), Some(&b"1"[..]), "key and write are one commit");
}

#[test]
fn one_of_many_concurrent_writes_with_one_idempotency_key_is_applied() {
    let (_store, service) = open(&SimDisk::new());
    let applied: Vec<Applied> = std::thread::scope(|scope| {
        let one = |number: u8| {
            let service = &service;
            scope.spawn(move || {
                let (value, caller) = ([number], Caller::anybody());
                let request = put(&value, b"same");
                let at_once =
                    service.write_at_once(&request, &caller, &mut Recent::default()).unwrap();
                at_once.map_or_else(
                    || perform(service, &request, &caller),
                    |appended| appended.applied,
                )
            })
        };
        let threads: Vec<_> = (0..8).map(one).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(applied.iter().filter(|applied| **applied == Applied::Now).count(), 1);
}

#[test]
fn callers_do_not_share_idempotency_keys() {
    let (_store, service) = open(&SimDisk::new());
    let named = |name: &str| Caller { name: name.into(), ..Caller::anybody() };
    assert_eq!(perform(&service, &put(b"1", b"bc"), &named("a")), Applied::Now);
    assert_eq!(perform(&service, &put(b"1", b"c"), &named("ab")), Applied::Now);
    assert_eq!(perform(&service, &put(b"1", b"bc"), &named("a")), Applied::Before);
}

#[test]
fn old_keys_are_forgotten_and_new_ones_kept() {
    let (store, service) = open(&SimDisk::new());
    let caller = Caller::anybody();
    perform(&service, &put(b"1", b"new"), &caller);
    let keys = store.keyspace("$once").unwrap();
    for number in 0..2500_u32 {
        keys.put(number.to_be_bytes(), 1_u64.to_le_bytes()).unwrap();
    }
    assert_eq!(service.sweep_once(Duration::from_secs(3600)).unwrap().keys, 2500);
    assert_eq!(keys.len().unwrap(), 1);
    assert_eq!(perform(&service, &put(b"2", b"new"), &caller), Applied::Before);
}

/// Writes enough pages that a check, or a checkpoint on a slow device, takes a while.
fn fill(store: &Store) {
    let rows = store.keyspace("rows").unwrap();
    for part in 0..40_u32 {
        let mut batch = WriteBatch::new();
        for row in 0..1000_u32 {
            batch.put(&rows, [part.to_be_bytes(), row.to_be_bytes()].concat(), [7; 60]);
        }
        store.write_with(batch, CommitMode::Async).unwrap();
    }
}

/// Begins an operation and cancels it once it reports progress. Returns its outcome, and the last
/// progress.
fn cancelled_on_its_way(service: &Service, operation: Operation) -> (OperationOutcome, u64, u64) {
    let number = service.begin(operation).unwrap();
    let mut seen = (0, 0);
    loop {
        match service.state_now(JobRef::Operation(number)).unwrap() {
            JobState::Running { done, total } if done > 0 && total > 0 => {
                assert!(done <= total && done >= seen.0, "{done} of {total} after {seen:?}");
                seen = (done, total);
                service.jobs().cancel(number);
            }
            JobState::Queued | JobState::Running { .. } => {}
            _ => return (service.outcome(number).unwrap(), seen.0, seen.1),
        }
        std::thread::yield_now();
    }
}

#[test]
fn check_reports_progress_and_stops_when_it_is_cancelled() {
    let (store, service) = open(&SimDisk::new());
    fill(&store);
    // It may end before the first look.
    let is_seen = (0..200).any(|_| match cancelled_on_its_way(&service, Operation::Verify) {
        (OperationOutcome::Cancelled, done, total) => done > 0 && total > 100,
        (OperationOutcome::Verified(found), ..) => {
            assert!(found.is_clean() && found.keys == 40_000, "{found:?}");
            false
        }
        (other, ..) => panic!("{other:?}"),
    });
    assert!(is_seen, "200 checks, and none reported progress and was cancelled");
    service.close();
}

#[test]
fn checkpoint_reports_progress_and_changes_nothing_when_it_is_cancelled() {
    let disk = SimDisk::new();
    disk.watch(|_, call| {
        if call.op == Op::Write {
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    let (store, service) = open(&disk);
    fill(&store);
    let before = store.watermarks().checkpoint;
    let (outcome, done, total) = cancelled_on_its_way(&service, Operation::Checkpoint);
    assert!(matches!(outcome, OperationOutcome::Cancelled), "{outcome:?}");
    assert!(done > 0 && done < total, "{done} of {total}");
    assert_eq!(store.watermarks().checkpoint, before);
    assert!(store.verify().unwrap().is_clean());
    assert!(store.checkpoint().unwrap() > before);
    assert!(store.verify().unwrap().is_clean());
    service.close();
}

#[test]
fn check_counts_only_keyspaces_of_clients() {
    let (_store, service) = open(&SimDisk::new());
    perform(&service, &put(b"1", b"once"), &Caller::anybody());
    let number = service.begin(Operation::Verify).unwrap();
    let found = loop {
        match service.outcome(number) {
            Some(OperationOutcome::Verified(found)) => break found,
            Some(other) => panic!("{other:?}"),
            None => std::thread::yield_now(),
        }
    };
    assert_eq!((found.keyspaces, found.keys), (1, 1), "neither `$once` nor its keys count");
    service.close();
}

#[test]
fn retry_is_recognized_after_its_keyspace_was_dropped() {
    let (store, service) = open(&SimDisk::new());
    let caller = Caller::anybody();
    assert_eq!(perform(&service, &put(b"1", b"first"), &caller), Applied::Now);
    store.drop_keyspace("rows").unwrap().wait().unwrap();
    let retry = put(b"1", b"first");
    let at_once = service.write_at_once(&retry, &caller, &mut Recent::default()).unwrap();
    assert!(at_once.is_none_or(|appended| appended.applied == Applied::Before));
    assert_eq!(perform(&service, &retry, &caller), Applied::Before);
    let mut out = Vec::new();
    let mut reply = Reply { id: 1, max_body: MAX_BODY, out: &mut out };
    let performed = service.perform(&put(b"1", b"second"), &caller, &mut reply);
    assert!(matches!(performed, Performed::Answered), "the keyspace is gone for a new one");
}

#[test]
fn latest_thousand_ended_operations_are_known() {
    let (_store, service) = open(&SimDisk::new());
    let number = |job: &str| service.find_job(job).map_err(|failure| failure.code);
    let first = service.job_of_operation(service.begin(Operation::Verify).unwrap());
    for ended in 0..1000 {
        assert!(number(&first).is_ok(), "{ended} others have ended");
        let next = service.begin(Operation::Verify).unwrap();
        while service.outcome(next).is_none() {
            std::thread::yield_now();
        }
    }
    assert_eq!(number(&first).unwrap_err(), Code::NoSuchJob);
    service.close();
}

/// Other files have taken all space since the store was closed.
#[test]
fn closed_store_is_served_on_a_full_disk() {
    for has_been_served in [true, false] {
        let disk = SimDisk::new();
        if has_been_served {
            let (store, service) = open(&disk);
            perform(&service, &put(b"1", b"first"), &Caller::anybody());
            drop(service);
            store.close().unwrap();
        } else {
            let store = Options::new().open_on(Arc::new(disk.clone())).unwrap();
            store.keyspace("rows").unwrap().put("k", "1").unwrap();
            store.close().unwrap();
        }
        for _ in 0..2 {
            disk.set_capacity(Some(disk.used_bytes()));
            let (store, service) = open(&disk);
            let rows = store.open_keyspace("rows").unwrap().unwrap();
            assert_eq!(rows.get("k").unwrap().as_deref(), Some(&b"1"[..]));
            drop(rows);
            disk.set_capacity(None);
            store.keyspace("rows").unwrap().put("more", "2").unwrap();
            drop(service);
            store.close().unwrap();
        }
    }
}
