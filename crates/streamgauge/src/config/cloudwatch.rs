//! Whether metrics are published to CloudWatch, and where.

use std::collections::BTreeMap;

use super::reader::{Errors, Reader};

/// Where metrics are published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CloudWatchSettings {
    pub(crate) namespace: String,
    pub(crate) region: String,
    pub(crate) endpoint: String,
}

/// The namespace that alarms of pageviews have.
const NAMESPACE: &str = "PageviewPipeline";
/// What CloudWatch takes.
const NAMESPACE_BYTES_MAX: usize = 255;

/// Reads `[cloudwatch]`; `None` when nothing is published.
pub(crate) fn cloudwatch(
    reader: &mut Reader<'_>,
    variables: &BTreeMap<String, String>,
    errors: &mut Errors,
) -> Option<CloudWatchSettings> {
    let mut table = reader.table("cloudwatch", errors)?;
    let is_enabled = table.switch("enabled", false, errors);
    let namespace = table.text("namespace", NAMESPACE, errors);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_/#: ".contains(&byte);
    let is_wrong = !(1..=NAMESPACE_BYTES_MAX).contains(&namespace.len())
        || !namespace.bytes().all(is_plain)
        || namespace.starts_with(':')
        || namespace.starts_with("AWS/");
    if is_wrong {
        let rule = "is 1 to 255 letters, digits, spaces and . - _ / # :, and begins with neither : nor AWS/";
        errors.add(&table.place("namespace"), rule);
    }
    let place = table.place("enabled");
    table.finish(errors);
    if !is_enabled {
        return None;
    }
    let get = |names: [&str; 2]| {
        let values = names.iter().filter_map(|name| variables.get(*name));
        values.map(|value| value.trim_end_matches('/')).find(|value| !value.is_empty()).map(str::to_owned)
    };
    let region = get(["AWS_REGION", "AWS_DEFAULT_REGION"]);
    let endpoint = get(["AWS_ENDPOINT_URL_CLOUDWATCH", "AWS_ENDPOINT_URL"]);
    let Some(region) = region else {
        errors.add(&place, "there is no region: name it in AWS_REGION");
        return None;
    };
    let endpoint = endpoint.unwrap_or_else(|| format!("https://monitoring.{region}.amazonaws.com"));
    let is_address = endpoint.parse().is_ok_and(|uri: hyper::Uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.path() == "/" && uri.query().is_none()
    });
    if !is_address {
        errors.add(&place, "AWS_ENDPOINT_URL_CLOUDWATCH is an address such as http://localhost:4566");
    }
    Some(CloudWatchSettings { namespace, region, endpoint })
}

#[cfg(test)]
mod tests;
