//! From readings to what one step publishes, and its wire form. Knows no clock and sends nothing.

use std::collections::HashMap;

use form_urlencoded::Serializer;
use sg_core::time::Timestamp;
use sg_http::{Measured, Reading};

/// A reading's name and tag.
type Key = (&'static str, Option<(&'static str, &'static str)>);

/// What was published of each reading that grows.
#[derive(Debug, Default)]
pub(super) struct Steps(HashMap<Key, Measured>);

/// One number of a step.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Datum {
    pub(super) name: &'static str,
    pub(super) tag: Option<(&'static str, &'static str)>,
    pub(super) value: f64,
    pub(super) unit: &'static str,
}

impl Steps {
    /// Returns what happened since the last step that was published: zero where nothing did, so that an alarm sees that
    /// somebody is there; no duration where nothing took any.
    pub(super) fn since_published(&self, readings: &[Reading]) -> Vec<Datum> {
        readings.iter().filter_map(|reading| self.since(reading)).collect()
    }

    fn since(&self, reading: &Reading) -> Option<Datum> {
        let before = self.0.get(&(reading.name, reading.tag));
        let (value, unit) = match (reading.measured, before) {
            (Measured::Is(number), _) => (number as f64, "Count"),
            (Measured::Grown(now), Some(Measured::Grown(before))) => {
                (now.saturating_sub(*before) as f64, "Count")
            }
            (Measured::Grown(now), _) => (now as f64, "Count"),
            (Measured::Took { times, ms }, before) => {
                let (times_before, ms_before) = match before {
                    Some(Measured::Took { times, ms }) => (*times, *ms),
                    _ => (0, 0.0),
                };
                let more = times.saturating_sub(times_before);
                if more == 0 {
                    return None;
                }
                ((ms - ms_before).max(0.0) / more as f64, "Milliseconds")
            }
        };
        Some(Datum { name: reading.name, tag: reading.tag, value, unit })
    }

    /// Takes note of what was published.
    pub(super) fn published(&mut self, readings: &[Reading]) {
        self.0.extend(readings.iter().map(|reading| ((reading.name, reading.tag), reading.measured)));
    }
}

/// Writes a step as CloudWatch reads it: the query protocol of `PutMetricData`, version 2010-08-01.
pub(super) fn body(namespace: &str, data: &[Datum], now: Timestamp) -> String {
    let mut form = Serializer::new(String::new());
    form.append_pair("Action", "PutMetricData").append_pair("Version", "2010-08-01");
    form.append_pair("Namespace", namespace);
    let at = now.to_string();
    for (index, datum) in data.iter().enumerate() {
        let member = format!("MetricData.member.{}", index + 1);
        form.append_pair(&format!("{member}.MetricName"), datum.name);
        form.append_pair(&format!("{member}.Timestamp"), &at);
        form.append_pair(&format!("{member}.Unit"), datum.unit);
        form.append_pair(&format!("{member}.Value"), &datum.value.to_string());
        if let Some((name, value)) = datum.tag {
            form.append_pair(&format!("{member}.Dimensions.member.1.Name"), name);
            form.append_pair(&format!("{member}.Dimensions.member.1.Value"), value);
        }
    }
    form.finish()
}

#[cfg(test)]
mod tests;
