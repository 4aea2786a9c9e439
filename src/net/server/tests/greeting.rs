//! The handshake: valid and invalid hellos, and their errors.

use super::hostile::packet;
use super::peer::{Peer, config, get, hello, serve, store};
use crate::net::proto::{Code, Hello, Kind, MAX_HELLO, Request, Response, VERSION};

/// The usual `Hello`, changed.
fn strange(change: fn(&mut Hello<'_>)) -> Request<'static> {
    let Request::Hello(mut hello) = hello(None) else { unreachable!() };
    change(&mut hello);
    Request::Hello(hello)
}

#[tokio::test]
async fn a_wrong_handshake_is_refused() {
    let (server, address) = serve(store(), &config()).await;
    for (id, request, code) in [
        (1, Request::Ping, Code::BadHandshake),
        (1, get("k"), Code::BadHandshake),
        (1, strange(|hello| hello.magic[0] ^= 1), Code::BadHandshake),
        (1, strange(|hello| hello.max_body = MAX_HELLO - 1), Code::BadHandshake),
        (1, strange(|hello| hello.max_body = 0), Code::BadHandshake),
        (0, hello(None), Code::BadHandshake),
        (1, strange(|hello| hello.min_version = 2), Code::VersionMismatch),
        (1, strange(|hello| hello.max_version = 0), Code::VersionMismatch),
    ] {
        let mut peer = Peer::silent(address).await;
        peer.send(id, &request).await;
        let last = peer.answer().await;
        assert_eq!((last.id, last.code()), (0, code), "{request:?}");
        let version = (code == Code::VersionMismatch).then_some("1");
        assert_eq!(last.failure().detail("min_version"), version);
        assert_eq!(last.failure().detail("max_version"), version);
        assert!(peer.next().await.is_none());
    }
    // Before the handshake long packets are refused.
    let mut peer = Peer::silent(address).await;
    peer.raw(&5000_u32.to_le_bytes()).await;
    let last = peer.answer().await;
    assert_eq!(last.code(), Code::TooLarge);
    assert_eq!(
        (last.failure().detail("len"), last.failure().detail("max")),
        (Some("5000"), Some("4096"))
    );
    server.stop().await.unwrap();
}

/// There is only one version so far: it is chosen from every range that contains it.
#[tokio::test]
async fn the_newest_common_version_is_chosen() {
    let (server, address) = serve(store(), &config()).await;
    for request in [
        strange(|hello| hello.max_version = u16::MAX),
        strange(|hello| hello.min_version = 0),
        strange(|hello| (hello.min_version, hello.max_version) = (0, 7)),
    ] {
        let mut peer = Peer::silent(address).await;
        let answer = peer.ask(1, &request).await;
        let Response::Welcome(welcome) = answer.response() else { panic!("{answer:?}") };
        assert_eq!(welcome.version, VERSION, "{request:?}");
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_malformed_hello_gets_the_reason() {
    let (server, address) = serve(store(), &config()).await;
    let mut peer = Peer::silent(address).await;
    peer.raw(&packet(1, Kind::Hello.number(), b"syncline")).await;
    let last = peer.answer().await;
    assert_eq!((last.id, last.code()), (0, Code::BadHandshake));
    assert!(last.failure().message.contains("the body ends too early"), "{}", last.failure());
    server.stop().await.unwrap();
}

#[tokio::test]
async fn any_error_fits_into_the_smallest_max_body() {
    let (server, address) = serve(store(), &config()).await;
    let mut peer = Peer::silent(address).await;
    let welcome = peer.ask(1, &strange(|hello| hello.max_body = MAX_HELLO)).await;
    assert!(matches!(welcome.response(), Response::Welcome(_)));
    let long = "\u{e9}".repeat(500_000);
    let get = Request::Get(crate::net::proto::Get { keyspace: &long, key: b"k" });
    let answer = peer.ask(2, &get).await;
    let failure = answer.failure();
    assert_eq!(failure.code, Code::InvalidName);
    let name = failure.detail("name").unwrap();
    assert!(name.starts_with("\u{e9}\u{e9}") && name.ends_with("\u{e9}...") && name.len() <= 512);
    assert!(failure.message.len() <= 2048 && failure.message.ends_with("..."));
    server.stop().await.unwrap();
}
