//! The token that says who a client is. It is never printed.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// A token, or where to get one.
#[derive(Clone, Default)]
pub(super) struct Secret(Source);

#[derive(Clone, Default)]
enum Source {
    #[default]
    None,
    Fixed(String),
    /// Asked for each connection.
    Renewed(Arc<dyn Fn() -> String + Send + Sync>),
}

impl Secret {
    pub(super) fn fixed(token: String) -> Secret {
        Secret(Source::Fixed(token))
    }

    pub(super) fn renewed(token: impl Fn() -> String + Send + Sync + 'static) -> Secret {
        Secret(Source::Renewed(Arc::new(token)))
    }

    /// The token as it is now.
    pub(super) fn reveal(&self) -> Option<Cow<'_, str>> {
        match &self.0 {
            Source::None => None,
            Source::Fixed(token) => Some(Cow::Borrowed(token)),
            Source::Renewed(token) => Some(Cow::Owned(token())),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::None => "none",
            Source::Fixed(_) | Source::Renewed(_) => "hidden",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Client, Pool};
    use super::*;

    #[test]
    fn no_debug_output_shows_a_token() {
        let secret = "the reader has this";
        for options in [
            Client::options().token(secret),
            Client::options().token_from(move || secret.to_owned()),
        ] {
            let pool = Pool::new("127.0.0.1:1", options.clone(), 1).unwrap();
            for shown in [format!("{options:?}"), format!("{options:#?}"), format!("{pool:?}")] {
                assert!(shown.contains("token: hidden") || !shown.contains("token"), "{shown}");
                assert!(!shown.contains(secret), "{shown}");
            }
        }
        let hello = crate::net::proto::Hello {
            magic: crate::net::proto::MAGIC,
            min_version: 1,
            max_version: 1,
            client: "a test",
            token: Some(secret),
            max_body: 1,
            options: Vec::new(),
        };
        let shown = format!("{hello:?}");
        assert!(shown.contains("a test") && !shown.contains(secret), "{shown}");
    }

    #[test]
    fn renewed_token_is_asked_for_each_time() {
        let count = std::sync::atomic::AtomicU32::new(0);
        let next = move || count.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string();
        let secret = Secret::renewed(next);
        assert_eq!(secret.reveal().as_deref(), Some("0"));
        assert_eq!(secret.reveal().as_deref(), Some("1"));
        assert_eq!(Secret::default().reveal(), None);
    }
}
