//! Authorisation of HTTP requests: access to metrics, and to the reasons behind a probe's answer.

use std::net::SocketAddr;
use std::sync::Arc;

use hyper::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use hyper::{HeaderMap, StatusCode};

use super::message::{Message, refusal};
use crate::net::server::peer::Peer;
use crate::net::server::shared::Shared;
use crate::net::server::tokens::LoginError;
use crate::net::service::{Scope, Scopes};

/// The access rule of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Every client may see everything.
    Open,
    /// Clients need a token with the scope `read`.
    Token,
}

impl Access {
    /// Fails unless the request may see the metrics.
    pub(super) fn check(
        self,
        headers: &HeaderMap,
        peer: SocketAddr,
        shared: &Shared,
    ) -> Result<(), Box<Message>> {
        if self == Access::Open {
            return Ok(());
        }
        let secret = headers.get(AUTHORIZATION).and_then(|value| bearer(value.as_bytes()));
        let caller = match shared.authenticator.find(secret) {
            Ok(Some(token)) => Arc::clone(token.caller()),
            Ok(None) => return Ok(()),
            Err(LoginError::Missing) => return Err(challenge("a token is needed", "")),
            Err(refused) => {
                shared.login_failed(Peer::Address(peer), &refused);
                let error = ", error=\"invalid_token\"";
                return Err(challenge("the token is wrong or expired", error));
            }
        };
        if caller.scopes.meets(Scopes::of(&[Scope::Read])) {
            return Ok(());
        }
        let line = format!("the token {:?} lacks the scope read", caller.name);
        Err(Box::new(refusal(StatusCode::FORBIDDEN, &line, None)))
    }
}

fn challenge(line: &str, error: &str) -> Box<Message> {
    let challenge = format!("Bearer realm=\"syncline\"{error}");
    let header = Some((WWW_AUTHENTICATE, challenge.as_str()));
    Box::new(refusal(StatusCode::UNAUTHORIZED, line, header))
}

/// The secret in `Bearer SECRET`.
fn bearer(value: &[u8]) -> Option<&str> {
    let (scheme, secret) = std::str::from_utf8(value).ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
}

#[cfg(test)]
mod tests {
    use super::bearer;

    #[test]
    fn a_secret_follows_the_scheme_in_any_case() {
        assert_eq!(bearer(b"Bearer s e"), Some("s e"));
        assert_eq!(bearer(b"bEARER  x "), Some("x"));
        for other in [&b"Basic x"[..], b"Bearer", b"", b"\xff x", b"Bearerx"] {
            assert_eq!(bearer(other), None);
        }
    }
}
