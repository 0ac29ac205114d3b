//! The pages that the `type` of a problem names, one per code: the files of `docs/errors`, as they are.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use sg_core::nearest;

use crate::error::ApiError;
use crate::params::Named;

/// Code and page.
const PAGES: [(&str, &str); 53] = [
    ("all_rejected", include_str!("../../../docs/errors/all_rejected.md")),
    ("bad_encoding", include_str!("../../../docs/errors/bad_encoding.md")),
    ("bad_field", include_str!("../../../docs/errors/bad_field.md")),
    ("bad_number", include_str!("../../../docs/errors/bad_number.md")),
    ("bad_query", include_str!("../../../docs/errors/bad_query.md")),
    ("bad_timestamp", include_str!("../../../docs/errors/bad_timestamp.md")),
    ("blank_field", include_str!("../../../docs/errors/blank_field.md")),
    ("body_too_large", include_str!("../../../docs/errors/body_too_large.md")),
    ("dimension_too_long", include_str!("../../../docs/errors/dimension_too_long.md")),
    ("disk_full", include_str!("../../../docs/errors/disk_full.md")),
    ("draining", include_str!("../../../docs/errors/draining.md")),
    ("duplicate_member", include_str!("../../../docs/errors/duplicate_member.md")),
    ("empty_body", include_str!("../../../docs/errors/empty_body.md")),
    ("event_too_large", include_str!("../../../docs/errors/event_too_large.md")),
    ("future_timestamp", include_str!("../../../docs/errors/future_timestamp.md")),
    ("id_too_long", include_str!("../../../docs/errors/id_too_long.md")),
    ("internal", include_str!("../../../docs/errors/internal.md")),
    ("invalid_body", include_str!("../../../docs/errors/invalid_body.md")),
    ("invalid_json", include_str!("../../../docs/errors/invalid_json.md")),
    ("invalid_text", include_str!("../../../docs/errors/invalid_text.md")),
    ("key_missing", include_str!("../../../docs/errors/key_missing.md")),
    ("key_refused", include_str!("../../../docs/errors/key_refused.md")),
    ("key_unknown", include_str!("../../../docs/errors/key_unknown.md")),
    ("keys_unavailable", include_str!("../../../docs/errors/keys_unavailable.md")),
    ("log_unavailable", include_str!("../../../docs/errors/log_unavailable.md")),
    ("method_not_allowed", include_str!("../../../docs/errors/method_not_allowed.md")),
    ("missing_event_type", include_str!("../../../docs/errors/missing_event_type.md")),
    ("missing_field", include_str!("../../../docs/errors/missing_field.md")),
    ("no_raw_table", include_str!("../../../docs/errors/no_raw_table.md")),
    ("not_an_object", include_str!("../../../docs/errors/not_an_object.md")),
    ("not_found", include_str!("../../../docs/errors/not_found.md")),
    ("number_out_of_range", include_str!("../../../docs/errors/number_out_of_range.md")),
    ("origin_refused", include_str!("../../../docs/errors/origin_refused.md")),
    ("over_budget", include_str!("../../../docs/errors/over_budget.md")),
    ("pane_too_coarse", include_str!("../../../docs/errors/pane_too_coarse.md")),
    ("query_timeout", include_str!("../../../docs/errors/query_timeout.md")),
    ("range_too_large", include_str!("../../../docs/errors/range_too_large.md")),
    ("rate_limited", include_str!("../../../docs/errors/rate_limited.md")),
    ("role_missing", include_str!("../../../docs/errors/role_missing.md")),
    ("scope_missing", include_str!("../../../docs/errors/scope_missing.md")),
    ("slow_body", include_str!("../../../docs/errors/slow_body.md")),
    ("store_refused", include_str!("../../../docs/errors/store_refused.md")),
    ("store_unavailable", include_str!("../../../docs/errors/store_unavailable.md")),
    ("timestamp_out_of_range", include_str!("../../../docs/errors/timestamp_out_of_range.md")),
    ("too_deep", include_str!("../../../docs/errors/too_deep.md")),
    ("too_many_events", include_str!("../../../docs/errors/too_many_events.md")),
    ("too_many_members", include_str!("../../../docs/errors/too_many_members.md")),
    ("too_many_questions", include_str!("../../../docs/errors/too_many_questions.md")),
    ("too_many_watchers", include_str!("../../../docs/errors/too_many_watchers.md")),
    ("unknown_rollup", include_str!("../../../docs/errors/unknown_rollup.md")),
    ("unknown_stream", include_str!("../../../docs/errors/unknown_stream.md")),
    ("unsupported_encoding", include_str!("../../../docs/errors/unsupported_encoding.md")),
    ("unsupported_media_type", include_str!("../../../docs/errors/unsupported_media_type.md")),
];

/// Returns every code.
pub(crate) fn codes() -> impl Iterator<Item = &'static str> {
    PAGES.iter().map(|(code, _)| *code)
}

/// `GET /docs/errors`: all codes, each with a link to its page.
pub(crate) async fn index() -> Response {
    markdown(include_str!("../../../docs/errors/README.md"))
}

/// `GET /docs/errors/{code}`; the index names the files, with their ending.
pub(crate) async fn error_page(Named(name): Named) -> Result<Response, ApiError> {
    let code = name.strip_suffix(".md").unwrap_or(&name);
    let found = PAGES.iter().find(|(known, _)| *known == code);
    found.map(|(_, page)| markdown(page)).ok_or_else(|| {
        let meant = nearest::find(code, codes(), nearest::NAME_LIKENESS_MIN).map_or_else(
            || "; /docs/errors lists all".to_owned(),
            |meant| format!("; did you mean {meant}?"),
        );
        ApiError::NotFound(format!("there is no error code {code}{meant}"))
    })
}

fn markdown(page: &'static str) -> Response {
    ([(header::CONTENT_TYPE, "text/markdown; charset=utf-8")], page).into_response()
}
