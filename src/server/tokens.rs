//! Who may come in: a file of tokens.
//!
//! ```toml
//! [[token]]
//! name = "reporting"
//! sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
//! scopes = ["read"]
//! keyspaces = ["orders", "log-*"]   # without this line, all
//! ```
//!
//! `secret = "..."` may stand for `sha256`, at least 16 bytes long. What a client presents is
//! hashed and compared with every token in a time that tells nothing of any of them.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use ring::digest::{SHA256, digest};
use serde::Deserialize;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use super::failure::Failure;
use crate::service::{Caller, Realm, Scope};

/// The shortest secret that is taken.
const SHORTEST: usize = 16;

/// All tokens.
#[derive(Debug, Default)]
pub(crate) struct Tokens(Vec<Token>);

#[derive(Debug)]
struct Token {
    hash: [u8; 32],
    caller: Arc<Caller>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    token: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    sha256: Option<String>,
    secret: Option<String>,
    scopes: Vec<String>,
    keyspaces: Option<Vec<String>>,
}

impl Tokens {
    /// Reads the file.
    pub(crate) fn load(path: &Path) -> Result<Tokens, Failure> {
        let text = std::fs::read_to_string(path)
            .map_err(Failure::io(format!("read the tokens in {}", path.display())))?;
        let wrong = |problem| Failure::Config(format!("{}: {problem}", path.display()));
        Tokens::parse(&text).map_err(wrong)
    }

    pub(crate) fn parse(text: &str) -> Result<Tokens, String> {
        let file: File = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        let mut names = HashSet::new();
        let mut tokens = Vec::new();
        for entry in file.token {
            if !names.insert(entry.name.clone()) {
                return Err(format!("there are two tokens {:?}", entry.name));
            }
            let name = entry.name.clone();
            let token = Token::new(entry);
            tokens.push(token.map_err(|problem| format!("token {name:?}: {problem}"))?);
        }
        if tokens.is_empty() {
            return Err("there are no tokens: nobody could come in".into());
        }
        Ok(Tokens(tokens))
    }

    /// Who has this secret.
    pub(crate) fn find(&self, secret: &str) -> Option<&Arc<Caller>> {
        let hash = digest(&SHA256, secret.as_bytes());
        let (mut found, mut at) = (Choice::from(0), 0_u32);
        for (number, token) in (0..).zip(&self.0) {
            let is_it = token.hash.ct_eq(hash.as_ref());
            at.conditional_assign(&number, is_it);
            found |= is_it;
        }
        bool::from(found).then(|| &self.0[at as usize].caller)
    }
}

impl Token {
    fn new(entry: Entry) -> Result<Token, String> {
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
            return Err("without a scope it is of no use".into());
        }
        let realm = entry.keyspaces.map_or(Realm::All, Realm::Some);
        let scopes = scopes.into_iter().collect();
        Ok(Token { hash, caller: Arc::new(Caller { name: entry.name, scopes, realm }) })
    }
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
        let a = tokens.find("sixteen bytes it is").unwrap();
        assert_eq!((a.name.as_str(), a.realm.has("anything")), ("a", true));
        let b = tokens.find("test").unwrap();
        assert_eq!(b.name, "b");
        assert!(b.realm.has("x") && b.realm.has("y-1") && !b.realm.has("xx"));
        assert!(tokens.find("").is_none() && tokens.find("sixteen bytes it i").is_none());
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        let refused = |text: &str, why: &str| {
            let problem = Tokens::parse(text).unwrap_err();
            assert!(problem.contains(why), "{problem}");
        };
        refused("", "no tokens");
        refused("[[token]]\nname='a'\nsecret='short'\nscopes=['read']", "at least 16");
        refused("[[token]]\nname='a'\nscopes=['read']", "one of sha256 and secret");
        refused("[[token]]\nname='a'\nsha256='00'\nscopes=['read']", "64 hexadecimal");
        refused("[[token]]\nname='a'\nsecret='0123456789abcdef'\nscopes=['root']", "no scope");
        refused("[[token]]\nname='a'\nsecret='0123456789abcdef'\nscopes=[]", "without a scope");
        refused("[[token]]\nname='a'\nscope='read'", "unknown field");
    }
}
