//! TLS and tokens: which servers the client trusts, and its rights.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::{Client, ClientOptions, Code, Error};
use crate::engine::disk::SimDisk;
use crate::net::server::{Config, Server};
use crate::{CommitMode, Options};

const TOKENS: &str = "[[token]]\nname = 'reader'\nsecret = 'the reader has this'\n\
                      scopes = ['read']\nkeyspaces = ['rows']\n\
                      [[token]]\nname = 'writer'\nsecret = 'the writer has that'\n\
                      scopes = ['read', 'write']\nkeyspaces = ['rows', 'mine-*']\n";

/// A server with TLS and tokens.
struct Guarded {
    server: Server,
    address: String,
    /// Its certificate.
    cert: PathBuf,
}

async fn guarded(dir: &Path) -> Guarded {
    let made = rcgen::generate_simple_self_signed(vec!["store.test".to_owned()]).unwrap();
    guarded_by(dir, &made.cert.pem(), &made.signing_key).await
}

async fn guarded_by(dir: &Path, cert: &str, key: &rcgen::KeyPair) -> Guarded {
    let file = |name: &str, text: &str| {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let cert = file("cert.pem", cert);
    let config = Config {
        listen: vec!["127.0.0.1:0".into()],
        tokens: Some(file("tokens.toml", TOKENS)),
        tls_cert: Some(cert.clone()),
        tls_key: Some(file("key.pem", &key.serialize_pem())),
        pool_threads: 2,
        ..Config::default()
    };
    let store = Options::new().open_on(std::sync::Arc::new(SimDisk::new())).unwrap();
    store.keyspace("rows").unwrap();
    store.keyspace("other").unwrap();
    let server = Server::start(store, &config).await.unwrap();
    let address = server.addresses()[0].to_string();
    Guarded { server, address, cert }
}

fn options() -> ClientOptions {
    Client::options().connect_timeout(Duration::from_secs(20)).tls_name("store.test")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_talks_only_to_a_server_that_its_roots_and_name_vouch_for() {
    let dir = tempfile::tempdir().unwrap();
    let Guarded { server, address, cert } = guarded(dir.path()).await;
    let token = "the reader has this";
    let right = options().tls_roots(&cert).token(token).connect(&address).await.unwrap();
    assert_eq!(right.existing_keyspace("rows").get("k").await.unwrap(), None);
    // Another authority, with the same name.
    let other = rcgen::generate_simple_self_signed(vec!["store.test".to_owned()]).unwrap();
    let wrong = dir.path().join("wrong.pem");
    std::fs::write(&wrong, other.cert.pem()).unwrap();
    let stranger = options().tls_roots(&wrong).token(token).connect(&address).await.unwrap_err();
    assert!(matches!(stranger, Error::Tls { .. }) && !stranger.is_retryable(), "{stranger}");
    assert!(stranger.to_string().contains("certificate"), "{stranger}");
    // Another name, and that in the address.
    for options in [options().tls_name("elsewhere.test"), Client::options()] {
        let options = options.connect_timeout(Duration::from_secs(20));
        let misnamed = options.tls_roots(&cert).token(token).connect(&address).await.unwrap_err();
        assert!(matches!(misnamed, Error::Tls { .. }) && !misnamed.is_retryable(), "{misnamed}");
        assert!(misnamed.to_string().contains("name"), "{misnamed}");
    }
    // No TLS, and files without roots.
    let plain = Client::options().token(token).connect(&address).await.unwrap_err();
    assert_eq!(plain.code(), Some(Code::BadHandshake), "{plain}");
    assert!(plain.to_string().contains("this port expects TLS"), "{plain}");
    let none = options().tls_roots(dir.path().join("tokens.toml")).connect(&address).await;
    assert!(matches!(none, Err(Error::Option(_))), "{none:?}");
    let missing = options().tls_roots(dir.path().join("none.pem")).connect(&address).await;
    assert!(matches!(missing, Err(Error::Option(_))), "{missing:?}");
    // A name or a certificate without roots would be plain text.
    let certified = Client::options().client_certificate(&cert, dir.path().join("key.pem"));
    for options in [options(), certified] {
        let unencrypted = options.token(token).connect(&address).await.unwrap_err();
        assert!(matches!(unencrypted, Error::Option(_)), "{unencrypted}");
        assert!(unencrypted.to_string().contains("nothing would be encrypted"), "{unencrypted}");
    }
    for (chain, key) in
        [("cert.pem", "none.pem"), ("none.pem", "key.pem"), ("cert.pem", "wrong.pem")]
    {
        let (chain, key) = (dir.path().join(chain), dir.path().join(key));
        let unread = options().tls_roots(&cert).client_certificate(chain, key).connect(&address);
        assert!(matches!(unread.await, Err(Error::Option(_))));
    }
    drop(right);
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_certificates_and_plain_servers_are_told_apart_from_outages() {
    let dir = tempfile::tempdir().unwrap();
    let mut made = rcgen::CertificateParams::new(vec!["store.test".to_owned()]).unwrap();
    made.not_before = rcgen::date_time_ymd(2001, 1, 1);
    made.not_after = rcgen::date_time_ymd(2002, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    let made = made.self_signed(&key).unwrap();
    let Guarded { server, address, cert } = guarded_by(dir.path(), &made.pem(), &key).await;
    let expired = options().tls_roots(&cert).connect(&address).await.unwrap_err();
    assert!(matches!(expired, Error::Tls { .. }) && !expired.is_retryable(), "{expired}");
    server.stop().await.unwrap();
    let plain = Config { listen: vec!["127.0.0.1:0".into()], ..Config::default() };
    let store = Options::new().open_on(std::sync::Arc::new(SimDisk::new())).unwrap();
    let server = Server::start(store, &plain).await.unwrap();
    let address = server.addresses()[0].to_string();
    let plain = options().tls_roots(&cert).connect(&address).await.unwrap_err();
    assert!(matches!(plain, Error::Tls { .. }) && !plain.is_retryable(), "{plain}");
    server.stop().await.unwrap();
    let gone = options().tls_roots(&cert).connect(&address).await.unwrap_err();
    assert!(matches!(gone, Error::Connect { .. }) && gone.is_retryable(), "{gone}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_gives_the_rights_that_it_lists_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let Guarded { server, address, cert } = guarded(dir.path()).await;
    let with = |token: &str| options().tls_roots(&cert).token(token).connect(&address);
    for token in ["", "guessed", "the reader has thi"] {
        let refused = with(token).await.unwrap_err();
        assert_eq!(refused.code(), Some(Code::Unauthenticated), "{token:?}: {refused}");
    }
    let (reader, writer) =
        (with("the reader has this").await.unwrap(), with("the writer has that").await.unwrap());
    writer.existing_keyspace("rows").put("k", "v").await.unwrap();
    assert_eq!(
        reader.existing_keyspace("rows").get("k").await.unwrap().as_deref(),
        Some(&b"v"[..])
    );
    let denied = |error: Error, detail: &str, lacks: &str| {
        let Error::Server(failure) = &error else { panic!("{error}") };
        assert_eq!((failure.code, failure.detail(detail)), (Code::Denied, Some(lacks)), "{error}");
        assert!(error.is_undone() && !error.is_retryable(), "{error}");
    };
    let put = reader.existing_keyspace("rows").put_with("k", "w", CommitMode::Async).await;
    denied(put.unwrap_err(), "scope", "write");
    denied(reader.existing_keyspace("other").get("k").await.unwrap_err(), "keyspace", "other");
    denied(writer.existing_keyspace("other").delete("k").await.unwrap_err(), "keyspace", "other");
    denied(writer.keyspace("mine-1").await.unwrap_err(), "scope", "admin");
    denied(writer.begin_verify().await.unwrap_err(), "scope", "admin");
    let mut entries = reader.existing_keyspace("other").range::<&str>(..).entries().await.unwrap();
    denied(entries.next().await.unwrap().unwrap_err(), "keyspace", "other");
    assert_eq!(
        writer.keyspaces().await.unwrap(),
        ["rows"],
        "only the keyspaces of the token are listed"
    );
    assert_eq!(
        reader.existing_keyspace("rows").get("k").await.unwrap().as_deref(),
        Some(&b"v"[..])
    );
    drop((reader, writer));
    server.stop().await.unwrap();
}

/// What `openssl req -x509` makes by default.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificate_that_is_its_own_authority_gets_advice() {
    let dir = tempfile::tempdir().unwrap();
    let mut made = rcgen::CertificateParams::new(vec!["store.test".to_owned()]).unwrap();
    made.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let made = made.self_signed(&key).unwrap();
    let Guarded { server, address, cert } = guarded_by(dir.path(), &made.pem(), &key).await;
    let refused = options().tls_roots(&cert).connect(&address).await.unwrap_err();
    assert!(refused.to_string().contains("make one with CA:FALSE"), "{refused}");
    server.stop().await.unwrap();
}
