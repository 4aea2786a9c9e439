//! Scopes: the table of what each kind of request needs.
//!
//! A scope never contains another: a token that may write but not read has `write` alone.

use crate::net::proto::Kind;

/// A right of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    /// Read keys, and the store's figures.
    Read,
    /// Change keys.
    Write,
    /// Make and drop keyspaces, run long operations.
    Admin,
}

impl Scope {
    pub(crate) const ALL: [Scope; 3] = [Scope::Read, Scope::Write, Scope::Admin];

    /// The name in a file of tokens.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Write => "write",
            Scope::Admin => "admin",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Scope> {
        Scope::ALL.into_iter().find(|scope| scope.name() == name)
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A set of scopes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scopes(u8);

impl Scopes {
    pub(crate) const ALL: Scopes = Scopes::of(&Scope::ALL);

    pub(crate) const fn of(scopes: &[Scope]) -> Scopes {
        let (mut bits, mut at) = (0, 0);
        while at < scopes.len() {
            bits |= scopes[at].bit();
            at += 1;
        }
        Scopes(bits)
    }

    #[cfg(test)]
    pub(crate) fn contains(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    pub(crate) fn meets(self, other: Scopes) -> bool {
        self.0 & other.0 != 0
    }

    /// The names, as in "read or write".
    pub(crate) fn names(self) -> String {
        let names = Scope::ALL.into_iter().filter(|scope| self.0 & scope.bit() != 0);
        names.map(Scope::name).collect::<Vec<_>>().join(" or ")
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Scopes(scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()))
    }
}

/// What a kind of request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Nothing: the request concerns only the connection.
    Nothing,
    /// One of these scopes.
    OneOf(Scopes),
    /// No caller may: it is no request.
    Impossible,
}

/// The table.
pub(crate) fn needs(kind: Kind) -> Needs {
    const READ: Needs = Needs::OneOf(Scopes::of(&[Scope::Read]));
    const WRITE: Needs = Needs::OneOf(Scopes::of(&[Scope::Write]));
    const ADMIN: Needs = Needs::OneOf(Scopes::of(&[Scope::Admin]));
    const ANY: Needs = Needs::OneOf(Scopes::ALL);
    match kind {
        Kind::Hello | Kind::Ping | Kind::Cancel | Kind::Credit => Needs::Nothing,
        Kind::Get | Kind::Range | Kind::Keyspaces | Kind::Stats => READ,
        Kind::Put | Kind::Delete | Kind::Batch | Kind::Flush => WRITE,
        Kind::CreateKeyspace
        | Kind::DropKeyspace
        | Kind::Checkpoint
        | Kind::Verify
        | Kind::JobCancel => ADMIN,
        // A caller with any scope may follow its jobs.
        Kind::Watermarks
        | Kind::WatchWatermarks
        | Kind::JobStatus
        | Kind::JobWait
        | Kind::JobWatch => ANY,
        // A new kind is denied until it is added here.
        _ => Needs::Impossible,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_has_every_request_and_no_answer() {
        for &kind in Kind::ALL {
            assert_eq!(needs(kind) == Needs::Impossible, !kind.is_request(), "{kind:?}");
        }
    }

    #[test]
    fn scopes_form_sets_with_names() {
        assert_eq!(Scopes::ALL.names(), "read or write or admin");
        assert_eq!(Scopes::of(&[Scope::Write]).names(), "write");
        assert!(!Scopes::default().meets(Scopes::ALL));
        for scope in Scope::ALL {
            assert_eq!(Scope::from_name(scope.name()), Some(scope));
            assert!(Scopes::of(&[scope]).contains(scope));
        }
        assert_eq!(Scope::from_name("root"), None);
    }
}
