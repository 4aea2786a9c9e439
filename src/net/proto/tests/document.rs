//! `PROTOCOL.md` agrees with the code: its examples are the pinned bytes, and its tables name every kind
//! and every code with the right number.

use std::sync::Arc;

use super::super::*;
use super::golden::lines;
use super::unhex;
use crate::engine::base::error::Error;
use crate::engine::base::lsn::{Incarnation, StoreId};

const TEXT: &str = include_str!("../../../../PROTOCOL.md");

/// Examples are blocks that begin with "```hex NAME"; the text after a `|` explains.
#[test]
fn examples_are_the_pinned_bytes() {
    let mut examples = 0;
    for block in TEXT.split("```hex ").skip(1) {
        let (name, rest) = block.split_once('\n').expect("a name");
        let (block, _) = rest.split_once("```").expect("an end");
        let digits: String =
            block.lines().map(|line| line.split('|').next().expect("a part")).collect();
        let pinned = lines().find(|(known, _)| *known == name);
        let (_, pinned) = pinned.unwrap_or_else(|| panic!("no packet is called {name}"));
        assert_eq!(unhex(&digits), pinned, "{name}");
        examples += 1;
    }
    assert!(examples >= 8, "{examples} examples");
}

/// Rows of a table whose first two cells are a number and a name.
fn rows() -> impl Iterator<Item = (u16, &'static str, &'static str)> {
    TEXT.lines().filter_map(|line| {
        let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
        let number = cells.next()?.parse().ok()?;
        Some((number, cells.next()?.trim_matches('`'), line))
    })
}

#[test]
fn every_kind_is_in_a_table() {
    for kind in Kind::ALL {
        let wanted = (u16::from(kind.number()), kind.name());
        assert!(rows().any(|(number, name, _)| (number, name) == wanted), "{wanted:?}");
    }
}

#[test]
fn every_code_is_in_the_table_and_says_whether_to_retry() {
    for code in Code::ALL {
        let wanted = (code.number(), code.name());
        let row = rows().find(|(number, name, _)| (*number, *name) == wanted);
        let (.., line) = row.unwrap_or_else(|| panic!("{wanted:?} is missing"));
        let says_yes = line.split('|').nth(3).map(str::trim) == Some("yes");
        assert_eq!(says_yes, code.is_retryable(), "{line}");
    }
}

#[test]
fn document_names_the_limits() {
    for limit in [MAX_BODY, MAX_HELLO, MAX_ONCE as u32, MAX_WATCHED as u32] {
        assert!(TEXT.contains(&limit.to_string()), "{limit}");
    }
}

/// One error of each kind of the store.
fn errors() -> Vec<Error> {
    let (file, name) = (|| String::from("log"), || String::from("rows"));
    let source = || Arc::new(std::io::Error::other("why"));
    let (expected, found) = (StoreId([1; 16]), StoreId([2; 16]));
    let poison = Error::Io { action: "flush".into(), file: file(), source: source() };
    vec![
        poison.clone(),
        Error::DiskFull { file: file(), needed: 1 },
        Error::Corrupt { file: file(), offset: 2, expected: name(), found: name() },
        Error::Missing { file: file(), expected: name() },
        Error::Version { file: file(), supported: 2, found: 3 },
        Error::WrongStore { file: file(), expected, found },
        Error::Locked { directory: file() },
        Error::ReadOnly { file: file(), source: source() },
        Error::NotAStore { directory: file(), reason: name() },
        Error::KeyTooLong { len: 2, max: 1 },
        Error::ValueTooLong { len: 2, max: 1 },
        Error::InvalidName { name: name() },
        Error::NoSuchKeyspace { name: name() },
        Error::KeyspaceExists { name: name() },
        Error::ForeignKeyspace { name: name() },
        Error::InvalidOption { option: "cache", reason: name() },
        Error::InvalidToken { token: name(), reason: name() },
        Error::UnknownLife { token: name(), incarnation: Incarnation::new(3) },
        Error::Poisoned { source: Arc::new(poison), appended: None },
        Error::CacheExhausted { frames: 4 },
        Error::Closed,
    ]
}

#[test]
fn every_error_of_the_store_has_its_details() {
    for error in errors() {
        let failure = Failure::from(&error);
        let row = rows().find(|(number, ..)| *number == failure.code.number());
        let (.., line) = row.expect("every code is in the table");
        let told = line.split('|').nth(5).expect("a cell");
        let named = told.split('`').skip(1).step_by(2).filter(|name| *name != "job");
        let has: Vec<&str> = failure.detail.iter().map(|(name, _)| &**name).collect();
        assert_eq!(named.collect::<Vec<_>>(), has, "{line}");
    }
    let codes: std::collections::BTreeSet<u16> =
        errors().iter().map(|error| Failure::from(error).code.number()).collect();
    let of_the_store = Code::ALL.iter().filter(|code| code.number() >= Code::Io.number());
    assert_eq!(codes.len(), of_the_store.count(), "there is one of each");
}
