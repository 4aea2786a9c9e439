//! Callers and their rights.

use super::scope::{Needs, Scopes, needs};
use crate::net::proto::{Code, Failure, Op, Request};

/// The caller behind a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The name of the token, empty without one. Idempotency keys of different names are apart.
    pub(crate) name: String,
    pub(crate) scopes: Scopes,
    pub(crate) realm: Realm,
}

/// The keyspaces that a caller may touch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Realm {
    All,
    /// Names, or prefixes of names that end in `*`.
    Some(Vec<String>),
}

impl Realm {
    pub(crate) fn has(&self, keyspace: &str) -> bool {
        match self {
            Realm::All => true,
            Realm::Some(patterns) => {
                patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
                    Some(prefix) => keyspace.starts_with(prefix),
                    None => keyspace == pattern,
                })
            }
        }
    }
}

impl Caller {
    /// Any caller of a server without tokens.
    pub(crate) fn anybody() -> Caller {
        Caller { name: String::new(), scopes: Scopes::ALL, realm: Realm::All }
    }

    /// Checks that the caller has the right to this request (SERVICE-1).
    ///
    /// # Errors
    /// `Denied`, with the missing scope or keyspace.
    pub(crate) fn check(&self, request: &Request<'_>) -> Result<(), Failure<'static>> {
        let kind = request.kind();
        match needs(kind) {
            Needs::Nothing => return Ok(()),
            Needs::OneOf(scopes) if scopes.meets(self.scopes) => {}
            Needs::OneOf(scopes) => {
                let scope = scopes.names();
                let message = format!("{} needs the scope {scope}", kind.name());
                return Err(Failure::new(Code::Denied, message).with("scope", scope));
            }
            Needs::Impossible => {
                return Err(Failure::new(Code::Denied, format!("{} is denied", kind.name())));
            }
        }
        let Realm::Some(_) = &self.realm else { return Ok(()) };
        match request {
            Request::Get(get) => self.check_keyspace(get.keyspace),
            Request::Put(put) => self.check_keyspace(put.keyspace),
            Request::Delete(delete) => self.check_keyspace(delete.keyspace),
            Request::Range(range) => self.check_keyspace(range.keyspace),
            Request::CreateKeyspace(create) => self.check_keyspace(create.name),
            Request::DropKeyspace(drop) => self.check_keyspace(drop.name),
            Request::Batch(batch) => batch.ops.into_iter().try_for_each(|op| match op {
                Op::Put { keyspace, .. } | Op::Delete { keyspace, .. } => {
                    self.check_keyspace(keyspace)
                }
            }),
            _ => Ok(()),
        }
    }

    fn check_keyspace(&self, keyspace: &str) -> Result<(), Failure<'static>> {
        if self.realm.has(keyspace) {
            return Ok(());
        }
        let message = format!("the token does not open keyspace {keyspace:?}");
        Err(Failure::new(Code::Denied, message).with("keyspace", keyspace.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::proto::{
        Answer, At, Batch, Bound, Cancel, Checkpoint, CreateKeyspace, Credit, Delete, Delivery,
        DropKeyspace, Existing, Get, JobCancel, JobStatus, JobWait, JobWatch, Kind, Mode, Ops,
        OpsBuffer, Order, Put, Range, Verify, WatchWatermarks,
    };
    use crate::net::service::Scope;

    /// A request of this kind, on this keyspace if it names one.
    fn request<'a>(kind: Kind, keyspace: &'a str, ops: Ops<'a>) -> Option<Request<'a>> {
        let (key, value, once) = (b"k".as_slice(), b"v".as_slice(), None);
        let (mode, answer, job) = (Mode::Async, Answer::Job, "j");
        Some(match kind {
            Kind::Ping => Request::Ping,
            Kind::Cancel => Request::Cancel(Cancel { id: 1 }),
            Kind::Credit => Request::Credit(Credit { id: 1, more: 1 }),
            Kind::Get => Request::Get(Get { keyspace, key }),
            Kind::Put => Request::Put(Put { keyspace, key, value, mode, once }),
            Kind::Delete => Request::Delete(Delete { keyspace, key, mode, once }),
            Kind::Batch => Request::Batch(Batch { mode, once, ops }),
            Kind::Range => Request::Range(Range {
                keyspace,
                lower: Bound::Unbounded,
                upper: Bound::Unbounded,
                order: Order::Ascending,
                limit: None,
                delivery: Delivery::Page { max_bytes: 1 },
                at: At::Latest,
            }),
            Kind::Keyspaces => Request::Keyspaces,
            Kind::CreateKeyspace => Request::CreateKeyspace(CreateKeyspace {
                name: keyspace,
                existing: Existing::Accept,
            }),
            Kind::DropKeyspace => Request::DropKeyspace(DropKeyspace { name: keyspace }),
            Kind::Stats => Request::Stats,
            Kind::Watermarks => Request::Watermarks,
            Kind::Flush => Request::Flush,
            Kind::Checkpoint => Request::Checkpoint(Checkpoint { answer }),
            Kind::Verify => Request::Verify(Verify { answer }),
            Kind::JobStatus => Request::JobStatus(JobStatus { job }),
            Kind::JobWait => Request::JobWait(JobWait { job, timeout_ms: 1 }),
            Kind::JobWatch => Request::JobWatch(JobWatch { jobs: vec![job], credit: 1 }),
            Kind::WatchWatermarks => {
                Request::WatchWatermarks(WatchWatermarks { credit: 1, min_interval_ms: 1 })
            }
            Kind::JobCancel => Request::JobCancel(JobCancel { job }),
            _ => return None,
        })
    }

    /// A second, independent table of scopes: the scopes that suffice, and whether the request names a
    /// keyspace.
    fn promise(kind: Kind) -> (&'static [Scope], bool) {
        use Scope::{Admin, Read, Write};
        match kind {
            Kind::Get | Kind::Range => (&[Read], true),
            Kind::Put | Kind::Delete | Kind::Batch => (&[Write], true),
            Kind::CreateKeyspace | Kind::DropKeyspace => (&[Admin], true),
            Kind::Keyspaces | Kind::Stats => (&[Read], false),
            Kind::Flush => (&[Write], false),
            Kind::Checkpoint | Kind::Verify | Kind::JobCancel => (&[Admin], false),
            _ => (&[Read, Write, Admin], false),
        }
    }

    #[test]
    fn every_kind_is_denied_without_its_scope_and_outside_its_keyspaces() {
        let mut tried = 0;
        for &kind in Kind::ALL.iter().filter(|kind| kind.is_request()) {
            for bits in 0..8_u8 {
                let scopes: Scopes = Scope::ALL
                    .into_iter()
                    .filter(|scope| bits >> (*scope as u8) & 1 == 1)
                    .collect();
                for keyspace in ["mine", "mine-too", "theirs"] {
                    let mut ops = OpsBuffer::new();
                    ops.push(&Op::Put { keyspace: "mine", key: b"k", value: b"v" });
                    ops.push(&Op::Delete { keyspace, key: b"k" });
                    let Some(request) = request(kind, keyspace, ops.ops()) else {
                        assert_eq!(kind, Kind::Hello, "no request was made up for {kind:?}");
                        continue;
                    };
                    let realm = Realm::Some(vec!["mine".into(), "mine-*".into()]);
                    let caller = Caller { name: "t".into(), scopes, realm };
                    let (suffice, is_named) = promise(kind);
                    let steers = matches!(kind, Kind::Ping | Kind::Cancel | Kind::Credit);
                    let may = steers
                        || suffice.iter().any(|scope| scopes.contains(*scope))
                            && !(is_named && keyspace == "theirs");
                    let answer = caller.check(&request);
                    assert_eq!(answer.is_ok(), may, "{kind:?} {scopes:?} {keyspace}: {answer:?}");
                    assert!(answer.is_ok() || answer.unwrap_err().code == Code::Denied);
                    tried += 1;
                }
            }
        }
        assert_eq!(tried, 21 * 8 * 3, "every kind was tried");
    }
}
