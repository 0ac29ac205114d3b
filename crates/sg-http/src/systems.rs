//! The paths on which clients of other systems ask, one file a system: what they call, and answers as they read them.
//! Each is a translation of the ports' answers; posting events is `ingest`'s, whatever the path.

pub(crate) mod actuator;
mod cloudwatch;
pub(crate) mod event_platform;
pub(crate) mod hourly_aggregations;
pub(crate) mod metric_names;
pub(crate) mod newest;
mod pageviews;
pub(crate) mod stream_metrics;
pub(crate) mod web_analytics;

pub use cloudwatch::{Measured, Reading, readings};
pub use stream_metrics::MetricsApi;
