//! The answers to probes.

use hyper::{HeaderMap, StatusCode};

use super::accept::{MediaType, choose};
use super::message::{Message, TEXT, message};
use super::ready::Unready;

const JSON: MediaType = "application/json";

/// `/livez`: the process answers.
pub(super) fn live() -> Message {
    message(StatusCode::OK, TEXT, "ok\n".to_owned())
}

/// `/readyz`: whether writes are accepted. The reason is only for clients that may see it.
pub(super) fn ready(judged: Result<(), Unready>, may_see: bool) -> Message {
    match judged {
        Ok(()) => live(),
        Err(why) if may_see => {
            let line = format!("not ready: {}: {why}\n", why.code());
            message(StatusCode::SERVICE_UNAVAILABLE, TEXT, line)
        }
        Err(_) => message(StatusCode::SERVICE_UNAVAILABLE, TEXT, "not ready\n".to_owned()),
    }
}

/// `/health`: the same, as text or JSON.
pub(super) fn health(judged: Result<(), Unready>, may_see: bool, headers: &HeaderMap) -> Message {
    if choose(headers, &[TEXT, JSON]) != JSON {
        return ready(judged, may_see);
    }
    let (status, body) = match judged {
        Ok(()) => (StatusCode::OK, serde_json::json!({ "status": "ok" })),
        Err(why) if may_see => (
            StatusCode::SERVICE_UNAVAILABLE,
            serde_json::json!({
                "status": "unavailable", "reason": why.code(), "message": why.to_string()
            }),
        ),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, serde_json::json!({ "status": "unavailable" })),
    };
    message(status, JSON, format!("{body}\n"))
}
