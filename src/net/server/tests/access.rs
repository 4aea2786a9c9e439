//! Authentication, authorisation, caps on connections, and TLS.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::peer::{Peer, config, get, hello, put, serve, store};
use crate::net::proto::{Code, MAX_BODY, Mode, Request, Response};
use crate::net::server::tls::Tls;
use crate::net::server::tokens::Tokens;
use crate::net::server::{Config, Failure, Server};

pub(super) const TOKENS: &str = "[[token]]\nname = 'reader'\nsecret = 'the reader has this'\n\
                      scopes = ['read']\nkeyspaces = ['rows']\n\
                      [[token]]\nname = 'elsewhere'\nsecret = 'nothing of ours here'\n\
                      scopes = ['read', 'write']\nkeyspaces = ['other']\n";

/// A certificate for `localhost`, in files.
pub(super) struct Certificate {
    pub(super) cert: PathBuf,
    pub(super) key: PathBuf,
    pub(super) der: CertificateDer<'static>,
}

pub(super) fn certificate(dir: &Path) -> Certificate {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    Certificate { cert, key, der: made.cert.der().clone() }
}

/// Connects over TLS to the server with this certificate.
pub(super) async fn tls_to(
    address: SocketAddr,
    der: &CertificateDer<'static>,
) -> TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(der.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let socket = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(client)).connect(name, socket).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_grants_its_scopes_and_keyspaces_only() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tokens.toml");
    std::fs::write(&file, TOKENS).unwrap();
    let (server, address) = serve(store(), &Config { tokens: Some(file), ..config() }).await;
    for token in [None, Some(""), Some("the reader has thi"), Some("reader")] {
        let mut peer = Peer::silent(address).await;
        peer.send(1, &hello(token)).await;
        assert_eq!(peer.answer().await.code(), Code::Unauthenticated, "{token:?}");
        assert!(peer.next().await.is_none());
    }
    let mut reader = Peer::silent(address).await;
    assert!(matches!(
        reader.ask(1, &hello(Some("the reader has this"))).await.response(),
        Response::Welcome(_)
    ));
    assert_eq!(reader.ask(2, &get("k")).await.value(), None);
    let denied = reader.ask(3, &put("k", "v", Mode::Sync)).await;
    assert_eq!((denied.code(), denied.failure().detail("scope")), (Code::Denied, Some("write")));
    assert_eq!(reader.ask(4, &Request::Flush).await.code(), Code::Denied);
    let mut elsewhere = Peer::silent(address).await;
    elsewhere.ask(1, &hello(Some("nothing of ours here"))).await;
    for request in [get("k"), put("k", "v", Mode::Async)] {
        let denied = elsewhere.ask(2, &request).await;
        assert_eq!(denied.failure().detail("keyspace"), Some("rows"));
    }
    let names = elsewhere.ask(3, &Request::Keyspaces).await;
    assert_eq!(names.response(), Response::Names(Vec::new()));
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_above_the_limit_are_turned_away() {
    let caps = Config { max_connections: 2, ..config() };
    let (server, address) = serve(store(), &caps).await;
    let first = Peer::greeted(address).await;
    let _second = Peer::greeted(address).await;
    let mut third = Peer::silent(address).await;
    assert_eq!(third.answer().await.code(), Code::TooManyConnections);
    assert!(third.next().await.is_none());
    drop(first);
    while server.connections() > 1 {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    Peer::greeted(address).await;
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_public_address_is_refused_without_tokens_and_tls() {
    let public = Config { listen: vec!["0.0.0.0:0".into()], ..config() };
    let refused = Server::start(store(), &public).await;
    assert!(matches!(refused, Err(Failure::Config(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_and_a_unix_socket_carry_the_same_packets() {
    let dir = tempfile::tempdir().unwrap();
    let Certificate { cert, key, der } = certificate(dir.path());
    let unix = dir.path().join("socket");
    let config =
        Config { tls_cert: Some(cert), tls_key: Some(key), unix: Some(unix.clone()), ..config() };
    let (server, address) = serve(store(), &config).await;
    let mut bytes = Vec::new();
    hello(None).encode(1, 0, MAX_BODY, &mut bytes).unwrap();
    let mut tls = tls_to(address, &der).await;
    tls.write_all(&bytes).await.unwrap();
    let mut head = [0; 24];
    tls.read_exact(&mut head).await.unwrap();
    assert_eq!(head[16], crate::net::proto::Kind::Welcome.number());
    #[cfg(unix)]
    {
        let mut socket = tokio::net::UnixStream::connect(&unix).await.unwrap();
        socket.write_all(&bytes).await.unwrap();
        socket.read_exact(&mut head).await.unwrap();
        assert_eq!(head[16], crate::net::proto::Kind::Welcome.number());
    }
    drop(tls);
    server.stop().await.unwrap();
    assert!(!unix.exists(), "the socket's file goes with the server");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_a_withdrawn_token_are_ended() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tokens.toml");
    std::fs::write(&file, TOKENS).unwrap();
    let (server, address) = serve(store(), &Config { tokens: Some(file), ..config() }).await;
    let mut reader = Peer::silent(address).await;
    reader.ask(1, &hello(Some("the reader has this"))).await;
    let mut elsewhere = Peer::silent(address).await;
    elsewhere.ask(1, &hello(Some("nothing of ours here"))).await;
    // The new file has the same token for the reader, and fewer scopes for the other.
    let fewer = TOKENS.replace("['read', 'write']", "['read']");
    server.replace_tokens(Some(Tokens::parse(&fewer).unwrap())).unwrap();
    let goodbye = elsewhere.answer().await;
    assert_eq!((goodbye.id, goodbye.code()), (0, Code::Unauthenticated));
    assert!(elsewhere.next().await.is_none());
    assert_eq!(reader.ask(2, &get("k")).await.value(), None);
    assert!(server.replace_tokens(None).is_err(), "tokens cannot be turned off");
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_connections_use_a_replaced_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let made = |name: &str| {
        let dir = dir.path().join(name);
        std::fs::create_dir(&dir).unwrap();
        let Certificate { cert, key, der } = certificate(&dir);
        (Config { tls_cert: Some(cert), tls_key: Some(key), ..config() }, der)
    };
    let ((before, old), (after, new)) = (made("before"), made("after"));
    let (server, address) = serve(store(), &before).await;
    let mut open = tls_to(address, &old).await;
    server.replace_tls(Tls::load(&after).unwrap()).unwrap();
    tls_to(address, &new).await;
    assert!(server.replace_tls(None).is_err(), "TLS cannot be turned off");
    // Connections that are open go on.
    let mut bytes = Vec::new();
    hello(None).encode(1, 0, MAX_BODY, &mut bytes).unwrap();
    open.write_all(&bytes).await.unwrap();
    open.read_exact(&mut [0; 24]).await.unwrap();
    drop(open);
    server.stop().await.unwrap();
}
