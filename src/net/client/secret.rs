//! The token that identifies a client. It is never printed.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// A token, or a function that returns one.
#[derive(Clone, Default)]
pub(super) struct Secret(Source);

#[derive(Clone, Default)]
enum Source {
    #[default]
    None,
    Fixed(String),
    /// Called for each connection.
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
    use super::*;

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
