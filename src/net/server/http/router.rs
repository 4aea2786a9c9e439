//! The router: from path and method to the endpoint.

use hyper::header::ALLOW;
use hyper::{Method, StatusCode};

use super::message::{Message, refusal};

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
    /// HEAD is allowed wherever GET is: hyper leaves out the body.
    methods: &'static [Method],
}

const READ: &[Method] = &[Method::GET, Method::HEAD];

const ROUTES: &[Route] = &[
    Route { path: "/livez", endpoint: Endpoint::Live, methods: READ },
    Route { path: "/readyz", endpoint: Endpoint::Ready, methods: READ },
    Route { path: "/health", endpoint: Endpoint::Health, methods: READ },
    Route { path: "/metrics", endpoint: Endpoint::Metrics, methods: READ },
];

/// The endpoint, or the refusal: 404 or 405. `path` is without the query.
pub(super) fn route(method: &Method, path: &str) -> Result<Endpoint, Box<Message>> {
    let Some(route) = ROUTES.iter().find(|route| route.path == path) else {
        let paths: Vec<&str> = ROUTES.iter().map(|route| route.path).collect();
        let line = format!("there is no such path; there are {}", paths.join(", "));
        return Err(Box::new(refusal(StatusCode::NOT_FOUND, &line, None)));
    };
    if route.methods.contains(method) {
        return Ok(route.endpoint);
    }
    let methods: Vec<&str> = route.methods.iter().map(Method::as_str).collect();
    let allow = methods.join(", ");
    let line = format!("{path} allows {allow}");
    let status = StatusCode::METHOD_NOT_ALLOWED;
    Err(Box::new(refusal(status, &line, Some((ALLOW, &allow)))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_path_is_404_and_another_method_is_405() {
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
