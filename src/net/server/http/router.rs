//! From path and method to what answers.

use hyper::header::ALLOW;
use hyper::{Method, StatusCode};

use super::message::{Message, refusal};

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Live,
    Ready,
    Health,
    Metrics,
}

struct Route {
    path: &'static str,
    endpoint: Endpoint,
    /// HEAD is understood wherever GET is: whoever writes the response leaves its body out.
    methods: &'static [Method],
}

const READ: &[Method] = &[Method::GET, Method::HEAD];

const ROUTES: &[Route] = &[
    Route { path: "/livez", endpoint: Endpoint::Live, methods: READ },
    Route { path: "/readyz", endpoint: Endpoint::Ready, methods: READ },
    Route { path: "/health", endpoint: Endpoint::Health, methods: READ },
    Route { path: "/metrics", endpoint: Endpoint::Metrics, methods: READ },
];

/// What answers; or the refusal, if nothing does. The query is not a part of `path`.
pub(super) fn route(method: &Method, path: &str) -> Result<Endpoint, Box<Message>> {
    let Some(route) = ROUTES.iter().find(|route| route.path == path) else {
        let paths: Vec<&str> = ROUTES.iter().map(|route| route.path).collect();
        let line = format!("nothing is here: there are {}", paths.join(", "));
        return Err(Box::new(refusal(StatusCode::NOT_FOUND, &line, None)));
    };
    if route.methods.contains(method) {
        return Ok(route.endpoint);
    }
    let methods: Vec<&str> = route.methods.iter().map(Method::as_str).collect();
    let allow = methods.join(", ");
    let line = format!("{path} understands {allow}");
    let status = StatusCode::METHOD_NOT_ALLOWED;
    Err(Box::new(refusal(status, &line, Some((ALLOW, &allow)))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_and_what_is_not_understood_are_told_apart() {
        assert_eq!(route(&Method::GET, "/readyz").unwrap(), Endpoint::Ready);
        assert_eq!(route(&Method::HEAD, "/metrics").unwrap(), Endpoint::Metrics);
        let refused = route(&Method::POST, "/metrics").unwrap_err();
        assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(refused.headers()[ALLOW], "GET, HEAD");
        for path in ["/", "", "*", "/metrics/", "/Metrics", "/metrics/x", "//metrics"] {
            assert_eq!(route(&Method::GET, path).unwrap_err().status(), StatusCode::NOT_FOUND);
        }
    }
}
