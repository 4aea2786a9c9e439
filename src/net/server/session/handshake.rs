//! The handshake.

use std::sync::Arc;

use super::session::{Phase, Session};
use super::time::millis;
use crate::net::proto::{
    Code, Failure, Hello, Kind, MAGIC, MARK_OPTION, MAX_HELLO, Packet, Refused, Request, Response,
    VERSION, Welcome,
};

impl Session {
    pub(super) fn greet(&mut self, packet: &Packet<'_>) {
        if let Err(failure) = self.try_greet(packet) {
            self.end(failure);
        }
    }

    fn try_greet(&mut self, packet: &Packet<'_>) -> Result<(), Failure<'static>> {
        let hello = read_hello(packet)?;
        if !(hello.min_version..=hello.max_version).contains(&VERSION) {
            let message = format!(
                "the client speaks versions {} to {}, the server version {VERSION}",
                hello.min_version, hello.max_version
            );
            return Err(Failure::new(Code::VersionMismatch, message)
                .with("min_version", VERSION.to_string())
                .with("max_version", VERSION.to_string()));
        }
        if hello.max_body < MAX_HELLO {
            let message = format!(
                "the client takes bodies of {} bytes, and has to take {MAX_HELLO}",
                hello.max_body
            );
            return Err(Failure::new(Code::BadHandshake, message)
                .with("max_body", hello.max_body.to_string())
                .with("min", MAX_HELLO.to_string()));
        }
        self.authenticate(&hello)?;
        self.context.max_body = hello.max_body;
        self.phase = Phase::Open;
        let (peer, caller) = (self.context.mailbox.peer(), &self.context.caller.name);
        tracing::debug!(%peer, client = hello.client, %caller, "welcome");
        self.welcome(packet.head.id);
        Ok(())
    }

    fn authenticate(&mut self, hello: &Hello<'_>) -> Result<(), Failure<'static>> {
        let shared = &self.context.shared;
        let token = shared.authenticator.find(hello.token).map_err(|refused| {
            shared.login_failed(self.context.mailbox.peer(), &refused);
            Failure::new(Code::Unauthenticated, "the token is missing, wrong or expired")
        })?;
        if let Some(token) = token {
            self.context.caller = Arc::clone(token.caller());
            self.token = Some(token);
        }
        Ok(())
    }

    fn welcome(&mut self, id: u64) {
        let shared = Arc::clone(&self.context.shared);
        let limits = &shared.limits;
        let welcome = Welcome {
            version: VERSION,
            store: shared.service.store().id().0,
            incarnation: shared.service.incarnation().get(),
            server: concat!("syncline ", env!("CARGO_PKG_VERSION")).into(),
            max_body: limits.max_packet_bytes,
            max_in_flight: u32::try_from(limits.max_in_flight).unwrap_or(u32::MAX),
            max_subscriptions: u32::try_from(limits.max_subscriptions).unwrap_or(u32::MAX),
            idle_timeout_ms: limits.idle.map_or(0, millis),
            options: vec![(MARK_OPTION.into(), format!("{:016x}", shared.service.mark().0).into())],
        };
        self.reply(id).send(&Response::Welcome(welcome));
    }
}

/// The `Hello` in the first packet.
fn read_hello<'a>(packet: &Packet<'a>) -> Result<Hello<'a>, Failure<'static>> {
    let bad = |message: &str| Failure::new(Code::BadHandshake, message.to_owned());
    let hello = match Request::decode(packet) {
        Ok(Request::Hello(hello)) => hello,
        Err(Refused::Malformed(malformed)) if packet.head.kind == Kind::Hello.number() => {
            return Err(bad(&format!("the Hello is malformed: {malformed}")));
        }
        _ => return Err(bad("the first packet is no Hello")),
    };
    if packet.head.id == 0 {
        return Err(bad("a Hello has an id other than 0"));
    }
    if hello.magic != MAGIC {
        return Err(bad("the Hello is not Syncline's"));
    }
    Ok(hello)
}
