//! The dashboard at `/`: the files that `web/` was built to, inside the binary. Without them, one sentence how to build
//! it. Nothing on it comes from elsewhere, and no text of an event becomes markup.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::error::ApiError;
use crate::params::Named;

/// What `npm run build` writes. A debug build reads the folder when it is asked.
#[derive(RustEmbed)]
#[folder = "../../web/dist"]
#[allow_missing = true]
struct Built;

const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'",
);
const MISSING: &str = "The dashboard is not part of this build: run `npm ci && npm run build` in web/, then build the server again (`make run` does both).\n";
/// Names of these files hold a hash of what is in them.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("no-cache");

/// `GET /`.
pub(crate) async fn page(headers: HeaderMap) -> Response {
    match file("index.html", "text/html; charset=utf-8", &headers) {
        None => {
            let plain = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
            (StatusCode::NOT_FOUND, plain, MISSING).into_response()
        }
        Some(answer) => with_cache(answer, ASK_AGAIN),
    }
}

/// `GET /assets/{name}`.
pub(crate) async fn asset(Named(name): Named, headers: HeaderMap) -> Result<Response, ApiError> {
    let kind = match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => return Err(not_found(&name)),
    };
    let answer = file(&format!("assets/{name}"), kind, &headers).ok_or_else(|| not_found(&name))?;
    Ok(with_cache(answer, FOR_EVER))
}

/// `GET /favicon.ico`: browsers ask for it on answers that are no pages of the dashboard.
pub(crate) async fn icon(headers: HeaderMap) -> Result<Response, ApiError> {
    asset(Named("icon-1.svg".to_owned()), headers).await
}

fn not_found(name: &str) -> ApiError {
    ApiError::NotFound(format!("the dashboard has no file {name}"))
}

/// Returns a file, compressed where it was and the client reads that.
fn file(path: &str, kind: &'static str, asked: &HeaderMap) -> Option<Response> {
    let accepted = asked.get(header::ACCEPT_ENCODING).and_then(|accepted| accepted.to_str().ok());
    let packed = match accepted.is_some_and(|accepted| accepted.contains("gzip")) {
        true => Built::get(&format!("{path}.gz")),
        false => None,
    };
    let encoding = packed.as_ref().map(|_| HeaderValue::from_static("gzip"));
    let file = packed.or_else(|| Built::get(path))?;
    let tag = tag(&file);
    let is_known = asked.get(header::IF_NONE_MATCH).is_some_and(|known| *known == tag);
    let mut answer = match is_known {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => file.data.into_owned().into_response(),
    };
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::ETAG, tag);
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if let Some(encoding) = encoding {
        headers.insert(header::CONTENT_ENCODING, encoding);
    }
    Some(answer)
}

fn with_cache(mut answer: Response, cache: HeaderValue) -> Response {
    answer.headers_mut().insert(header::CACHE_CONTROL, cache);
    answer
}

fn tag(file: &EmbeddedFile) -> HeaderValue {
    let digits: String =
        file.metadata.sha256_hash().iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    HeaderValue::from_str(&format!("\"{digits}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}
