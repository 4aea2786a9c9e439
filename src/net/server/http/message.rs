//! HTTP responses: a status, a media type, a text.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Response, StatusCode};

/// A response. Its body is in memory: none here is long.
pub(super) type Message = Response<Full<Bytes>>;

/// Plain text, for people.
pub(super) const TEXT: &str = "text/plain; charset=utf-8";

/// A response with a body of type `media`, not to be cached.
pub(super) fn message(status: StatusCode, media: &'static str, body: String) -> Message {
    let mut message = Response::new(Full::new(Bytes::from(body)));
    *message.status_mut() = status;
    let headers = message.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    message
}

/// An error: a line of text, and an optional header.
pub(super) fn refusal(
    status: StatusCode,
    line: &str,
    header: Option<(HeaderName, &str)>,
) -> Message {
    let mut refusal = message(status, TEXT, format!("{line}\n"));
    if let Some((name, value)) = header {
        let value = HeaderValue::from_str(value).expect("it is plain ASCII");
        refusal.headers_mut().insert(name, value);
    }
    refusal
}
