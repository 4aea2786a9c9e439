//! Authentication of clients, by a file of tokens.
//!
//! ```toml
//! [[token]]
//! name = "reporting"
//! sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
//! scopes = ["read"]
//! keyspaces = ["orders", "log-*"]   # without this line, all
//! expires = 2027-01-31T00:00:00Z    # without this line, never
//! ```
//!
//! Instead of `sha256` there may be `secret = "..."`, at least 16 bytes long. A client's secret is
//! hashed and compared with every token in constant time.
//!
//! The file can be reloaded. A token that is the same in both files stays valid. A token that is gone,
//! changed or expired is *withdrawn*, and connections that use it are ended.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use parking_lot::RwLock;
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use toml::value::Datetime;

use super::expiry::moment;
use super::failure::Failure;
use crate::net::service::{Caller, Realm, Scope};

/// The shortest secret, in bytes.
const SHORTEST: usize = 16;

/// The tokens of a server; `None` if it asks for none.
#[derive(Debug)]
pub(crate) struct Authenticator(Option<RwLock<Tokens>>);

/// All tokens of a file.
#[derive(Debug, Default)]
pub(crate) struct Tokens(Vec<Arc<Token>>);

#[derive(Debug)]
pub(crate) struct Token {
    hash: [u8; 32],
    caller: Arc<Caller>,
    expires: Option<SystemTime>,
    is_withdrawn: AtomicBool,
}

/// Why a login failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LoginError {
    /// The client presented no secret.
    Missing,
    /// The secret belongs to no token.
    Unknown,
    /// The token of this name has expired.
    Expired(String),
}

impl fmt::Display for LoginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoginError::Missing => f.write_str("there is no token"),
            LoginError::Unknown => f.write_str("the token is wrong"),
            LoginError::Expired(name) => write!(f, "the token {name:?} has expired"),
        }
    }
}

impl Authenticator {
    pub(crate) fn new(tokens: Option<Tokens>) -> Authenticator {
        Authenticator(tokens.map(RwLock::new))
    }

    /// The token of this secret; `None` if no token is needed.
    pub(crate) fn find(&self, secret: Option<&str>) -> Result<Option<Arc<Token>>, LoginError> {
        let Some(tokens) = &self.0 else { return Ok(None) };
        let secret = secret.ok_or(LoginError::Missing)?;
        let token = tokens.read().find(secret).cloned().ok_or(LoginError::Unknown)?;
        if token.has_expired(SystemTime::now()) {
            return Err(LoginError::Expired(token.caller.name.clone()));
        }
        Ok(Some(token))
    }

    /// Whether clients need a token.
    pub(crate) fn is_required(&self) -> bool {
        self.0.is_some()
    }

    /// Replaces all tokens. False, without any change, if no token is needed.
    pub(crate) fn replace(&self, with: Tokens) -> bool {
        let Some(tokens) = &self.0 else { return false };
        let mut tokens = tokens.write();
        let before = std::mem::replace(&mut *tokens, with);
        for old in before.0 {
            match tokens.0.iter_mut().find(|new| new.is_same(&old)) {
                Some(new) => *new = old,
                None => old.is_withdrawn.store(true, Ordering::SeqCst),
            }
        }
        true
    }

    /// Withdraws expired tokens. Returns whether it withdrew any.
    pub(crate) fn expire(&self, now: SystemTime) -> bool {
        let Some(tokens) = &self.0 else { return false };
        let tokens = tokens.read();
        let expired = tokens.0.iter().filter(|token| token.has_expired(now));
        let mut any = false;
        for token in expired {
            any |= !token.is_withdrawn.swap(true, Ordering::SeqCst);
        }
        any
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenFile {
    #[serde(default)]
    token: Vec<TokenEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenEntry {
    name: String,
    sha256: Option<String>,
    secret: Option<String>,
    scopes: Vec<String>,
    keyspaces: Option<Vec<String>>,
    expires: Option<Datetime>,
}

impl Tokens {
    pub(crate) fn load(path: &Path) -> Result<Tokens, Failure> {
        let text = std::fs::read_to_string(path)
            .map_err(Failure::io(format!("read the tokens in {}", path.display())))?;
        let wrong = |problem| Failure::Config(format!("{}: {problem}", path.display()));
        Tokens::parse(&text).map_err(wrong)
    }

    pub(crate) fn parse(text: &str) -> Result<Tokens, String> {
        let file: TokenFile = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let line = 1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count();
            format!("line {line}: {}", error.message())
        })?;
        let mut tokens: Vec<Arc<Token>> = Vec::new();
        let mut names: HashMap<[u8; 32], String> = HashMap::new();
        for entry in file.token {
            let name = entry.name.clone();
            if tokens.iter().any(|token| token.caller.name == name) {
                return Err(format!("there are two tokens {name:?}"));
            }
            let token = Token::new(entry).map_err(|why| format!("token {name:?}: {why}"))?;
            if let Some(other) = names.insert(token.hash, name.clone()) {
                return Err(format!("the tokens {other:?} and {name:?} have the same secret"));
            }
            tokens.push(Arc::new(token));
        }
        if tokens.is_empty() {
            return Err("there are no tokens: no client could log in".into());
        }
        Ok(Tokens(tokens))
    }

    /// The token of this secret. Takes the same time for every secret.
    fn find(&self, secret: &str) -> Option<&Arc<Token>> {
        let hash = digest(&SHA256, secret.as_bytes());
        let (mut found, mut at) = (Choice::from(0), 0_u32);
        for (number, token) in (0..).zip(&self.0) {
            let is_it = token.hash.ct_eq(hash.as_ref());
            at.conditional_assign(&number, is_it);
            found |= is_it;
        }
        bool::from(found).then(|| &self.0[at as usize])
    }
}

impl Token {
    fn new(entry: TokenEntry) -> Result<Token, String> {
        if entry.name.is_empty() || entry.name.len() > 64 {
            return Err("a name has 1 to 64 bytes".into());
        }
        let hash = match (&entry.sha256, &entry.secret) {
            (Some(hex), None) => from_hex(hex).ok_or("sha256 is not 64 hexadecimal digits")?,
            (None, Some(secret)) if secret.len() < SHORTEST => {
                return Err(format!("a secret has at least {SHORTEST} bytes"));
            }
            (None, Some(secret)) => {
                digest(&SHA256, secret.as_bytes()).as_ref().try_into().expect("32 bytes")
            }
            _ => return Err("one of sha256 and secret is needed".into()),
        };
        let mut scopes = Vec::new();
        for name in &entry.scopes {
            scopes.push(Scope::from_name(name).ok_or_else(|| {
                format!("there is no scope {name:?}: there are read, write and admin")
            })?);
        }
        if scopes.is_empty() {
            return Err("scopes is empty: it needs at least one of read, write and admin".into());
        }
        let realm = entry.keyspaces.map_or(Ok(Realm::All), realm)?;
        let scopes = scopes.into_iter().collect();
        let expires = entry.expires.as_ref().map(moment).transpose();
        Ok(Token {
            hash,
            caller: Arc::new(Caller { name: entry.name, scopes, realm }),
            expires: expires.map_err(|why| format!("expires: {why}"))?,
            is_withdrawn: AtomicBool::new(false),
        })
    }

    pub(crate) fn caller(&self) -> &Arc<Caller> {
        &self.caller
    }

    /// Whether connections that use it must end.
    pub(crate) fn is_withdrawn(&self) -> bool {
        self.is_withdrawn.load(Ordering::SeqCst)
    }

    fn has_expired(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// Whether both grant the same rights, and neither is withdrawn.
    fn is_same(&self, other: &Token) -> bool {
        (self.hash, &self.caller, self.expires) == (other.hash, &other.caller, other.expires)
            && !other.is_withdrawn()
    }
}

/// The keyspaces of a token.
fn realm(patterns: Vec<String>) -> Result<Realm, String> {
    for pattern in &patterns {
        let name = pattern.strip_suffix('*').unwrap_or(pattern);
        if pattern.is_empty() || name.contains('*') {
            return Err(format!(
                "keyspaces: {pattern:?} is neither a name nor a prefix with one * at its end"
            ));
        }
    }
    Ok(Realm::Some(patterns))
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_by_itself_or_by_its_hash() {
        let tokens = Tokens::parse(
            "[[token]]\nname = 'a'\nsecret = 'sixteen bytes it is'\nscopes = ['read', 'write']\n\
             [[token]]\nname = 'b'\nscopes = ['admin']\nkeyspaces = ['x', 'y-*']\nsha256 = \
             '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08'",
        )
        .unwrap();
        let a = tokens.find("sixteen bytes it is").unwrap().caller();
        assert_eq!((a.name.as_str(), a.realm.has("anything")), ("a", true));
        let b = tokens.find("test").unwrap().caller();
        assert_eq!(b.name, "b");
        assert!(b.realm.has("x") && b.realm.has("y-1") && !b.realm.has("xx"));
        assert!(tokens.find("").is_none() && tokens.find("sixteen bytes it i").is_none());
    }

    const ONE: &str = "[[token]]\nname = 'one'\nsecret = 'the first secret'\nscopes = ['read']\n";
    const TWO: &str = "[[token]]\nname = 'two'\nsecret = 'the second secret'\nscopes = ['read']\n";

    fn keys(text: &str) -> Authenticator {
        Authenticator::new(Some(Tokens::parse(text).unwrap()))
    }

    #[test]
    fn a_token_that_is_gone_or_changed_is_withdrawn_and_others_stay_valid() {
        let keys = keys(&format!("{ONE}{TWO}"));
        let find = |secret| keys.find(Some(secret)).map(|token| token.unwrap());
        let (one, two) = (find("the first secret").unwrap(), find("the second secret").unwrap());
        let changed = TWO.replace("'read'", "'read', 'write'");
        assert!(keys.replace(Tokens::parse(&format!("{ONE}{changed}")).unwrap()));
        assert!(Arc::ptr_eq(&one, &find("the first secret").unwrap()) && !one.is_withdrawn());
        assert!(two.is_withdrawn() && !find("the second secret").unwrap().is_withdrawn());
        assert!(keys.replace(Tokens::parse(TWO).unwrap()));
        assert!(one.is_withdrawn());
        assert_eq!(find("the first secret").unwrap_err(), LoginError::Unknown);
        assert_eq!(keys.find(None).unwrap_err(), LoginError::Missing);
        let none = Authenticator::new(None);
        assert!(none.find(None).unwrap().is_none() && !none.replace(Tokens::parse(ONE).unwrap()));
    }

    #[test]
    fn a_token_expires_once() {
        let past = keys(&format!("{ONE}expires = 2001-02-03\n"));
        let refused = past.find(Some("the first secret")).unwrap_err();
        assert_eq!(refused, LoginError::Expired("one".into()));
        let keys = keys(&format!("{ONE}expires = 2999-02-03T04:05:06+01:00\n{TWO}"));
        let token = keys.find(Some("the first secret")).unwrap().unwrap();
        assert!(!keys.expire(SystemTime::now()) && !token.is_withdrawn());
        let later = token.expires.unwrap();
        assert!(keys.expire(later) && token.is_withdrawn() && !keys.expire(later));
    }

    #[test]
    fn a_token_file_with_an_error_is_refused_with_the_reason() {
        let refused = |text: &str, why: &str| {
            let problem = Tokens::parse(text).unwrap_err();
            assert!(problem.contains(why), "{problem}");
        };
        refused("", "no tokens");
        refused("[[token]]\nname='a'\nsecret='short'\nscopes=['read']", "at least 16");
        refused("[[token]]\nname='a'\nscopes=['read']", "one of sha256 and secret");
        refused("[[token]]\nname='a'\nsha256='00'\nscopes=['read']", "64 hexadecimal");
        refused("[[token]]\nname='a'\nsecret='0123456789abcdef'\nscopes=['root']", "no scope");
        refused("[[token]]\nname='a'\nsecret='0123456789abcdef'\nscopes=[]", "scopes is empty");
        refused("[[token]]\nname='a'\nscope='read'", "line 3: unknown field");
        for pattern in ["*-log", "a*b", "a**", "**", ""] {
            let text = format!("{ONE}keyspaces = ['rows', '{pattern}']");
            refused(&text, &format!("\"one\": keyspaces: \"{pattern}\" is neither"));
        }
        for pattern in ["*", "log-*", "log"] {
            Tokens::parse(&format!("{ONE}keyspaces = ['{pattern}']")).unwrap();
        }
        refused(
            &format!("{ONE}{}", TWO.replace("second", "first")),
            "\"one\" and \"two\" have the",
        );
        refused(&format!("{ONE}{}", TWO.replace("two", "one")), "two tokens \"one\"");
        refused(&format!("{ONE}expires = 2027-01-31T00:00:00"), "\"one\": expires: 2027");
        refused(&format!("{ONE}expires = 'soon'"), "line 5");
    }
}
