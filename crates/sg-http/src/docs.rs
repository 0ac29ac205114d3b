//! The page at `/docs`: every path to read about and to try, made from `/openapi.json`. Nothing on it comes from elsewhere,
//! and no text of an answer becomes markup.

use axum::http::header;
use axum::response::{IntoResponse, Response};

const POLICY: &str = "default-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'";

/// `GET /docs`.
pub(crate) async fn page() -> Response {
    asset("text/html; charset=utf-8", include_str!("docs/page.html"))
}

/// `GET /docs.js`.
pub(crate) async fn script() -> Response {
    asset("text/javascript; charset=utf-8", include_str!("docs/script.js"))
}

/// `GET /docs.css`.
pub(crate) async fn style() -> Response {
    asset("text/css; charset=utf-8", include_str!("docs/style.css"))
}

fn asset(content_type: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}
