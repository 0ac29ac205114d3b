//! Query strings: read once, unknown names refused, so that a typing error does not silently widen an answer.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use sg_core::limits::{TIME_MAX_MS, TIME_MIN_MS};
use sg_core::time::Timestamp;

use crate::error::ApiError;

/// The one part of the path that is a name; refused as every other fault of a request is.
pub(crate) struct Named(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Named, ApiError> {
        let read = Path::<String>::from_request_parts(parts, state).await;
        let Path(name) =
            read.map_err(|_| ApiError::BadQuery("the name in the path is not UTF-8".to_owned()))?;
        Ok(Named(name))
    }
}

/// The parameters of a query string, in order.
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads a query string.
    pub(crate) fn parse(query: &str) -> Params {
        Params(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// Returns a parameter that is there and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, value)| known == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    /// Returns a parameter also when it is empty: a dimension may be the empty text.
    pub(crate) fn get_even_empty(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Returns a parameter that has another name, too; refuses both at once.
    pub(crate) fn either(&self, name: &str, other: Option<&str>) -> Result<Option<&str>, ApiError> {
        match (self.get(name), other.and_then(|other| self.get(other))) {
            (Some(_), Some(_)) => {
                let other = other.unwrap_or_default();
                Err(ApiError::BadQuery(format!("{other} is {name} here: give one of them")))
            }
            (value, other_value) => Ok(value.or(other_value)),
        }
    }

    /// Refuses names other than these, and one that stands twice: which of two values is meant nobody knows.
    pub(crate) fn only(&self, known: &[&str]) -> Result<(), ApiError> {
        let stands_before = |(at, (name, _)): &(usize, &(String, String))| {
            self.0[..*at].iter().any(|(before, _)| before == name)
        };
        if let Some((_, (name, _))) = self.0.iter().enumerate().find(stands_before) {
            return Err(ApiError::BadQuery(format!("{name} stands twice: give one value")));
        }
        match self.0.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some((name, _)) => Err(ApiError::BadQuery(format!(
                "there is no parameter {name}; there are {}",
                known.join(", ")
            ))),
        }
    }

    /// Reads a switch.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, ApiError> {
        match self.get_even_empty(name) {
            None | Some("false" | "0") => Ok(false),
            Some("" | "true" | "1") => Ok(true),
            Some(value) => Err(ApiError::BadQuery(format!("{name} is true or false, not {value}"))),
        }
    }

    /// Reads a whole number between one and a limit.
    pub(crate) fn count(&self, name: &str, default: usize, max: usize) -> Result<usize, ApiError> {
        let Some(text) = self.get(name) else { return Ok(default) };
        let number: Option<usize> = text.parse().ok().filter(|number| (1..=max).contains(number));
        number.ok_or_else(|| ApiError::BadQuery(format!("{name} is a number from 1 to {max}, not {text}")))
    }

    /// Reads a point in time.
    pub(crate) fn time(&self, name: &str, now: Timestamp) -> Result<Option<Timestamp>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let time = sg_core::query::parse_time(text, now);
        // Times beyond what events can have mean the same as the last of those.
        let within = |time: Timestamp| Timestamp(time.0.clamp(TIME_MIN_MS, TIME_MAX_MS));
        time.map(|time| Some(within(time))).map_err(|_| {
            ApiError::BadQuery(format!(
                "{name} is a time such as -1h, 2025-01-01T00:00:00Z or 1735689600, not {text}"
            ))
        })
    }
}

#[cfg(test)]
mod tests;
