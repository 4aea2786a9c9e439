//! Everything that a store holds, as the model has it.

use std::sync::Arc;

use syncline::{Error, Store};

use crate::model::{Map, State};

/// Why a read failed: an error of the store, or a wrong answer.
#[derive(Debug)]
pub(crate) enum Failed {
    Refused(Error),
    Wrong(String),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Failed::Refused(error)
    }
}

/// Reads everything in the store, and checks that the counts agree.
pub(crate) fn contents(store: &Store) -> Result<State, Failed> {
    let mut state = State::new();
    for name in store.keyspaces() {
        let Some(keyspace) = store.open_keyspace(&name)? else {
            return wrong(format!("keyspace {name} is listed, but not there"));
        };
        let mut map = Map::new();
        for entry in keyspace.iter()? {
            let (key, value) = entry?.into_pair();
            if map.insert(key, value.into()).is_some() {
                return wrong(format!("keyspace {name} gives a key twice"));
            }
        }
        if keyspace.len()? != map.len() as u64 {
            return wrong(format!("{name}: len {}, but {} keys", keyspace.len()?, map.len()));
        }
        state.insert(name, Arc::new(map));
    }
    Ok(state)
}

pub(crate) fn wrong<T>(what: String) -> Result<T, Failed> {
    Err(Failed::Wrong(what))
}
