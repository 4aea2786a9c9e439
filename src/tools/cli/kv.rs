//! `put`, `get` and `del`: one key.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read};
use std::path::Path;

use super::args::{GetArgs, KeyArgs, PutArgs};
use super::failure::{CommandResult, Failure, Status};
use super::messages::{no_keyspace, not_found};
use super::output::print_value;
use super::remote;
use super::store::{Access, with_store};
use crate::Store;

pub(super) fn put(args: &PutArgs) -> CommandResult {
    let key = args.encoding.decode(&args.key)?;
    let value = value(args)?;
    if let Some(remote) = args.place.remote.is_asked() {
        return remote::put(&remote, args, &key, &value);
    }
    with_store(&args.place.dir, Access::Create, |store| put_into(store, args, &key, &value))
}

fn put_into(store: &Store, args: &PutArgs, key: &[u8], value: &[u8]) -> CommandResult {
    let keyspace = store.keyspace(&args.place.keyspace)?;
    keyspace.put_with(key, value, args.mode.into())?;
    Ok(Status::Done)
}

/// The value of an argument: itself, standard input, or the content of a file.
fn value(args: &PutArgs) -> Result<Vec<u8>, Failure> {
    let bytes = args.value.as_encoded_bytes();
    if args.literal {
        return args.encoding.decode(&args.value);
    }
    if bytes == b"-" {
        let mut value = Vec::new();
        let read = io::stdin().lock().read_to_end(&mut value);
        return read.map(|_| value).map_err(Failure::io("read standard input"));
    }
    match text_after(&args.value, '@') {
        Some(file) => {
            fs::read(&file).map_err(Failure::io(format!("read {}", Path::new(&file).display())))
        }
        None => args.encoding.decode(&args.value),
    }
}

/// The rest of an argument that begins with `sign`.
fn text_after(argument: &OsStr, sign: char) -> Option<OsString> {
    let bytes = argument.as_encoded_bytes().strip_prefix(&[sign as u8])?;
    #[cfg(unix)]
    return Some(<OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(bytes).to_owned());
    #[cfg(not(unix))]
    return String::from_utf8(bytes.to_vec()).ok().map(OsString::from);
}

pub(super) fn get(args: &GetArgs) -> CommandResult {
    let (place, encoding) = (&args.at.place, &args.at.encoding);
    let key = encoding.decode(&args.at.key)?;
    if let Some(remote) = place.remote.is_asked() {
        return remote::get(&remote, args, &key);
    }
    with_store(&place.dir, Access::Read, |store| {
        let Some(keyspace) = store.open_keyspace(&place.keyspace)? else {
            return no_keyspace(&place.keyspace);
        };
        let Some(value) = keyspace.get(&key)? else {
            return not_found(&args.at);
        };
        print_value(args, &value)
    })
}

pub(super) fn del(args: &KeyArgs) -> CommandResult {
    let key = args.encoding.decode(&args.key)?;
    if let Some(remote) = args.place.remote.is_asked() {
        return remote::del(&remote, args, &key);
    }
    with_store(&args.place.dir, Access::Change, |store| {
        let Some(keyspace) = store.open_keyspace(&args.place.keyspace)? else {
            return no_keyspace(&args.place.keyspace);
        };
        // No other process has the store open, so nothing happens between these two.
        if !keyspace.contains_key(&key)? {
            return not_found(args);
        }
        keyspace.delete(&key)?;
        Ok(Status::Done)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use clap::Parser;

    use super::super::args::{Cli, Command};
    use super::super::store::and_close;
    use super::*;
    use crate::Options;
    use crate::engine::disk::{Keep, SimDisk};

    /// After a power loss.
    #[test]
    fn put_is_durable_at_the_end_in_either_mode() {
        for mode in ["sync", "async"] {
            let said = ["syncline", "put", "dir", "key", "value", "--mode", mode];
            let Command::Put(args) = Cli::try_parse_from(said).unwrap().command else {
                panic!("a put")
            };
            let disk = SimDisk::new();
            let open = |disk: &SimDisk| {
                Options::new().without_threads().open_on(Arc::new(disk.clone())).unwrap()
            };
            let done = and_close(open(&disk), |store| put_into(store, &args, b"key", b"value"));
            assert_eq!(done.unwrap(), Status::Done);
            let store = open(&disk.crash(Keep::Nothing));
            let rows = store.open_keyspace("default").unwrap().expect("the keyspace");
            assert_eq!(rows.get("key").unwrap().as_deref(), Some(&b"value"[..]), "{mode}");
        }
    }
}
