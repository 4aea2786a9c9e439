//! `PROTOCOL.md` says what the code does: its examples are the pinned bytes, its tables name every
//! kind and every code with the right number.

use super::super::*;
use super::golden::lines;
use super::unhex;

const TEXT: &str = include_str!("../../../PROTOCOL.md");

/// Examples stand in blocks that begin with "```hex NAME"; what follows a `|` explains.
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
fn limits_are_named() {
    for limit in [MAX_BODY, MAX_HELLO, MAX_ONCE as u32, MAX_WATCHED as u32] {
        assert!(TEXT.contains(&limit.to_string()), "{limit}");
    }
}
