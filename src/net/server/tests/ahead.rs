//! Gets overtake writes without changing any result, and no session exceeds its turn's budget.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Waker};

use proptest::prelude::*;
use tokio::time::Instant;

use super::peer::{get, put};
use super::talk::Talk;
use crate::net::proto::{Delete, Mode, Request};
use crate::net::server::fuzz;
use crate::net::server::shared::Shared;

#[test]
fn gets_overtake_writes_and_are_answered_once() {
    let mut talk = Talk::greeted();
    let writes = [talk.ask(&put("here", "value", Mode::Async))];
    talk.take(1);
    assert_eq!(talk.ids(), [writes[0] - 1, writes[0]]);
    let first = talk.ask(&put("ahead-1", "", Mode::Async));
    let found = talk.ask(&get("here"));
    let second = talk.ask(&put("ahead-2", "", Mode::Job));
    let missing = talk.ask(&get("not there"));
    assert!(talk.look_ahead());
    assert_eq!(talk.heard(), [(found, Some(b"value".to_vec())), (missing, None)]);
    assert!(!talk.look_ahead(), "all of it was looked at");
    talk.take(1);
    assert_eq!(talk.ids(), [first]);
    let later = talk.ask(&get("here"));
    assert!(talk.look_ahead(), "later packets are looked at as well");
    assert_eq!(talk.ids(), [later]);
    talk.take(9);
    assert_eq!((talk.ids(), talk.input.len()), (vec![second], 0));
}

#[test]
fn a_get_waits_for_a_write_of_its_key_and_nothing_overtakes_it() {
    let mut talk = Talk::greeted();
    talk.take(9);
    talk.heard();
    let write = talk.ask(&put("same", "new", Mode::Async));
    let same = talk.ask(&get("same"));
    let other = talk.ask(&get("other"));
    assert!(!talk.look_ahead());
    assert_eq!(talk.heard(), []);
    talk.take(9);
    assert_eq!(talk.heard(), [(write, None), (same, Some(b"new".to_vec())), (other, None)]);
}

#[test]
fn overtaking_gets_count_against_the_turns_budget() {
    let mut talk = Talk::greeted();
    talk.heard();
    let write = talk.ask(&put("one", "", Mode::Async));
    let gets: Vec<u64> = (0..10).map(|_| talk.ask(&get("two"))).collect();
    assert_eq!((talk.overtake(4), talk.ids()), (4, gets[..4].to_vec()));
    assert_eq!((talk.overtake(4), talk.ids()), (4, gets[4..8].to_vec()));
    talk.take(1);
    assert_eq!((talk.overtake(4), talk.ids()), (0, vec![write]), "no write is before it any more");
    talk.take(9);
    assert_eq!((talk.ids(), talk.input.len()), (gets[8..].to_vec(), 0));
    // Too many bytes to search for a key.
    for _ in 0..1100 {
        talk.ask(&put("one", &"v".repeat(1000), Mode::Async));
    }
    talk.ask(&get("two"));
    assert_eq!(talk.overtake(4), 0);
    talk.take(100);
    assert_eq!((talk.ids().len(), talk.overtake(4)), (100, 1), "the rest is not as long");
}

#[test]
fn a_get_overtakes_writes_only() {
    let mut talk = Talk::greeted();
    talk.heard();
    talk.ask(&put("one", "", Mode::Async));
    talk.ask(&Request::Ping);
    talk.ask(&get("two"));
    assert!(!talk.look_ahead());
    talk.take(1);
    assert!(!talk.look_ahead(), "the ping is first now");
    talk.take(1);
    assert!(!talk.look_ahead(), "and there is nothing to overtake");
    talk.take(1);
    assert_eq!(talk.heard().len(), 3);
}

#[test]
fn a_get_that_would_block_does_not_overtake() {
    let mut talk = Talk::greeted();
    talk.heard();
    let write = talk.ask(&put("one", "", Mode::Async));
    let strange = crate::net::proto::Get { keyspace: "strange", key: b"two" };
    talk.ask(&Request::Get(strange));
    talk.ask(&get("three"));
    assert!(!talk.look_ahead());
    talk.take(1);
    assert_eq!(talk.ids(), [write]);
}

#[test]
fn the_answers_to_a_flush_are_spread_over_several_turns() {
    let mut talk = Talk::greeted();
    talk.heard();
    let ids: Vec<u64> = (0..100).map(|_| talk.ask(&put("k", "v", Mode::Sync))).collect();
    talk.take(100);
    talk.shared.service.store().flush().unwrap();
    let (mut cx, mut heard) = (Context::from_waker(Waker::noop()), Vec::new());
    for expected in [40, 40, 20, 0] {
        let mut budget = 40;
        talk.session.catch_up(&mut cx, Instant::now(), &mut budget);
        let some = talk.ids();
        assert_eq!((some.len(), budget), (expected, 40 - expected));
        heard.extend(some);
    }
    assert_eq!(heard, ids);
}

#[derive(Clone, Debug)]
enum Step {
    Put(usize),
    Delete(usize),
    Get(usize),
    Ping,
    LookAhead(usize),
    Take(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..KEYS.len()).prop_map(Step::Put),
        1 => (0..KEYS.len()).prop_map(Step::Delete),
        4 => (0..KEYS.len()).prop_map(Step::Get),
        1 => Just(Step::Ping),
        3 => (1..4_usize).prop_map(Step::LookAhead),
        2 => (1..6_usize).prop_map(Step::Take),
    ]
}

/// One key is contained in another; one may occur in a value.
const KEYS: [&str; 5] = ["key-1", "key-11", "key-2", "3", "a-longer-key"];

/// One store for all cases, and for no other test, which might keep the log busy.
static SHARED: LazyLock<Arc<Shared>> = LazyLock::new(fuzz::new_shared);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn an_overtaking_get_finds_what_it_would_have_found_in_order(
        steps in prop::collection::vec(step(), 0..120)
    ) {
        let mut talk = Talk::over(Arc::clone(&SHARED));
        talk.ask(&put("key-1", "left from before", Mode::Async));
        for key in KEYS {
            talk.ask(&Request::Delete(Delete { keyspace: "rows", key: key.as_bytes(), mode: Mode::Async, once: None }));
        }
        talk.take(usize::MAX);
        talk.heard();
        let (mut model, mut expected, mut found) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for (number, step) in steps.into_iter().chain([Step::Take(usize::MAX)]).enumerate() {
            match step {
                Step::Put(key) => {
                    let value = number.to_string();
                    let id = talk.ask(&put(KEYS[key], &value, Mode::Async));
                    model.insert(key, value.into_bytes());
                    expected.insert(id, None);
                }
                Step::Delete(key) => {
                    let (mode, key_bytes) = (Mode::Async, KEYS[key].as_bytes());
                    let delete = Delete { keyspace: "rows", key: key_bytes, mode, once: None };
                    expected.insert(talk.ask(&Request::Delete(delete)), None);
                    model.remove(&key);
                }
                Step::Get(key) => {
                    expected.insert(talk.ask(&get(KEYS[key])), model.get(&key).cloned());
                }
                Step::Ping => {
                    expected.insert(talk.ask(&Request::Ping), None);
                }
                Step::LookAhead(gets) => {
                    talk.overtake(gets);
                }
                Step::Take(packets) => talk.take(packets),
            }
            found.extend(talk.heard());
        }
        prop_assert!(talk.input.is_empty());
        prop_assert_eq!(found.len(), expected.len(), "each is answered once");
        prop_assert_eq!(found.into_iter().collect::<BTreeMap<_, _>>(), expected);
    }
}
