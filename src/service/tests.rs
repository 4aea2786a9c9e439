//! What the service promises apart from any front end.

use std::sync::Arc;
use std::time::Duration;

use super::{Caller, Performed, Recent, Reply, Service};
use crate::disk::{Keep, SimDisk};
use crate::proto::{Applied, MAX_BODY, Mode, Put, Request};
use crate::{Options, Store};

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
fn a_retry_is_known_after_a_power_loss_if_the_write_was_durable() {
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
fn of_many_with_one_key_at_the_same_time_one_is_applied() {
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
fn callers_do_not_share_keys() {
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
    assert_eq!(service.sweep_once(Duration::from_secs(3600)).unwrap(), 2500);
    assert_eq!(keys.len().unwrap(), 1);
    assert_eq!(perform(&service, &put(b"2", b"new"), &caller), Applied::Before);
}
